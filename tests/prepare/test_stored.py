"""What histories say of themselves, and that the vocabulary has as many events of each item."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession

from recsys.prepare.bundles import as_table
from recsys.prepare.stored import item_events, stored
from recsys.prepare.vocabulary_checks import written_checks

_HISTORIES = {
    "user_id": pa.string(), "item": pa.list_(pa.int32()), "timestamp": pa.list_(pa.int64()),
    "split": pa.list_(pa.int32()), "step": pa.list_(pa.int32()),
}  # fmt: skip


def stored_of(spark: SparkSession, *files: list[dict[str, Any]]) -> DataFrame:
    """STORED of files of histories, of several row groups each."""
    contents = []
    for rows in files:
        file = pa.BufferOutputStream()
        schema = pa.schema([*_HISTORIES.items()])
        pq.write_table(pa.Table.from_pylist(rows, schema), file, row_group_size=2)
        contents.append((f"part-{len(contents)}.parquet", file.getvalue().to_pybytes()))
    return stored(spark.createDataFrame(contents, "path string, content binary"))


def histories() -> list[list[dict[str, Any]]]:
    names = ("user_id", "item", "timestamp", "split")
    rows = [
        ("ann", [2, 3, 2], [30, 10, 40], [0, 0, 1]), ("bob", [1, 2], [50, 60], [0, 0]),
        ("cat", [4], [70], [2]), ("dan", [3, 1, 3], [80, 80, 90], [0, 3, 0]),
    ]  # fmt: skip
    dicts = [dict(zip(names, row, strict=True)) for row in rows]
    return [dicts[:3], dicts[3:], []]


def test_histories_say_what_they_hold(spark: SparkSession) -> None:
    found = stored_of(spark, *histories())
    spans = [row for file in found.select("spans").collect()
             for row in as_table(file.spans).to_pylist()]  # fmt: skip
    assert sorted(tuple(row.values()) for row in spans) == [
        ("ann", 10, 3), ("bob", 50, 2), ("cat", 70, 1), ("dan", 80, 3)
    ]  # fmt: skip
    events = {row.item_index: row.events for row in item_events(found).collect()}
    assert events == {1: 1, 2: 2, 3: 3}


@pytest.mark.parametrize(
    ("item", "split", "wrong"),
    [(2, 0, 0), (2, 1, 1), (3, 0, 2), (1, 0, 1)],
    ids=["sound", "of another split", "another item", "unknown"],
)
def test_events_of_train_are_written_as_the_vocabulary_counts_them(
    spark: SparkSession, item: int, split: int, wrong: int
) -> None:
    files = histories()
    files[0][1]["item"][1], files[0][1]["split"][1] = item, split
    used = spark.createDataFrame([(2, 2), (3, 3), (4, 0)], "item_index int, train_count bigint")
    events, items = written_checks(used, item_events(stored_of(spark, *files)), 6)
    assert events.holds == (split == 0)
    assert items.found == f"{wrong}"
    assert items.holds == (not wrong)
