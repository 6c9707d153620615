"""What a dataset holds depends on the log and the configuration, and on nothing else."""

from __future__ import annotations

import datetime
import random
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from recsys import files
from recsys.config import Config
from recsys.manifest import Manifest
from recsys.prepare import pipeline, work
from recsys.schemas import FIRST_ITEM, SPLITS, UNKNOWN
from tests.prepare.small import (
    DAY,
    START,
    log_rows,
    small_config,
    write_csv,
    write_json,
    write_parquet,
)

ROWS = log_rows(seed=5)
END = max(int(row[3]) for row in ROWS)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("content")
    return small_config(folder, write_csv(folder / "log.csv", ROWS))


@pytest.fixture(scope="module")
def made(spark: SparkSession, config: Config) -> Manifest:
    return pipeline.run(spark, config)


def _rows(made: Manifest, split: str) -> list[dict]:
    tables = [pq.read_table(files.local_copy(url)) for url in made.file_urls(split)]
    return [row for table in tables for row in table.to_pylist()]


def _table(made: Manifest, name: str, key: str) -> list[dict]:
    rows = pq.read_table(files.local_copy(files.join(made.url, name))).to_pylist()
    return sorted(rows, key=lambda row: row[key])


def _item_ids(made: Manifest) -> dict[int, str]:
    table = pq.read_table(files.local_copy(files.join(made.url, "vocabulary.parquet")))
    return {row["item_index"]: row["item_id"] for row in table.to_pylist()}


def test_the_manifest_counts_events_by_day_and_type(made: Manifest) -> None:
    dates = [datetime.datetime.fromtimestamp(int(row[3]), datetime.UTC).date() for row in ROWS]
    assert made.events_by_day == Counter(map(str, dates))
    assert list(made.events_by_day) == sorted(made.events_by_day)
    assert made.events_by_type == Counter(row[2] for row in ROWS)
    assert tuple(made.events_by_type) == made.event_types


def test_order_files_and_partitions_of_the_log_change_nothing(
    spark: SparkSession, made: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "_ENTRIES_PER_TASK", 100)  # many tasks where two would do
    shuffled = list(ROWS)
    random.Random(9).shuffle(shuffled)
    logs = [write_csv(tmp_path / f"{part}.csv", shuffled[part::5]) for part in range(5)]
    spark.conf.set("spark.sql.shuffle.partitions", 7)
    try:
        again = pipeline.run(spark, small_config(tmp_path, *logs))
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", 2)
    assert again.content_fingerprint == made.content_fingerprint
    assert again.vocabulary_fingerprint == made.vocabulary_fingerprint
    for split in SPLITS:
        assert _rows(again, split) == _rows(made, split)  # the same rows in the same groups
    for table, key in (("histories", "user_id"), ("items.parquet", "item_index")):
        assert _table(again, table, key) == _table(made, table, key)


def test_the_seed_and_the_data_do_change_it(
    spark: SparkSession, config: Config, made: Manifest, tmp_path: Path
) -> None:
    fewer = small_config(tmp_path, write_csv(tmp_path / "log.csv", ROWS[1:]))
    assert pipeline.run(spark, fewer).content_fingerprint != made.content_fingerprint
    other = replace(config, seed=4, paths=replace(config.paths, dataset=str(tmp_path / "other")))
    assert pipeline.run(spark, other).content_fingerprint != made.content_fingerprint


def test_where_no_disk_is_local_the_same_is_written(
    spark: SparkSession, config: Config, made: Manifest, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """By way of Spark, which is how files come to HDFS and object stores."""
    monkeypatch.setattr(files, "is_local", lambda url: False)
    place = replace(config.paths, dataset=files.as_url(str(tmp_path / "dataset")))
    again = pipeline.run(spark, replace(config, paths=place))
    assert again.content_fingerprint == made.content_fingerprint
    assert again.certificate["holds"]
    for split in SPLITS:
        assert _rows(again, split) == _rows(made, split)
        assert [file.rows for file in again.splits[split].files] == [
            file.rows for file in made.splits[split].files
        ]
    for name, key in (("histories", "user_id"), ("items.parquet", "item_index")):
        assert _table(again, name, key) == _table(made, name, key)


@pytest.mark.parametrize("kind", ["headless", "json", "parquet"])
def test_other_formats_of_the_same_log_give_the_same(
    spark: SparkSession, made: Manifest, tmp_path: Path, kind: str
) -> None:
    if kind == "headless":
        log = write_csv(tmp_path / "log.csv", ROWS, header=False)
        config = small_config(tmp_path, log, options={})
        named = replace(
            config.events.columns,
            user_id="_c0", item_id="_c1", event_type="_c2", timestamp="_c3", price="_c4",
            quantity="_c5",
        )  # fmt: skip
        config = replace(config, events=replace(config.events, columns=named))
    elif kind == "json":
        log = write_json(tmp_path / "log.json", ROWS)
        config = small_config(tmp_path, log, format="json", options={})
    else:
        log = write_parquet(tmp_path / "log.parquet", ROWS)
        config = small_config(tmp_path, log, format="parquet", options={})
    assert pipeline.run(spark, config).content_fingerprint == made.content_fingerprint


def _histories() -> dict[str, dict[int, set[str]]]:
    """By hand: user -> instant -> items."""
    found: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for user, item, _, time, *_ in ROWS:
        found[user][int(time)].add(item)
    return found


def test_every_target_step_is_in_one_row_of_its_split_with_its_items(made: Manifest) -> None:
    ids, histories = _item_ids(made), _histories()
    bounds = {
        "train": (0, made.valid_start), "valid": (made.valid_start, made.test_start),
        "test": (made.test_start, 2**62),
    }  # fmt: skip
    known = set(ids.values())
    for split in SPLITS:
        low, high = (bound // 1_000_000 for bound in bounds[split])
        expected = {
            (user, time): {item if item in known else None for item in items}
            for user, steps in histories.items()
            for time, items in steps.items()
            if low <= time < high and time != min(steps)
        }
        found: dict[tuple[str, int], set] = {}
        owner: dict[tuple[str, int], str] = {}
        for row in _rows(made, split):
            events = zip(row["item"], row["timestamp"], row["target"], strict=True)
            for item, time, target in events:
                if target:
                    step = (row["user_id"], time)
                    found.setdefault(step, set()).add(ids.get(item))
                    assert owner.setdefault(step, row["sequence_id"]) == row["sequence_id"]
        assert found == expected
        assert made.splits[split].steps == len(expected) > 10


def test_no_row_holds_an_event_of_a_later_split(made: Manifest) -> None:
    for split, end in (("train", made.valid_start), ("valid", made.test_start)):
        for row in _rows(made, split):
            assert max(row["timestamp"]) * 1_000_000 < end


def test_the_vocabulary_is_counted_in_train_alone(made: Manifest) -> None:
    counts: dict[str, int] = defaultdict(int)
    for _, item, _, time, *_ in ROWS:
        counts[item] += int(time) * 1_000_000 < made.valid_start
    expected = sorted((item for item in counts if counts[item] >= 2), key=lambda i: (-counts[i], i))
    assert [_item_ids(made)[index] for index in sorted(_item_ids(made))] == expected
    assert min(_item_ids(made)) == FIRST_ITEM > UNKNOWN


def test_row_groups_are_equal_and_shards_complete(made: Manifest) -> None:
    for split in SPLITS:
        entries = made.splits[split].files
        assert len(entries) % 2 == 0
        assert len({entry.rows for entry in entries}) == 1
        for url, entry in zip(made.file_urls(split), entries, strict=True):
            footer = pq.ParquetFile(files.local_copy(url)).metadata
            assert (footer.num_row_groups, footer.num_rows) == (1, entry.rows)
        rows = _rows(made, split)
        assert sum(row["weight"] == 1 for row in rows) == made.splits[split].rows
        assert sum(row["weight"] == 0 for row in rows) == made.splits[split].fillers
        ids = [row["sequence_id"] for row in rows if row["weight"] == 1]
        assert len(ids) == len(set(ids))
        shards = [set(made.file_urls(split)[rank::2]) for rank in range(2)]
        assert not shards[0] & shards[1]
        assert shards[0] | shards[1] == set(made.file_urls(split))


def test_sessions_gaps_and_steps_follow_the_log(made: Manifest) -> None:
    for row in _rows(made, "test"):
        events = [place for place, step in enumerate(row["step"]) if step >= 0]
        assert events == list(range(len(events)))
        for before, after in pairwise(events):
            elapsed = row["timestamp"][after] - row["timestamp"][before]
            assert row["step"][after] - row["step"][before] == int(elapsed > 0)
            if elapsed > 0:
                assert row["gap_seconds"][after] == elapsed
                assert row["session_start"][after] == int(elapsed > 30 * 60)


def test_histories_hold_the_latest_events_of_every_user(made: Manifest) -> None:
    ids, histories = _item_ids(made), _histories()
    known = set(ids.values())
    table = pq.read_table(files.local_copy(files.join(made.url, "histories"))).to_pylist()
    assert sorted(row["user_id"] for row in table) == sorted(histories)
    for row in table:
        steps = histories[row["user_id"]]
        found: dict[int, set] = defaultdict(set)
        for item, time in zip(row["item"], row["timestamp"], strict=True):
            if time:
                found[time].add(ids.get(item))
        latest = sorted(steps)[-len(found) :]
        expected = {
            time: {item if item in known else None for item in steps[time]} for time in latest
        }
        assert found == expected
    assert START < END < START + 11 * DAY
