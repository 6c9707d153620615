"""The catalogue aligned to the vocabulary, and the indexes of its categories."""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from recsys.schemas import CATEGORIES, FIRST_ITEM, UNKNOWN, items_schema


def attach(vocabulary: DataFrame, catalogue: DataFrame | None) -> DataFrame:
    """The vocabulary with the catalogue's attributes; null where the catalogue lacks an item."""
    if catalogue is None:
        return vocabulary
    return vocabulary.join(catalogue, on="item_id", how="left")


def categories(
    items: DataFrame, attributes: Mapping[str, str], former: DataFrame | None = None
) -> DataFrame:
    """CATEGORIES: each attribute's values by falling train_count, ties by value.

    Args:
        items: the vocabulary with train_count and the attributes, of attach()
        attributes: name to kind
        former: CATEGORIES of the version that days are added to, whose indexes stay, or none
    """
    if not attributes:
        nothing = items.where(F.lit(False)).withColumn("value_index", F.lit(0))
        return nothing.select(
            F.lit("").alias("attribute"), "value_index",
            F.col("item_id").alias("value"), "train_count",
        )  # fmt: skip

    entries = F.concat(*[_entries(name, kind) for name, kind in attributes.items()])
    values = items.select("train_count", F.explode(entries).alias("entry")).select(
        "train_count", "entry.*"
    )
    counts = values.where(F.col("value").isNotNull()).groupBy("attribute", "value").agg(
        F.sum("train_count").alias("train_count")
    )  # fmt: skip
    known = F.lit(None).cast("int")
    if former is not None:
        former = former.where(F.col("attribute").isin(list(attributes)))
        before = former.select("attribute", "value", F.col("value_index").alias("known"))
        counts = counts.join(before, on=["attribute", "value"], how="full")
        counts, known = counts.fillna(0, ["train_count"]), F.col("known")
    order = Window.partitionBy("attribute").orderBy(
        known.asc_nulls_last(), F.col("train_count").desc(), F.col("value")
    )
    number = F.row_number().over(order) + (FIRST_ITEM - 1)
    return counts.withColumn("value_index", number).select(*CATEGORIES)


def _entries(name: str, kind: str) -> Column:
    """An item's values of an attribute as a list of attribute and value."""
    values = (
        F.array(name) if kind == "category" else F.coalesce(name, F.lit([]).cast("array<string>"))
    )
    return F.transform(
        values, lambda value: F.struct(F.lit(name).alias("attribute"), value.alias("value"))
    )


def item_table(
    items: DataFrame,
    category_table: DataFrame,
    attributes: Mapping[str, str],
    vectors: DataFrame | None = None,
) -> DataFrame:
    """items_schema(): the attributes with their indexes, one partition sorted by item_index.

    Args:
        items: of attach()
        category_table: of categories()
        attributes: name to kind
        vectors: of dense.vectors(); none where there are none
    """
    table = items if vectors is None else items.join(vectors, on="item_index", how="left")
    for name, kind in attributes.items():
        index = f"{name}_index"
        of_attribute = category_table.where(F.col("attribute") == name)
        numbers = of_attribute.select(F.col("value").alias(name), F.col("value_index").alias(index))
        if kind == "category":
            table = table.join(numbers, on=name, how="left").fillna(UNKNOWN, [index])
            continue
        exploded = items.select("item_index", F.explode(name).alias(name))
        lists = exploded.join(numbers, on=name, how="inner").groupBy("item_index").agg(
            F.sort_array(F.collect_list(index)).alias(index)
        )  # fmt: skip
        table = table.join(lists, on="item_index", how="left")
        table = table.withColumn(index, F.coalesce(index, F.array(F.lit(UNKNOWN))))
    names = [] if vectors is None else vectors.columns[1:]
    in_order = table.select(*items_schema(attributes), *names).repartition(1)
    return in_order.sortWithinPartitions("item_index")
