"""Equal row groups: nothing lost, nothing repeated, rows of similar length together."""

from __future__ import annotations

import itertools
import random
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsys import tables
from recsys.prepare.bundles import as_table
from recsys.prepare.cutting import Limits
from recsys.prepare.groups import grouped, in_group_files, murmur3, partition_keys
from recsys.prepare.packed import ARRAYS
from recsys.prepare.pieces import IN_ORDER, PIECES, Pieces, bucket_sizes, of_histories, of_kind
from recsys.prepare.placing import Layout, Placing, layout
from recsys.prepare.rows import EARLIER, HISTORY, ROWS, Cutting, empty
from recsys.prepare.rows import packing as packing_of
from recsys.schemas import HISTORIES, SEQUENCE_ARRAYS, SEQUENCES, ddl


@given(st.integers(0, 10**6), st.integers(1, 1000), st.integers(1, 128))
def test_groups_are_equal_and_hold_all_rows(rows: int, at_most: int, multiple_of: int) -> None:
    plan = layout(rows, at_most, multiple_of)
    assert plan.groups % multiple_of == 0
    assert plan.group_rows <= at_most
    assert plan.groups * plan.group_rows == rows + plan.fillers
    assert 0 <= plan.fillers < plan.groups or (rows == 0 and plan.fillers == plan.groups)


def test_partition_keys_go_where_spark_puts_them(spark: SparkSession) -> None:
    numbers = [0, 1, 42, 123_456, 2**31 - 1]
    frame = spark.createDataFrame([(n,) for n in numbers], "n int")
    hashes = [row.h for row in frame.select(F.hash("n").alias("h")).collect()]
    assert murmur3(np.array(numbers, np.uint32)).tolist() == hashes
    keys = partition_keys(7)
    frame = spark.createDataFrame([(key,) for key in keys], "key int").repartition(7, "key")
    where = frame.select("key", F.spark_partition_id().alias("partition")).collect()
    assert {row.key: row.partition for row in where} == dict(zip(keys, range(7), strict=True))


PACKING = packing_of(())


def test_what_is_packed_comes_out_again() -> None:
    batch = pa.RecordBatch.from_pylist(_rows(9, most=4), schema=empty().schema)
    for part in (batch, batch.slice(3, 4), batch.slice(9)):
        sizes, entries = PACKING.unpacked(PACKING.packed(part).column(ARRAYS))
        assert sizes.tolist() == part.column("length").to_pylist()
        for name in SEQUENCE_ARRAYS:
            assert entries[name].tolist() == part.column(name).flatten().to_pylist()


CUTTING = Cutting(Limits(6, 3), sessions=None, by_session=True)


def _pieces(
    spark: SparkSession, rows: list[dict[str, object]], seed: int = 1, parts: int = 3
) -> DataFrame:
    """As the cutting leaves them, of rows that came in so many parts."""
    made: list[dict[str, Any]] = []
    for part in range(parts):
        pieces = Pieces(CUTTING, seed)
        batch = pa.RecordBatch.from_pylist(rows[part::parts], schema=empty().schema)
        for row in (*pieces.feed(batch), *pieces.finish()):
            made += row.to_pylist()
    return spark.createDataFrame(made, ddl(PIECES))


def _written(
    pieces: DataFrame, plan: Layout, tasks: int, place: Path
) -> dict[str, list[dict[str, Any]]]:
    """The rows of each file, by its name, in order."""
    sizes, of_split = bucket_sizes(pieces), of_kind(pieces, "train")
    made = in_group_files(
        grouped(of_split, sizes, plan, tasks), SEQUENCES, PACKING, sizes, plan, tasks
    )
    tables.write_files(made, f"file://{place}", SEQUENCES)
    found = tables.row_groups(f"file://{place}")
    assert list(found.values()) == [[plan.group_rows]] * plan.groups
    return {path: pq.read_table(place / path).to_pylist() for path in found}


def _rows(count: int, most: int) -> list[dict[str, object]]:
    draw, rows = random.Random(count), []
    for number in range(count):
        length = min(most, draw.randrange(2, 2 * most))
        arrays = {name: [1] * length for name, kind in ROWS.items() if kind.startswith("array")}
        counts = {name: length for name, kind in ROWS.items() if kind in {"int", "bigint"}}
        names = {"kind": "train", "sequence_id": f"u{number}#1", "user_id": f"u{number}"}
        rows.append({**names, **arrays, **counts, "item": [number + 2] * length})
    return rows


@pytest.mark.parametrize(("count", "tasks"), [(0, 2), (1, 2), (53, 1), (53, 5)])
def test_files_are_groups_in_the_order_of_lengths(
    spark: SparkSession, tmp_path: Path, count: int, tasks: int
) -> None:
    rows = _rows(count, most=6)
    plan = layout(count, 5, 2)
    written = _written(_pieces(spark, rows), plan, min(tasks, plan.groups), tmp_path / "rows")
    groups = [*written.values()]
    real = [row for group in groups for row in group if row["weight"] == 1]
    assert sorted(row["user_id"] for row in real) == sorted(str(row["user_id"]) for row in rows)
    by_name = {row["user_id"]: row for row in rows}
    for row in real:
        own = by_name[row["user_id"]]
        filled = len(row["item"]) - own["length"]  # type: ignore[operator]
        assert row["item"] == own["item"] + [0] * filled  # type: ignore[operator]
        assert row["step"] == own["step"] + [-1] * filled  # type: ignore[operator]
    lengths = [sum(item > 0 for item in row["item"]) for row in real]
    assert lengths == sorted(lengths)
    for group in groups:
        longest = max(sum(step >= 0 for step in row["step"]) for row in group)
        assert {len(row["item"]) for row in group} == {max(longest, 1)}
    fillers = [sum(row["weight"] == 0 for row in group) for group in groups]
    assert fillers == sorted(fillers)
    assert max(fillers) <= 1
    empty = [row for group in groups for row in group if row["weight"] == 0]
    assert all(set(row["item"]) == {0} and set(row["step"]) == {-1} for row in empty)


def test_what_two_partitions_share_is_in_one_of_them(spark: SparkSession, tmp_path: Path) -> None:
    count, tasks = 3000, 7
    pieces = _pieces(spark, _rows(count, most=3))
    sizes, plan = bucket_sizes(pieces), layout(count, 100, 2)
    assert (sizes["rows"].cumsum() % 100).between(1, 99).mean() > 0.9  # they lie across borders
    written = _written(pieces, plan, tasks, tmp_path / "rows")
    found = [row["sequence_id"] for rows in written.values() for row in rows if row["weight"]]
    contents = [as_table(row.content) for row in of_kind(pieces, "train").collect()]
    in_order = pa.concat_tables(contents).sort_by([(name, "ascending") for name in IN_ORDER])
    assert found == in_order["sequence_id"].to_pylist()
    task_of = [int(path.split("-")[1]) for path in written]
    assert task_of == [group * tasks // plan.groups for group in range(plan.groups)]


@given(
    st.integers(0, 60), st.integers(1, 9), st.integers(1, 4), st.integers(1, 5), st.integers(0, 99)
)
def test_however_rows_come_each_has_its_place(
    rows: int, at_most: int, multiple_of: int, tasks: int, seed: int
) -> None:
    rng, plan = np.random.default_rng(seed), layout(rows, at_most, multiple_of)
    tasks = min(tasks, plan.groups)
    borders = np.unique(np.append(rng.integers(0, rows + 1, 4), [0, rows]))
    border_of_tasks, found = plan.first_rows(tasks), []
    for task in range(tasks):
        placing, placed = Placing(plan, tasks, task), []
        # Every bucket of which the task has rows comes whole.
        begin, end = border_of_tasks[task : task + 2]
        mine = [(low, high) for low, high in itertools.pairwise(borders)
                if low < end and high > begin]  # fmt: skip
        start = np.repeat([low for low, _ in mine], [high - low for low, high in mine])
        place = np.concatenate([np.arange(*own) for own in mine] or [np.zeros(0, np.int64)])
        cuts = np.sort(rng.integers(0, len(start) + 1, 3))
        for own, names in zip(np.split(start, cuts), np.split(place, cuts), strict=True):
            kept = placing.feed(own.astype(np.int64))
            placed += [(int(names[row]) if row >= 0 else -1, int(group))
                       for row, group in zip(kept.row, kept.group, strict=True)]  # fmt: skip
        last = placing.finish()
        found += placed + [(-1, int(group)) for group in last.group]
    assert [group for _, group in found] == [
        number // plan.group_rows for number in range(plan.groups * plan.group_rows)
    ]
    assert [place for place, _ in found if place >= 0] == list(range(rows))
    filled = [place < 0 for place, _ in found]
    assert all(not filled[number] for number in range(len(filled) - 1)
               if number % plan.group_rows != plan.group_rows - 1)  # fmt: skip


def test_histories_travel_together(spark: SparkSession) -> None:
    rows = _rows(9, most=4)
    for row in rows[::2]:
        row["kind"] = HISTORY
    rows[1]["kind"] = EARLIER
    pieces = _pieces(spark, rows, parts=1)
    lengths = [int(row["length"]) for row in rows[::2]]  # type: ignore[call-overload]
    said = of_histories(pieces)
    assert (said["rows"], said.steps, said.cut_events) == (5, max(lengths), sum(lengths))
    for kind, own in ((HISTORY, rows[::2]), (EARLIER, rows[1:2])):
        (row,) = of_kind(pieces, kind).collect()
        found = as_table(row.content).to_pylist()
        assert found == [{name: row[name] for name in HISTORIES} for row in own]
    (of_train,) = of_kind(pieces, "train").collect()
    assert as_table(of_train.content).num_rows == bucket_sizes(pieces)["rows"].sum() == 3


def test_pieces_are_of_limited_size(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pa.RecordBatch.from_pylist(_rows(50, most=4), schema=empty().schema)
    monkeypatch.setattr("recsys.prepare.pieces._AT_ONCE", 2 * PACKING.packed(rows).nbytes)
    pieces, made = Pieces(CUTTING, seed=1), []
    for _ in range(9):
        made.append([row["rows"][0].as_py() for row in pieces.feed(rows)])
    assert made == [[], [100], [], [100], [], [100], [], [100], []]
    *left, sizes = [row for batch in pieces.finish() for row in batch.to_pylist()]
    assert [row["rows"] for row in left] == [50]
    assert sum(as_table(sizes["content"])["rows"].to_pylist()) == 9 * 50


def test_the_order_is_that_of_the_seed_and_not_of_the_input(
    spark: SparkSession, tmp_path: Path
) -> None:
    rows = _rows(40, most=4)

    def order(seed: int, parts: int) -> list[str]:
        plan = layout(40, 7, 2)
        written = _written(_pieces(spark, rows, seed, parts), plan, 1, tmp_path / uuid.uuid4().hex)
        return [row["sequence_id"] for rows in written.values() for row in rows if row["weight"]]

    assert order(1, 1) == order(1, 3)
    assert order(1, 1) != order(2, 1)
