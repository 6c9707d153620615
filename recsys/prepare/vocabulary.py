"""The index of every item: those of train first, in an order that train alone decides."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys.config import Prepare
from recsys.prepare.split import PART, TRAIN, VALID
from recsys.prepare.tally import EVENTS_MET, met
from recsys.schemas import FIRST_ITEM, VOCABULARY


def vocabulary(
    tallied: DataFrame,
    catalogue: DataFrame | None,
    prepare: Prepare,
    former: DataFrame | None = None,
) -> DataFrame:
    """The items that train has enough events of, and behind them what vocabulary_tail asks for.

        item_id  train_count  valid_count   (at least 2 events)
        oil      5            0             of train, by falling train_count
        tea      3            1
        new      1            4             train and valid together, by falling valid_count
        hay      0            0             of the catalogue, by item_id

    Args:
        tallied: tally() of item_id
        catalogue: with item_id, or none
        prepare: the least count, and the tail
        former: VOCABULARY of the version that days are added to: its items stay where they are,
            however rare they have become, and new ones follow; or none

    Returns:
        VOCABULARY, in one partition and sorted
    """
    counts = item_counts(tallied)
    if prepare.vocabulary_tail == "catalogue" and catalogue is not None:
        counts = counts.join(
            catalogue.select("item_id", F.lit(True).alias("offered")), on="item_id", how="full"
        ).fillna(0, ["train_count", "valid_count"])
    else:
        counts = counts.withColumn("offered", F.lit(None).cast("boolean"))
    if former is not None:
        known = former.select("item_id", F.col("item_index").alias("known"))
        counts = counts.join(known, on="item_id", how="full").fillna(
            0, ["train_count", "valid_count"]
        )
    else:
        counts = counts.withColumn("known", F.lit(None).cast("int"))
    train, valid = F.col("train_count"), F.col("valid_count")
    added = F.lit(prepare.vocabulary_tail != "none")
    of_range = (
        F.when((train >= prepare.vocabulary_min_count) | F.col("known").isNotNull(), 0)
        .when(added & (valid > 0) & (train + valid >= prepare.vocabulary_min_count), 1)
        .when(F.col("offered"), 2)
    )
    falling = F.when(F.col("range") == 0, -train).when(F.col("range") == 1, -valid).otherwise(0)
    ranged = counts.withColumn("range", of_range).where(F.col("range").isNotNull())
    # What fits an embedding fits one partition, in which Spark's running number has no gaps.
    known_first = F.col("known").asc_nulls_last()
    in_order = ranged.repartition(1).sortWithinPartitions(known_first, "range", falling, "item_id")
    index = F.monotonically_increasing_id() + FIRST_ITEM
    return in_order.withColumn("item_index", index.cast("int")).select(*VOCABULARY)


def came_with_valid(train_count: int, valid_count: int, least: int) -> bool:
    """Whether an item that is rare in train is not so in train and validation together."""
    return train_count < least and valid_count > 0 and train_count + valid_count >= least


def item_counts(tallied: DataFrame) -> DataFrame:
    """How many events of train and of valid have each item: item_id, train_count, valid_count.

    Args:
        tallied: tally() of item_id, or of more
    """
    # A search has no item.
    has_item = F.col(PART).isin(TRAIN, VALID) & F.col("item_id").isNotNull()
    return tallied.where(has_item).groupBy("item_id").agg(
        met(F.col(PART) == TRAIN).alias("train_count"),
        met(F.col(PART) == VALID).alias("valid_count"),
    )  # fmt: skip


def train_counts(tallied: DataFrame, column: str) -> DataFrame:
    """How many events have each value of a column that train has.

    Args:
        tallied: tally() of the column, or of more
        column: its name

    Returns:
        the column, train_count, and events: of all splits and of none
    """
    counted = tallied.groupBy(column).agg(
        met(F.col(PART) == TRAIN).alias("train_count"), F.sum(EVENTS_MET).alias("events")
    )
    return counted.where(F.col("train_count") > 0)
