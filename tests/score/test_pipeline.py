"""What a run writes beside its lists, and what it refuses."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from recsys import command, files, lock, manifest
from recsys.config import Neighbours, Pairs, Rules, Score, Stock, Subjects
from recsys.errors import ConfigError, DataError
from recsys.schemas import RECOMMENDATION_FOLDERS, recommendations
from recsys.score import pipeline
from recsys.score.parts import Run
from recsys.tables import read
from tests.score.damage import spoil
from tests.score.worlds import ITEMS, USERS, World, write_model

K = 6


def small(**changes: object) -> Score:
    return Score(**{"top_k": K, "batch_users": 8, "block_items": 16, **changes})  # type: ignore[arg-type]


def test_what_is_written(spark: SparkSession, own: World) -> None:
    config = own.config(score=small(lists=("home", "similar"), users_per_part=20))
    version = pipeline.run(spark, config)
    assert files.current(config.paths.recommendations, "") == version
    about = files.read_json(files.join(version, files.MANIFEST))
    assert about["model_version"] == "model-0"
    assert about["date"] == "1970-01-31"
    assert about["started_at"] <= about["finished_at"]
    home, similar = about["lists"]["home"], about["lists"]["similar"]
    assert home["subjects"] == home["rows"] == USERS
    assert similar["subjects"] == ITEMS
    assert home["recommendations"] == USERS * K
    assert home["fallbacks"] >= 1
    assert [part["kind"] for part in about["parts"]].count("home") == 2  # of four files
    saved = Path(files.local_copy(files.join(version, "config.yaml")))
    assert command.parse(command.parser("score", ""), ["--config", str(saved)])[0] == config
    schema = {**recommendations("home", "arrays", False), **RECOMMENDATION_FOLDERS}
    frame = read(spark, files.join(version, "home"), schema)
    assert {(row["date"], row["model"]) for row in frame.collect()} == {("1970-01-31", "model-0")}
    assert files.names(version) == [
        "config.yaml",
        "home",
        "manifest.json",
        "parts",
        "run.json",
        "similar",
    ]


def test_json_lines_say_what_the_tables_say(spark: SparkSession, own: World) -> None:
    def lines(version: str) -> dict[str, list]:
        folder = Path(files.local_copy(files.join(version, "json_lines", "home")))
        texts = [gzip.decompress(path.read_bytes()) for path in folder.glob("*.json.gz")]
        rows = [json.loads(line) for text in texts for line in text.splitlines()]
        assert len({row["key"] for row in rows}) == len(rows)
        return {row["key"]: row["value"] for row in rows}

    version = pipeline.run(spark, own.config(score=small(json_lines=True)))
    table = pq.read_table(files.local_copy(files.join(version, "home")), partitioning=None)
    expected = {
        f"home/{row['user_id']}": [
            {"item_id": item, "score": score, "source": source}
            for item, score, source in zip(row["item_id"], row["score"], row["source"], strict=True)
        ]
        for row in table.to_pylist()
    }
    found = lines(version)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert [{**row, "score": np.float32(row["score"])} for row in found[key]] == value
    as_rows = pipeline.run(spark, own.config(score=small(json_lines=True, layout="rows")))
    assert lines(as_rows) == found
    one, other = (
        files.read_json(files.join(url, files.MANIFEST))["lists"]["home"]["json_lines"]
        for url in (version, as_rows)
    )
    assert one["rows"] == len(found)
    assert one == other


def test_json_lines_that_are_damaged_are_not_published(
    spark: SparkSession, own: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify = Run.verify

    def damage(work: Run, *rest: Any) -> None:
        victim = next(Path(files.local_copy(work.version)).glob("json_lines/home/*.json.gz"))
        (victim.parent / f".{victim.name}.crc").unlink()
        text = gzip.decompress(victim.read_bytes())
        victim.write_bytes(gzip.compress(text.replace(b'"model"', b'"modal"', 1)))
        verify(work, *rest)

    monkeypatch.setattr(Run, "verify", damage)
    with pytest.raises(DataError, match=r"json_lines/home: expected the lines that were written"):
        pipeline.run(spark, own.config(score=small(json_lines=True)))
    assert files.published(str(own.folder / "recommendations")) == []


def test_a_rerun_has_the_same_rows(spark: SparkSession, own: World) -> None:
    first, second = (pipeline.run(spark, own.config(score=small())) for _ in range(2))
    assert first != second
    one, other = (files.read_json(files.join(url, files.MANIFEST)) for url in (first, second))
    assert one["lists"] == other["lists"]


def test_an_index_writes_what_it_finds_of_the_models_lists(spark: SparkSession, own: World) -> None:
    def models(**changes: object) -> tuple[dict, dict[str, set[str]]]:
        version = pipeline.run(spark, own.config(score=small(**changes)))
        table = pq.read_table(files.local_copy(files.join(version, "home")), partitioning=None)
        found = {
            row["user_id"]: set(row["item_id"])
            for row in table.to_pylist()
            if set(row["source"]) == {"model"}
        }
        return files.read_json(files.join(version, files.MANIFEST))["lists"]["home"], found

    few = Neighbours(above_items=10, cells=4, probes=1)
    explored = Rules(explore_share=0.5, explore_max_train_count=10**6)
    about, _ = models(neighbours=few, rules=explored)
    assert about["recommendations"] == USERS * K
    _, exact = models()
    by_index, found = models(neighbours=few, users_per_part=1)
    shares = [len(found[user] & items) / len(items) for user, items in exact.items()]
    assert 0 < len(shares) < USERS  # some have a fallback
    assert 0.1 < float(np.mean(shares)) < 1
    for manifest_of in (about, by_index):
        assert manifest_of["recall_of_neighbours"] == pytest.approx(float(np.mean(shares)))
        assert manifest_of["compared_subjects"] == len(shares)


def test_an_index_that_was_compared_with_nothing_says_so(spark: SparkSession, own: World) -> None:
    path = own.folder / "users.parquet"
    pq.write_table(pa.table({"user_id": ["new", "newer"]}), path)
    score = small(neighbours=Neighbours(above_items=10), subjects=Subjects(path=(str(path),)))
    version = pipeline.run(spark, own.config(score=score))
    about = files.read_json(files.join(version, files.MANIFEST))["lists"]["home"]
    assert about["fallbacks"] == 2
    assert about["recall_of_neighbours"] is None
    assert about["compared_subjects"] == 0


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (
            small(lists=("pairs",), pairs=Pairs(path=("pairs",))),
            r"expected a model with a purchase head \(train.purchase_weight\) for pairs, found",
        ),
        (small(lists=("next",)), "score.lists: expected home, similar or pairs"),
        (small(rules=Rules(at_most={"size": 1})), r"at_most: expected an attribute .*found 'size'"),
        (small(rules=Rules(deny={"size": ["L"]})), r"deny: expected an attribute .*found 'size'"),
        (small(rules=Rules(leave_out={"bought": None})), "one of view, purchase; found 'bought'"),
    ],
)  # fmt: skip
def test_a_wrong_configuration(spark: SparkSession, own: World, score: Score, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pipeline.run(spark, own.config(score=score))


def test_a_model_that_makes_of_a_user_no_number_is_named_with_the_user(
    spark: SparkSession, own: World
) -> None:
    write_model(own.folder / "model", manifest.read(str(own.folder / "dataset")), is_broken=True)
    with pytest.raises(DataError, match="export: expected finite numbers for the user 'user-"):
        pipeline.run(spark, own.config(score=small()))
    assert files.published(str(own.folder / "recommendations")) == []


@pytest.mark.parametrize(
    ("place", "gone", "words"),
    [
        ("model", "encoder", r"encoder: expected the SavedModel .* run jobs/train.py again"),
    ],
)
def test_what_an_older_version_made_is_refused(
    spark: SparkSession, own: World, place: str, gone: str, words: str
) -> None:
    shutil.rmtree(files.local_copy(files.join(files.current(str(own.folder / place), ""), gone)))
    config = own.config(score=small(rules=Rules(leave_out={"purchase": None})))
    with pytest.raises(DataError, match=words):
        pipeline.run(spark, config)


def test_a_second_run_to_the_same_place_is_refused(spark: SparkSession, own: World) -> None:
    config = own.config(score=small())
    with (
        lock.held(config.paths.recommendations, "jobs/score.py"),
        pytest.raises(DataError, match=r"expected no other run .* found jobs/score.py"),
    ):
        pipeline.run(spark, config)
    pipeline.run(spark, config)


def test_stock_that_cannot_be_read_or_leaves_nothing(
    spark: SparkSession, own: World, tmp_path: Path
) -> None:
    nowhere = Rules(stock=Stock(path=(str(tmp_path / "nowhere"),)))
    with pytest.raises(DataError, match="nowhere"):
        pipeline.run(spark, own.config(score=small(rules=nowhere)))
    damaged = tmp_path / "damaged.parquet"
    pq.write_table(pa.table({"item_id": [f"item-{n}" for n in range(ITEMS)]}), damaged)
    spoil(damaged, start=4)
    with pytest.raises(DataError, match=r"damaged.parquet: expected readable data"):
        pipeline.run(spark, own.config(score=small(rules=Rules(stock=Stock(path=(str(damaged),))))))
    (tmp_path / "stock.csv").write_text("item_id,left\nitem-2,0\nother,5\n")
    file = str(tmp_path / "stock.csv")
    stock = Stock(path=(file,), format="csv", options={"header": "true"}, quantity="left")
    with pytest.raises(DataError, match="expected items that may be recommended, found none of 90"):
        pipeline.run(spark, own.config(score=small(rules=Rules(stock=stock))))


def test_a_model_that_says_too_little_is_refused(spark: SparkSession, own: World) -> None:
    where = files.join(files.current(str(own.folder / "model"), ""), "model.json")
    about = files.read_json(where)
    del about["known_items"]
    files.write_json(where, about)
    with pytest.raises(DataError, match=r"model\.json: expected the key known_items, found none"):
        pipeline.run(spark, own.config())
