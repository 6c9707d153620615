"""Probabilities of a purchase for given pairs, as the exported model gives them one by one."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from recsys import files, manifest, saved_model
from recsys.arrays import pad
from recsys.config import Config, Pairs, Score
from recsys.errors import ConfigError, DataError
from recsys.schemas import FIRST_ITEM, PAIRS, RECOMMENDATION_FOLDERS
from recsys.score import pipeline, subjects
from recsys.tables import read
from tests.score.brute import INPUTS
from tests.score.worlds import DAY, ITEMS, USERS, World, write_model

KNOWN = ITEMS - 10
Pair = tuple[str, str]


@pytest.fixture(scope="module")
def buyers(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The world and a model with a purchase head that lacks the last items."""
    folder = tmp_path_factory.mktemp("pairs")
    (folder / "dataset").symlink_to(world.folder / "dataset")
    dataset = manifest.read(str(folder / "dataset"))
    write_model(folder / "model", dataset, known_items=KNOWN, purchase_weight=1.0)
    return replace(world, folder=folder)


@pytest.fixture(scope="module")
def asked() -> list[Pair]:
    """Many for one user, few for others, some twice, and some of what nobody knows."""
    rng = np.random.default_rng(3)
    drawn = [(f"user-{user}", f"item-{item}") for user, item in rng.integers(2, 60, size=(300, 2))]
    drawn += [("user-7", f"item-{item}") for item in range(FIRST_ITEM, FIRST_ITEM + ITEMS)]
    drawn += [("user-8", "item-4"), ("user-8", "item-4"), ("user-8", "never seen")]
    return [*drawn, ("nobody", "item-4"), ("nobody", "never seen"), (f"user-{USERS - 1}", "item-5")]


def config(world: World, asked: list[Pair], **changes: object) -> Config:
    path = world.folder / "pairs.parquet"
    users, items = zip(*asked, (None, "item-4"), ("user-3", None), strict=True)
    pq.write_table(pa.table({"who": users, "what": items}), path)
    pairs = Pairs(path=(str(path),), id="who", item_id="what")
    settings = {"lists": ("pairs",), "pairs": pairs, "batch_users": 8, "users_per_part": 20}
    return world.config(score=Score(**{**settings, **changes}))  # type: ignore[arg-type]


def by_hand(world: World, asked: list[Pair]) -> dict[Pair, tuple[float | None, str]]:
    """Each pair alone through the exported model."""
    url = files.join(files.current(str(world.folder / "model"), ""), "export")
    ranker, found = saved_model.load(url), {}
    is_known = np.zeros(ITEMS + FIRST_ITEM, np.bool_)
    is_known[FIRST_ITEM : FIRST_ITEM + KNOWN] = True
    for user, item in set(asked):
        index = int(item.split("-")[1]) if item.startswith("item-") else 1
        row = world.users.index(user) if user in world.users else None
        if row is None or not is_known[world.histories["item"][row]].any():
            found[user, item] = (None, "no_history")
        elif not is_known[index]:
            found[user, item] = (None, "unknown_item")
        else:
            own = {name: world.histories[name][row : row + 1] for name in INPUTS}
            step = own["step"].max(axis=1) + 1
            value = ranker.purchases(own, np.array([0]), step, np.array([index]))
            found[user, item] = (float(value[0]), "model")
    return found


def rows(version: str) -> list[dict]:
    table = pq.read_table(files.local_copy(files.join(version, "pairs")), partitioning=None)
    return table.to_pylist()


@pytest.fixture(scope="module")
def version(spark: SparkSession, buyers: World, asked: list[Pair]) -> str:
    return pipeline.run(spark, config(buyers, asked, json_lines=True))


def test_probabilities_are_those_of_the_model(
    version: str, buyers: World, asked: list[Pair]
) -> None:
    expected, found = by_hand(buyers, asked), rows(version)
    assert {(row["user_id"], row["item_id"]) for row in found} == set(expected)
    assert len(found) == len(expected)
    spread = [row["probability"] for row in found if row["source"] == "model"]
    assert max(spread) - min(spread) > 0.2
    for row in found:
        probability, source = expected[row["user_id"], row["item_id"]]
        assert row["list"] == "pairs"
        assert row["source"] == source
        assert row["probability"] == (None if probability is None else pytest.approx(probability))


def test_what_the_manifest_says(spark: SparkSession, version: str, asked: list[Pair]) -> None:
    about = files.read_json(files.join(version, files.MANIFEST))["lists"]["pairs"]
    found = rows(version)
    assert about["given"] == len(asked) + 2
    assert about["rows"] == len(found) == len(set(asked))
    assert about["subjects"] == len({user for user, _ in asked})
    count = [row["source"] for row in found].count
    sources = {name: count(name) for name in ("model", "no_history", "unknown_item")}
    assert about["sources"] == sources
    assert all(sources.values())
    frame = read(spark, files.join(version, "pairs"), {**PAIRS, **RECOMMENDATION_FOLDERS})
    assert {row["date"] for row in frame.collect()} == {"1970-01-31"}
    assert "staging" not in files.names(version)


def test_json_lines_hold_the_pairs_of_a_user(version: str) -> None:
    folder = Path(files.local_copy(files.join(version, "json_lines", "pairs")))
    texts = [gzip.decompress(path.read_bytes()) for path in folder.glob("*.json.gz")]
    lines = [json.loads(line) for text in texts for line in text.splitlines()]
    found = {
        (line["key"].removeprefix("pairs/"), own["item_id"]): (
            own.get("probability"),
            own["source"],
        )
        for line in lines
        for own in line["value"]
    }
    expected = {
        (row["user_id"], row["item_id"]): (row["probability"], row["source"])
        for row in rows(version)
    }
    assert {key: source for key, (_, source) in found.items()} == {
        key: source for key, (_, source) in expected.items()
    }
    for key, (probability, _) in expected.items():
        assert found[key][0] == (None if probability is None else pytest.approx(probability))


def test_the_same_whatever_the_parts(
    spark: SparkSession, version: str, buyers: World, asked: list[Pair]
) -> None:
    again = pipeline.run(spark, config(buyers, asked[::-1], users_per_part=1000, json_lines=True))
    one, other = (files.read_json(files.join(url, files.MANIFEST)) for url in (version, again))
    assert one["lists"] == other["lists"]
    assert len(one["parts"]) > len(other["parts"]) == 1


def test_many_items_of_a_user_are_rows_of_a_few(
    spark: SparkSession, version: str, buyers: World, asked: list[Pair],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(subjects, "CANDIDATES_A_ROW", 7)
    again = pipeline.run(spark, config(buyers, asked, json_lines=True))
    one, other = (files.read_json(files.join(url, files.MANIFEST)) for url in (version, again))
    assert one["lists"] == other["lists"]


def test_rows_of_pairs_hold_so_many_items(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subjects, "CANDIDATES_A_ROW", 2)
    histories = spark.createDataFrame([("a", [2])], "user_id string, item array<int>")
    asked = [(user, f"item-{number}") for user in ("a", "new") for number in (5, 3, 4, 3)]
    pairs = spark.createDataFrame([*asked, ("b", "item-9")], "user_id string, item_id string")
    known = [(f"item-{number}", number) for number in range(3, 6)]
    vocabulary = spark.createDataFrame(known, "item_id string, item_index int")
    found = subjects.with_candidates(histories, pairs, vocabulary).collect()
    assert sorted((row.user_id, row.item, row.candidate, row.is_first) for row in found) == [
        ("a", [2], [3, 4], True), ("a", [2], [5], False), ("b", [], [1], True),
        ("new", [], [3, 4], True), ("new", [], [5], False),
    ]  # fmt: skip


def test_as_of_an_instant(spark: SparkSession, buyers: World, asked: list[Pair]) -> None:
    asked = asked[::8]
    score = config(buyers, asked, as_of="1970-01-12T00:00")
    had_happened = buyers.histories["timestamp"] <= 11 * DAY
    cut = {
        name: np.where(had_happened, values, pad(name)) for name, values in buyers.histories.items()
    }
    expected = by_hand(replace(buyers, histories=cut), asked)
    found = {(row["user_id"], row["item_id"]): row for row in rows(pipeline.run(spark, score))}
    assert found.keys() == expected.keys()
    for pair, (probability, source) in expected.items():
        assert found[pair]["source"] == source
        is_one = probability is not None
        assert found[pair]["probability"] == (pytest.approx(probability) if is_one else None)


def test_pairs_that_are_not_there(spark: SparkSession, buyers: World) -> None:
    with pytest.raises(ConfigError, match=r"score.pairs.path: expected files or folders"):
        Score(lists=("pairs",))
    nowhere = Score(lists=("pairs",), pairs=Pairs(path=(str(buyers.folder / "nowhere"),)))
    with pytest.raises(DataError, match=r"nowhere: expected readable data \(score.pairs.path\)"):
        pipeline.run(spark, buyers.config(score=nowhere))
