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
from recsys.arrays import Filling
from recsys.prepare.bundles import opened
from recsys.prepare.cutting import Ints, ranges
from recsys.prepare.packed import ARRAYS, Packing
from recsys.prepare.placing import Layout, Placing
from recsys.prepare.rows import COUNTS, MOST
from recsys.schemas import ddl


def drawn(rows: DataFrame, seed: int) -> DataFrame:
    """Adds what rows of one length are ordered by, and its first bits.

    The bits part the rows of one length, of which there may be very many, into buckets.
    """
    draw = F.xxhash64(F.lit(seed), "sequence_id")
    return rows.withColumn("draw", draw).withColumn("bucket", F.shiftright("draw", 56))


def bucket_sizes(drawn_rows: DataFrame) -> pd.DataFrame:
    """What each kind, length and bucket holds, in the order of the rows.

    Returns:
        rows, the most of steps and of a step's events, and the sums of COUNTS
    """
    sizes: pd.DataFrame = (
        drawn_rows.groupBy("kind", "length", "bucket")
        .agg(
            F.count(F.lit(1)).alias("rows"),
            *[F.max(name).alias(name) for name in MOST],
            *[F.sum(name).alias(name) for name in COUNTS],
        )
        .toPandas()
    )
    return sizes.sort_values(["kind", "length", "bucket"], ignore_index=True)


def grouped(drawn_rows: DataFrame, sizes: pd.DataFrame, plan: Layout, tasks: int) -> DataFrame:
    """One split's rows in their order, in partitions of whole groups.

    A bucket that two partitions share goes to both. Each partition begins with a row that says
    which one it is, in the columns task and start, which is -1 there.

    Args:
        drawn_rows: of one split
        sizes: of its buckets
        plan: for as many rows
        tasks: partitions, at most as many as groups

    Returns:
        the columns; task, the partition; start, at which place of all the row's bucket starts
    """
    spark = drawn_rows.sparkSession
    spans = spark.createDataFrame(
        _spans(sizes, plan, tasks), "length int, bucket bigint, start bigint, task int"
    )
    first = spark.range(tasks, numPartitions=1).select(
        F.col("id").cast("int").alias("task"), F.lit(-1).cast("bigint").alias("start")
    )
    every = drawn_rows.join(F.broadcast(spans), on=["length", "bucket"], how="inner")
    every = every.unionByName(first, allowMissingColumns=True)
    return _in_tasks(every, F.col("task"), tasks).sortWithinPartitions(
        "start", "draw", "sequence_id"
    )


def _spans(sizes: pd.DataFrame, plan: Layout, tasks: int) -> pd.DataFrame:
    """Each bucket with each partition that has rows of it."""
    border = plan.first_rows(tasks)
    stop = sizes["rows"].cumsum().to_numpy(np.int64)
    start = stop - sizes["rows"].to_numpy(np.int64)
    first = np.searchsorted(border, start, side="right") - 1
    last = np.searchsorted(border, stop, side="left")
    task, place = ranges(first, last)
    spans = sizes[["length", "bucket"]].assign(start=start)
    spans = spans.loc[spans.index.repeat(np.diff(place))].reset_index(drop=True)
    return spans.assign(task=task)


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
    rows: DataFrame,
    schema: dict[str, str],
    packing: Packing,
    widths: NDArray[np.int64],
    plan: Layout,
    tasks: int,
) -> DataFrame:
    """A file for each group: rows with their arrays, and fillers, which have weight 0.

    Args:
        rows: of grouped(), packed
        schema: SEQUENCES, with_inputs()
        packing: of the rows
        widths: up to which the arrays of each group are filled
        plan: of the split
        tasks: partitions

    Returns:
        tables.FILES, in order
    """
    in_files = tables.in_files(schema, plan.group_rows)

    def unpack(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        placing = None
        for batch in batches:
            if placing is None:
                placing, batch = Placing(plan, tasks, batch["task"][0].as_py()), batch.slice(1)
            placed = placing.feed(batch["start"].to_numpy())
            yield _wide(placed.taken(batch), placed.group, schema, packing, widths)
        if placing is not None:
            placed = placing.finish()
            yield _wide(placed.taken(batch), placed.group, schema, packing, widths)

    def make(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return in_files(unpack(batches))

    scalars = [name for name in schema if name in packing.schema]
    packed = rows.select(*scalars, ARRAYS, "task", "start")
    return packed.mapInArrow(make, ddl(tables.FILES))


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


def in_history_files(bundled: DataFrame, schema: dict[str, str]) -> DataFrame:
    """Files of the histories that sequences.packed() put together.

    Args:
        bundled: rows of them
        schema: HISTORIES, with_inputs()

    Returns:
        tables.FILES
    """
    in_files = tables.in_files(schema)

    def make(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return in_files(opened(batches))

    return bundled.select(ARRAYS).mapInArrow(make, ddl(tables.FILES))
