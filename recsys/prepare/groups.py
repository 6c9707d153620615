"""Rows of their real length become equal groups, one a file, of rows of one width each.

Rows stand by length, ties by a seeded hash, so that a group holds rows of similar length, and is as
wide as the longest of them: what nobody needs is neither written nor read. All
groups of a split have the same number of rows; where that does not come out even, the last groups
hold one row of weight 0 each:

    5 rows, groups of at most 2, a multiple of 2 groups: 4 groups of 2    1 2 | 3 + | 4 + | 5 +
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql import types as T

from recsys.arrays import Filling
from recsys.prepare.bundles import opened
from recsys.prepare.cutting import ranges
from recsys.prepare.packed import ARRAYS, Packing
from recsys.prepare.rows import COUNTS, MOST


@dataclass(frozen=True)
class Layout:
    """How the rows of a split lie in groups.

    Args:
        rows: with weight 1
        groups: of equal size
        group_rows: rows of a group, the filler counted too
    """

    rows: int
    groups: int
    group_rows: int

    @property
    def fillers(self) -> int:
        """Rows of weight 0, fewer than there are groups."""
        return self.groups * self.group_rows - self.rows


def layout(rows: int, rows_per_group: int, groups_multiple_of: int) -> Layout:
    """The fewest groups, a multiple of groups_multiple_of, of at most rows_per_group rows.

    >>> layout(5, 2, 2)
    Layout(rows=5, groups=4, group_rows=2)
    >>> layout(0, 128, 4)
    Layout(rows=0, groups=4, group_rows=1)
    """
    most = rows_per_group * groups_multiple_of
    groups = groups_multiple_of * max(1, -(-rows // most))
    return Layout(rows, groups, max(1, -(-rows // groups)))


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
    """One split's rows and fillers in partitions of whole groups, sorted by group.

    A row's rank is its bucket's start, which is known, and its place in the bucket. A bucket that
    two partitions share goes to both, and each keeps its own rows of it.

    Args:
        drawn_rows: of one split
        sizes: of its buckets
        plan: for as many rows
        tasks: partitions, at most as many as groups
    """
    spark = drawn_rows.sparkSession
    columns = [name for name in drawn_rows.columns if name not in ("draw", "bucket")]
    spans = spark.createDataFrame(
        _spans(sizes, plan, tasks),
        "length int, bucket bigint, start bigint, task int, begin bigint, end bigint",
    )
    every = drawn_rows.join(F.broadcast(spans), on=["length", "bucket"], how="inner").unionByName(
        _fillers(spark, plan, tasks), allowMissingColumns=True
    )
    in_bucket = Window.partitionBy("start", "key").orderBy("draw", "sequence_id")
    placed = (
        _in_tasks(every, F.col("task"), tasks)
        .withColumn("rank", F.col("start") + F.row_number().over(in_bucket) - 1)
        .where((F.col("begin") <= F.col("rank")) & (F.col("rank") < F.col("end")))
        .withColumn("group", F.coalesce("group", _group(plan)))
    )
    return placed.select(*columns, "rank", "group").sortWithinPartitions("group", "rank")


def _spans(sizes: pd.DataFrame, plan: Layout, tasks: int) -> pd.DataFrame:
    """Each bucket with each partition that has rows of it: which one, and its ranks."""
    first_group = -(-np.arange(tasks + 1) * plan.groups // tasks)
    border = np.append(0, np.cumsum(_rows_of_groups(plan)))[first_group]
    stop = sizes["rows"].cumsum().to_numpy(np.int64)
    start = stop - sizes["rows"].to_numpy(np.int64)
    first = np.searchsorted(border, start, side="right") - 1
    last = np.searchsorted(border, stop, side="left")
    task, place = ranges(first, last)
    spans = sizes[["length", "bucket"]].assign(start=start)
    spans = spans.loc[spans.index.repeat(np.diff(place))].reset_index(drop=True)
    return spans.assign(task=task, begin=border[task], end=border[task + 1])


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


def _rows_of_groups(plan: Layout) -> NDArray[np.int64]:
    """Without fillers, which the last groups have."""
    return plan.group_rows - (np.arange(plan.groups) >= plan.groups - plan.fillers)


def _group(plan: Layout) -> Column:
    """The group of a rank: full ones first, then those with a filler."""
    rank, full = F.col("rank"), plan.groups - plan.fillers
    later = F.floor((rank - full * plan.group_rows) / max(1, plan.group_rows - 1))
    group = F.when(rank < full * plan.group_rows, F.floor(rank / plan.group_rows))
    return group.otherwise(full + later).cast("int")


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


def _fillers(spark: SparkSession, plan: Layout, tasks: int) -> DataFrame:
    groups = spark.range(plan.groups - plan.fillers, plan.groups, numPartitions=1)
    behind = F.col("id") + plan.rows
    return groups.select(
        F.concat(F.lit("#"), F.col("id")).alias("sequence_id"),
        F.lit("").alias("user_id"),
        F.lit(0).alias("length"),
        F.lit(b"").alias(ARRAYS),
        behind.alias("start"),
        F.floor(F.col("id") * tasks / plan.groups).cast("int").alias("task"),
        F.col("id").cast("int").alias("group"),
        behind.alias("begin"),
        (behind + 1).alias("end"),
    )


def widths(sizes: pd.DataFrame, plan: Layout) -> NDArray[np.int64]:
    """How many events the longest row of each group has, and one at least.

    Args:
        sizes: of the split's buckets, in the order of the rows
        plan: of as many rows

    >>> widths(pd.DataFrame({"length": [2, 3, 7], "rows": [1, 2, 1]}), Layout(4, 3, 2))
    array([3, 3, 7])
    """
    rows = _rows_of_groups(plan)
    of_last = np.searchsorted(sizes["rows"].cumsum(), np.cumsum(rows) - 1, side="right")
    length = np.append(sizes["length"].to_numpy(np.int64), 1)
    return np.where(rows > 0, length[of_last], 1)


def unpacked(
    rows: DataFrame, schema: dict[str, str], packing: Packing, widths: NDArray[np.int64]
) -> DataFrame:
    """Packed rows in their order with their arrays; rows without events get weight 0.

    Args:
        rows: packed, with group
        schema: SEQUENCES, with_inputs()
        packing: of the rows
        widths: up to which the arrays of each group are filled
    """
    arrays = {name for name, kind in schema.items() if kind.startswith("array")}
    scalars = [name for name in schema if name not in arrays and name != "weight"]

    def unpack(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            sizes, entries = packing.unpacked(batch.column(ARRAYS))
            filling = Filling(sizes, widths[batch.column("group").to_numpy()])
            ends = pa.array(np.append(0, filling.ends_B), pa.int32())
            columns = []
            for name in schema:
                if name == "weight":
                    columns.append(pa.array((sizes > 0).astype(np.float32)))
                elif name in arrays:
                    values = filling.filled(entries[name], name)
                    columns.append(pa.ListArray.from_arrays(ends, pa.array(values)))
                else:
                    columns.append(batch.column(name))
            yield pa.RecordBatch.from_arrays(columns, names=list(schema))

    return rows.select(*scalars, ARRAYS, "group").mapInArrow(unpack, _without_nulls(schema))


def histories(bundled: DataFrame, schema: dict[str, str]) -> DataFrame:
    """The histories that sequences.packed() put together.

    Args:
        bundled: rows of them
        schema: HISTORIES, with_inputs()
    """

    def unpack(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for table in opened(batches):
            yield from table.to_batches()

    return bundled.select(ARRAYS).mapInArrow(unpack, _without_nulls(schema))


def _without_nulls(schema: dict[str, str]) -> T.StructType:
    """Where Spark knows that a list has no nulls, Parquet needs fewer levels for it."""
    kinds = [T.DataType.fromDDL(kind) for kind in schema.values()]
    for kind in kinds:
        if isinstance(kind, T.ArrayType):
            kind.containsNull = False
    return T.StructType([T.StructField(*field) for field in zip(schema, kinds, strict=True)])
