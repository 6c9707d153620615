"""Indexes for items, event types and category values, from train alone."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys.prepare.parts import PART, TRAIN
from recsys.schemas import FIRST_ITEM, VOCABULARY


def vocabulary(events: DataFrame, min_count: int) -> DataFrame:
    """The items that train has at least min_count events of.

    Args:
        events: with PART
        min_count: rarer items are left out, and so become the unknown item

    Returns:
        VOCABULARY, in one partition and sorted: by falling train_count, ties by item_id
    """
    counts = train_counts(events, "item_id").where(F.col("train_count") >= min_count)
    # What fits an embedding fits one partition, in which Spark's running number has no gaps.
    in_order = counts.repartition(1).sortWithinPartitions(F.col("train_count").desc(), "item_id")
    index = F.monotonically_increasing_id() + FIRST_ITEM
    return in_order.withColumn("item_index", index.cast("int")).select(*VOCABULARY)


def train_counts(events: DataFrame, column: str) -> DataFrame:
    """How many events of train have each value of a column: the column, and train_count."""
    train = events.where(F.col(PART) == TRAIN)
    return train.groupBy(column).agg(F.count(F.lit(1)).alias("train_count"))
