"""What a run writes beside its lists, and what it refuses."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from recsys import command, files, lock, manifest
from recsys.config import Neighbours, Pairs, Rules, Score, Stock
from recsys.errors import ConfigError, DataError
from recsys.schemas import RECOMMENDATION_FOLDERS, recommendations
from recsys.score import pipeline
from recsys.score.parts import Run
from recsys.tables import read
from tests.score.worlds import ITEMS, USERS, World, write_model

K = 6


def small(**changes: object) -> Score:
    return Score(**{"top_k": K, "batch_users": 8, "block_items": 16, **changes})  # type: ignore[arg-type]


def histories_of(world: World) -> Path:
    url = files.current(str(world.folder / "dataset"), "")
    return Path(files.local_copy(files.join(url, "histories")))


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
    def damage(work: Run) -> None:
        victim = next(Path(files.local_copy(work.version)).glob("json_lines/home/*.json.gz"))
        (victim.parent / f".{victim.name}.crc").unlink()
        text = gzip.decompress(victim.read_bytes())
        victim.write_bytes(gzip.compress(text.replace(b'"model"', b'"modal"', 1)))

    monkeypatch.setattr(Run, "finish", damage)
    with pytest.raises(DataError, match=r"json_lines/home: expected the lines that were written"):
        pipeline.run(spark, own.config(score=small(json_lines=True)))
    assert files.published(str(own.folder / "recommendations")) == []


def test_a_rerun_has_the_same_rows(spark: SparkSession, own: World) -> None:
    first, second = (pipeline.run(spark, own.config(score=small())) for _ in range(2))
    assert first != second
    one, other = (files.read_json(files.join(url, files.MANIFEST)) for url in (first, second))
    assert one["lists"] == other["lists"]


def test_a_run_that_ended_before_it_was_published_goes_on(
    spark: SparkSession, own: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = own.config(score=small())
    with monkeypatch.context() as patched:
        patched.setattr(files, "publish", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            pipeline.run(spark, config)
    place = own.folder / "recommendations"
    written = {path: path.stat().st_mtime_ns for path in place.glob("versions/*/home/**/*.parquet")}
    assert written
    version = pipeline.run(spark, config)
    assert files.current(config.paths.recommendations, "") == version
    assert {path: path.stat().st_mtime_ns for path in written} == written  # not scored again
    assert len(files.versions(config.paths.recommendations)) == 1


def test_parts_that_are_damaged_are_not_published_and_scored_again(
    spark: SparkSession, own: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = own.config(score=small(users_per_part=1))
    former = pipeline.run(spark, own.config(score=small()))

    def damage(work: Run) -> None:  # after the last part, before the pointer
        place = Path(files.local_copy(work.version))
        for number, fault in enumerate((_cut, _change_a_score, Path.unlink), start=1):
            [victim] = place.glob(f"home/**/part={number:05d}/*.parquet")
            (victim.parent / f".{victim.name}.crc").unlink()  # a check that not every disk has
            fault(victim)

    with monkeypatch.context() as patched:
        patched.setattr(Run, "finish", damage)
        with pytest.raises(DataError, match=r"part=00001: expected the 15 rows that were written"):
            pipeline.run(spark, config)
    assert files.current(config.paths.recommendations, "") == former
    place = own.folder / "recommendations" / "versions"
    done = {path: path.stat().st_mtime_ns for path in place.glob("*/parts/*.json")}
    version = pipeline.run(spark, config)
    again = {path.stem for path in done if path.stat().st_mtime_ns != done[path]}
    assert again == {"home-00001", "home-00002", "home-00003"}
    about, before = (files.read_json(files.join(url, files.MANIFEST)) for url in (version, former))
    assert about["lists"] == before["lists"]


def _change_a_score(path: Path) -> None:
    """The file is as whole as it was, and one score in it is another."""
    table = pq.read_table(path)
    scores = table.column("score").to_pylist()
    scores[0][0] += 0.25
    column = table.schema.get_field_index("score")
    changed = pa.array(scores, table.schema.field(column).type)
    pq.write_table(table.set_column(column, "score", changed), path)


def _interrupted(version: str) -> None:
    raise KeyboardInterrupt(version)


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
    by_index, found = models(neighbours=few)
    shares = [len(found[user] & items) / len(items) for user, items in exact.items()]
    assert 0 < len(shares) < USERS  # some have a fallback
    assert 0.1 < float(np.mean(shares)) < 1
    for manifest_of in (about, by_index):
        assert manifest_of["recall_of_neighbours"] == pytest.approx(float(np.mean(shares)))


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


def test_a_failure_leaves_what_was_there(spark: SparkSession, own: World) -> None:
    former = pipeline.run(spark, own.config(score=small()))
    before = _files(former)
    damages = {
        "a model of another vocabulary": lambda: write_model(
            own.folder / "model", manifest.read(str(own.folder / "dataset")), 1, "another"
        ),
        "a history cut off": lambda: _cut(histories_of(own) / "part-1.parquet"),
        "a history gone": lambda: (histories_of(own) / "part-1.parquet").unlink(),
    }
    messages = {
        "a model of another vocabulary": "vocabulary_fingerprint of-this-world of .*found another",
        "a history cut off": r"part-1.parquet: expected a whole Parquet file",
        "a history gone": "expected the histories of 60, found those of 45",
    }
    for name, damage in damages.items():
        damage()
        with pytest.raises(DataError, match=messages[name]):
            pipeline.run(spark, own.config(score=small()))
        assert files.current(str(own.folder / "recommendations"), "") == former
        assert _files(former) == before
        if name.startswith("a model"):
            write_model(own.folder / "model", manifest.read(str(own.folder / "dataset")), 0)


def _files(url: str) -> dict[str, bytes]:
    folder = Path(files.local_copy(url))
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _damage(path: Path, start: int = 100) -> None:
    whole, end = path.read_bytes(), start + 300
    path.write_bytes(whole[:start] + bytes(byte ^ 0x5A for byte in whole[start:end]) + whole[end:])


def test_a_corrupt_history_is_named_and_the_rest_is_kept_for_a_next_try(
    spark: SparkSession, own: World
) -> None:
    victim = histories_of(own) / "part-2.parquet"
    whole = victim.read_bytes()
    _damage(victim)
    config = own.config(score=small(users_per_part=1))
    with pytest.raises(DataError, match=r"part-2.parquet: expected readable data"):
        pipeline.run(spark, config)
    [unfinished] = files.versions(config.paths.recommendations)
    place = Path(own.folder / "recommendations" / "versions" / unfinished)
    done = {path: path.stat().st_mtime_ns for path in (place / "home").rglob("*.parquet")}
    assert len({path.parent for path in done}) == 2
    victim.write_bytes(whole)
    (place / "parts" / "home-00002.json.writing").write_text('{"kind"')  # cut off by a kill
    version = pipeline.run(spark, config)
    assert version.endswith(unfinished)
    assert {path: path.stat().st_mtime_ns for path in done} == done  # not scored again
    about = files.read_json(files.join(version, files.MANIFEST))
    fresh = pipeline.run(spark, own.config(score=small(users_per_part=2)))
    assert about["lists"] == files.read_json(files.join(fresh, files.MANIFEST))["lists"]


def test_what_another_run_left_is_not_gone_on_with(spark: SparkSession, own: World) -> None:
    config = own.config(score=small())
    left = files.join(
        files.as_url(config.paths.recommendations), "versions", "00000000T000000-left"
    )
    files.write_json(files.join(left, "run.json"), {"plan": "another"})
    version = pipeline.run(spark, config)
    assert files.versions(config.paths.recommendations) == [version.rsplit("/", 1)[-1]]


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
    _damage(damaged, start=4)
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
