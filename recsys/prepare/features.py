"""The catalogue aligned to the vocabulary, and the indexes of its categories."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from recsys.schemas import CATEGORIES, FIRST_ITEM, UNKNOWN, items_schema


def attach(vocabulary: DataFrame, catalogue: DataFrame | None) -> DataFrame:
    """The vocabulary with the catalogue's attributes; null where the catalogue lacks an item."""
    if catalogue is None:
        return vocabulary
    return vocabulary.join(catalogue, on="item_id", how="left")


def categories(items: DataFrame, attributes: Sequence[str]) -> DataFrame:
    """CATEGORIES: each attribute's values by falling train_count, ties by value.

    Args:
        items: the vocabulary with train_count and the attributes, of attach()
        attributes: of kind category
    """
    if not attributes:
        nothing = items.where(F.lit(False)).withColumn("value_index", F.lit(0))
        return nothing.select(
            F.lit("").alias("attribute"), "value_index",
            F.col("item_id").alias("value"), "train_count",
        )  # fmt: skip

    values = items.unpivot("train_count", list(attributes), "attribute", "value")
    counts = values.where(F.col("value").isNotNull()).groupBy("attribute", "value").agg(
        F.sum("train_count").alias("train_count")
    )  # fmt: skip
    order = Window.partitionBy("attribute").orderBy(F.col("train_count").desc(), F.col("value"))
    number = F.row_number().over(order) + (FIRST_ITEM - 1)
    return counts.withColumn("value_index", number).select(*CATEGORIES)


def item_table(items: DataFrame, category_table: DataFrame, attributes: Sequence[str]) -> DataFrame:
    """items_schema(): the attributes with their indexes, one partition sorted by item_index.

    Args:
        items: of attach()
        category_table: of categories()
        attributes: of kind category
    """
    for attribute in attributes:
        of_attribute = category_table.where(F.col("attribute") == attribute)
        numbers = of_attribute.select(
            F.col("value").alias(attribute), F.col("value_index").alias(f"{attribute}_index")
        )
        items = items.join(numbers, on=attribute, how="left")
    indexes: dict[str, bool | float | int | str] = {
        f"{attribute}_index": UNKNOWN for attribute in attributes
    }
    table = items.fillna(indexes).select(*items_schema(attributes))
    return table.repartition(1).sortWithinPartitions("item_index")
