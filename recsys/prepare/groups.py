"""Rows of their real length become equal groups, one a file, of rows of one width each.

Rows stand by length, ties by a seeded hash, so that a group holds rows of similar length, and is as
wide as the longest of them: what nobody needs is neither written nor read. All groups of a split
have the same number of rows; where that does not come out even, the last groups hold one row of
weight 0 each:

    5 rows, groups of at most 2, a multiple of 2 groups: 4 groups of 2    1 2 | 3 + | 4 + | 5 +
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys import tables
from recsys.arrays import Filling, arrow_schema
from recsys.prepare.bundles import as_bytes, as_table, opened
from recsys.prepare.cutting import Ints
from recsys.prepare.packed import ARRAYS, Packing
from recsys.prepare.pieces import IN_ORDER, PACKED, bucket_of
from recsys.prepare.placing import Layout, Placing
from recsys.schemas import ddl

# The rows of a piece that a task needs; of the task's mark, none.
_PARTS: dict[str, str] = {"task": "int", "content": "binary"}
_AT_ONCE = 250_000  # entries of an array that are filled up


def grouped(pieces: DataFrame, sizes: pd.DataFrame, plan: Layout, tasks: int) -> DataFrame:
    """One split's rows, in partitions of whole groups.

    A bucket that two partitions share goes to both. Each partition has a row that says which one it
    is, without content.

    Args:
        pieces: the content of those of the split
        sizes: of its buckets
        plan: for as many rows
        tasks: partitions, at most as many as groups

    Returns:
        task, the partition, and content, PACKED as bytes
    """
    bucket_K = sizes["bucket"].to_numpy()
    first_K, end_K = _tasks(sizes, plan, tasks)

    def scatter(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for piece in opened(batches):
            place = np.searchsorted(bucket_K, bucket_of(piece))
            first, end = first_K[place], end_K[place]
            for task in range(first[0], end[-1]):
                # Both rise from row to row.
                low, high = (np.searchsorted(own, task, "right") for own in (end, first))
                if low < high:
                    yield _part(task, piece.slice(low, high - low))

    marks = pieces.sparkSession.range(tasks, numPartitions=1).select(
        F.col("id").cast("int").alias("task"), F.lit(None).cast("binary").alias("content")
    )
    parts = pieces.mapInArrow(scatter, ddl(_PARTS)).unionAll(marks)
    return _in_tasks(parts, F.col("task"), tasks)


def _part(task: int, rows: pa.Table) -> pa.RecordBatch:
    row = {"task": task, "content": as_bytes(rows, for_shuffle=True)}
    return pa.RecordBatch.from_pylist([row], schema=arrow_schema(_PARTS))


def _tasks(sizes: pd.DataFrame, plan: Layout, tasks: int) -> tuple[Ints, Ints]:
    """The first partition that has rows of each bucket, and the one behind the last."""
    border = plan.first_rows(tasks)
    start = _starts(sizes)
    first = np.searchsorted(border, start, side="right") - 1
    return first, np.searchsorted(border, start + sizes["rows"].to_numpy(), side="left")


def _starts(sizes: pd.DataFrame) -> Ints:
    """The place of each bucket's first row among all rows of the split."""
    rows = sizes["rows"].to_numpy()
    return np.asarray(np.cumsum(rows) - rows)


def in_groups(placed: DataFrame, groups: int, tasks: int) -> DataFrame:
    """Rows in partitions of whole groups, sorted by group and rank.

    Args:
        placed: with group, from 0 on, and rank
        groups: how many
        tasks: partitions, at most as many as groups
    """
    task = F.floor(F.col("group") * tasks / groups).cast("int")
    return _in_tasks(placed, task, tasks).sortWithinPartitions("group", "rank")


def _in_tasks(rows: DataFrame, task: Column, tasks: int) -> DataFrame:
    """Every row in the partition that task says, from 0 on; adds key."""
    keys = [F.lit(key) for key in partition_keys(tasks)]
    return rows.withColumn("key", F.element_at(F.array(*keys), task + 1)).repartition(tasks, "key")


def partition_keys(partitions: int) -> list[int]:
    """For each partition a number that Spark's partitioning by hash puts there.

    So that partition i can be told to hold the i-th range of groups, and the names of its files
    sort accordingly; Spark has no partitioning by a given number.
    """
    candidates = np.arange(64 + 32 * partitions, dtype=np.uint32)
    found, first = np.unique(murmur3(candidates) % partitions, return_index=True)
    if len(found) < partitions:
        raise ValueError(f"expected keys for {partitions} partitions, found {len(found)}")
    return [int(key) for key in first]


def murmur3(numbers: NDArray[np.uint32]) -> NDArray[np.int32]:
    """Spark's hash() of each number as an int: MurmurHash3_x86_32 (Appleby 2011), seed 42."""
    mixed = _rotated(numbers * np.uint32(0xCC9E2D51), 15) * np.uint32(0x1B873593)
    mixed = _rotated(mixed ^ np.uint32(42), 13) * np.uint32(5) + np.uint32(0xE6546B64)
    mixed ^= np.uint32(4)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        mixed = (mixed ^ (mixed >> np.uint32(shift))) * np.uint32(factor)
    return (mixed ^ (mixed >> np.uint32(16))).view(np.int32)


def _rotated(numbers: NDArray[np.uint32], bits: int) -> NDArray[np.uint32]:
    return (numbers << np.uint32(bits)) | (numbers >> np.uint32(32 - bits))


def widths(sizes: pd.DataFrame, plan: Layout) -> NDArray[np.int64]:
    """How many events the longest row of each group has, and one at least.

    Args:
        sizes: of the split's buckets, in the order of the rows
        plan: of as many rows

    >>> widths(pd.DataFrame({"length": [2, 3, 7], "rows": [1, 2, 1]}), Layout(4, 3, 2))
    array([3, 3, 7])
    """
    rows = plan.rows_of_groups
    of_last = np.searchsorted(sizes["rows"].cumsum(), np.cumsum(rows) - 1, side="right")
    length = np.append(sizes["length"].to_numpy(np.int64), 1)
    return np.where(rows > 0, length[of_last], 1)


def in_group_files(
    parts: DataFrame,
    schema: dict[str, str],
    packing: Packing,
    sizes: pd.DataFrame,
    plan: Layout,
    tasks: int,
) -> DataFrame:
    """A file for each group: rows with their arrays, and fillers, which have weight 0.

    Args:
        parts: of grouped()
        schema: SEQUENCES, with_inputs()
        packing: of the rows
        sizes: of the split's buckets
        plan: of the split
        tasks: partitions

    Returns:
        tables.FILES, in order
    """
    in_files = tables.in_files(schema, plan.group_rows)
    bucket_K, start_K, width = sizes["bucket"].to_numpy(), _starts(sizes), widths(sizes, plan)
    nothing = pa.RecordBatch.from_pylist([], schema=PACKED)

    def unpack(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        task, rows = _sorted(batches)
        placing = Placing(plan, tasks, task)
        for batch in rows.to_batches(max(1, _AT_ONCE // int(width.max()))):
            placed = placing.feed(start_K[np.searchsorted(bucket_K, bucket_of(batch))])
            yield _wide(placed.taken(batch), placed.group, schema, packing, width)
        placed = placing.finish()
        yield _wide(placed.taken(nothing), placed.group, schema, packing, width)

    def make(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return in_files(unpack(batches))

    return parts.select(*_PARTS).mapInArrow(make, ddl(tables.FILES))


def _sorted(batches: Iterable[pa.RecordBatch]) -> tuple[int, pa.Table]:
    """Which partition it is, and its rows, PACKED, in their order."""
    parts = [part for batch in batches for part in batch.to_pylist()]
    task, contents = parts[0]["task"], [part["content"] for part in parts]
    tables_of = [as_table(content) for content in contents if content is not None]
    rows = pa.concat_tables([PACKED.empty_table(), *tables_of]).combine_chunks()
    del parts, contents, tables_of  # a copy less while they are sorted
    return task, rows.sort_by([(name, "ascending") for name in IN_ORDER])


def _wide(
    rows: pa.RecordBatch,
    group: Ints,
    schema: dict[str, str],
    packing: Packing,
    widths: NDArray[np.int64],
) -> pa.RecordBatch:
    """SEQUENCES of packed rows, of which those of nulls are fillers."""
    sizes, entries = packing.unpacked(rows.column(ARRAYS))
    filling = Filling(sizes, widths[group])
    ends = pa.array(np.append(0, filling.ends_B), pa.int32())
    columns: dict[str, pa.Array] = {"weight": pa.array((sizes > 0).astype(np.float32))}
    for name, kind in schema.items():
        if kind.startswith("array"):
            values = filling.filled(entries[name], name)
            columns[name] = pa.ListArray.from_arrays(ends, pa.array(values))
        elif name != "weight":
            columns[name] = rows.column(name)
    if rows.column(ARRAYS).null_count:
        number = pa.array(group).cast(pa.string())
        of_filler = {"sequence_id": pc.binary_join_element_wise("#", number, ""), "user_id": ""}
        columns |= {name: pc.coalesce(columns[name], text) for name, text in of_filler.items()}
    return pa.RecordBatch.from_arrays([columns[name] for name in schema], names=list(schema))


def in_history_files(pieces: DataFrame, schema: dict[str, str]) -> DataFrame:
    """Files of histories.

    Args:
        pieces: the content of theirs
        schema: HISTORIES, with_inputs()

    Returns:
        tables.FILES
    """
    in_files = tables.in_files(schema)

    def make(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return in_files(opened(batches))

    return pieces.mapInArrow(make, ddl(tables.FILES))
