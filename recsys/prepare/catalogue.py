"""The catalogue, one row an item."""

from __future__ import annotations

import re

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from recsys.config import Items
from recsys.errors import DataError
from recsys.prepare.events import text_id
from recsys.tables import UNREADABLE

_EXPECTED = {
    "category": "text or numbers", "categories": "a list of text or numbers",
    "path": "text or a list of text", "number": "numbers", "text": "text",
    "vector": "lists of numbers",
}  # fmt: skip

# How many rows of the raw catalogue an item has.
ROWS = "rows"


def catalogue(raw: DataFrame, items: Items) -> DataFrame:
    """One row an item: item_id, every attribute as schemas.catalogue_schema has it, and ROWS.

    A number that is none is NaN, and so is a part of a vector; check() refuses them.

    Of several rows of one item the least in order stays, so that the choice does not depend on the
    order of files. Rows without an id, or that cannot be read, are one row with a null one; a blank
    category is null, and so is a list of nothing.

    Raises:
        DataError: a column of a type that cannot hold what its kind says
    """
    kinds = {"item_id": "category", **items.attributes}
    values = {name: _value(raw, name, kind, items) for name, kind in kinds.items()}
    values["item_id"] = F.when(F.col(UNREADABLE).isNull(), values["item_id"])
    columns = [value.alias(name) for name, value in values.items()]
    by_item = raw.select(*columns).groupBy("item_id")
    rows = F.count(F.lit(1)).alias(ROWS)
    if not items.attributes:
        return by_item.agg(rows)
    least = F.min(F.struct(*items.attributes)).alias("least")
    return by_item.agg(least, rows).select("item_id", "least.*", ROWS)


def _value(raw: DataFrame, name: str, kind: str, items: Items) -> Column:
    found, column = raw.schema[name].dataType, F.col(name)
    of_list = found.elementType if isinstance(found, T.ArrayType) else None
    if kind == "category" and isinstance(found, T.AtomicType):
        return text_id(column, found)
    if kind == "categories" and isinstance(of_list, T.AtomicType):
        return _listed(F.transform(column, lambda entry: text_id(entry, of_list)))
    if kind == "categories" and isinstance(found, T.StringType):
        is_json = F.startswith(F.trim(column), F.lit("["))
        texts = F.when(is_json, F.from_json(column, "array<string>"))
        texts = texts.otherwise(F.split(column, r"\|"))
        return _listed(F.transform(texts, lambda entry: text_id(F.trim(entry), found)))
    if kind == "path" and isinstance(of_list, T.StringType):
        return _prefixes(column, items.path_separator)
    if kind == "path" and isinstance(found, T.StringType):
        return _prefixes(F.split(column, re.escape(items.path_separator)), items.path_separator)
    if kind == "number" and isinstance(found, T.StringType | T.NumericType):
        return _number(column)
    if kind == "text" and isinstance(found, T.StringType):
        return column
    if kind == "vector" and isinstance(of_list, T.NumericType):
        return F.transform(column, _number_or_nan)
    if kind == "vector" and isinstance(found, T.StringType):
        listed, nan = F.from_json(column, "array<string>"), F.array(F.lit(float("nan")))
        return F.when(column.isNotNull(), F.coalesce(F.transform(listed, _number_or_nan), nan))
    expected = _EXPECTED[kind]
    raise DataError(
        f"{', '.join(items.path)}: expected {expected} in the column {name!r}, found "
        f"{found.simpleString()}"
    )


def _number(column: Column) -> Column:
    """A double; NaN where it is no number, null where there is nothing."""
    blank = column.isNull() | (F.trim(column.cast("string")) == "")
    return F.when(~blank, _number_or_nan(column))


def _number_or_nan(column: Column) -> Column:
    return F.coalesce(column.try_cast("double"), F.lit(float("nan")))


def _prefixes(parts: Column, separator: str) -> Column:
    """Every start of a path, as a list: garden, garden > tools."""
    named = F.filter(F.transform(parts, lambda part: F.trim(part)), lambda part: part != "")
    joined = F.transform(
        F.sequence(F.lit(1), F.size(named)),
        lambda length: F.array_join(F.slice(named, 1, length), f" {separator} "),
    )
    return F.when(F.size(named) > 0, F.array_sort(joined))


def check(found: DataFrame, items: Items) -> dict[str, int]:
    """Makes sure that numbers are numbers, and vectors of one length.

    Args:
        found: of catalogue()
        items: the section of the configuration

    Returns:
        the length of each attribute that is a vector

    Raises:
        DataError: names the column and an item at fault
    """
    numbers = [name for name, kind in items.dense.items() if kind == "number"]
    given = [name for name, kind in items.dense.items() if kind == "vector"]
    faults = {name: _not_finite(F.col(name)) for name in numbers}
    faults |= {name: F.exists(F.col(name), _not_finite) for name in given}
    named = found.where(F.col("item_id").isNotNull())
    columns = [F.min(F.when(fault, F.col("item_id"))).alias(name) for name, fault in faults.items()]
    for name in given:
        length = F.struct(F.size(name).alias("length"), "item_id")
        for end, of in (("least", F.min), ("most", F.max)):
            columns.append(of(F.when(F.col(name).isNotNull(), length)).alias(f"{name}_{end}"))
    if not columns:
        return {}
    row = named.agg(*columns).collect()[0]
    where = ", ".join(items.path)
    for name in faults:
        if row[name] is not None:
            raise DataError(
                f"{where}: expected finite numbers in the column {name!r}, found another value of "
                f"the item {row[name]!r}"
            )
    sizes = {}
    for name in given:
        least, most = row[f"{name}_least"], row[f"{name}_most"]
        if least is None or least.length == 0 or least.length != most.length:
            found_sizes = "none" if least is None else (
                f"{least.length} of the item {least.item_id!r} and {most.length} of the item "
                f"{most.item_id!r}"
            )  # fmt: skip
            raise DataError(
                f"{where}: expected vectors of one length in the column {name!r}, found "
                f"{found_sizes}"
            )
        sizes[name] = most.length
    return sizes


def _not_finite(number: Column) -> Column:
    return F.isnan(number) | (F.abs(number) == float("inf"))


def _listed(texts: Column) -> Column:
    values = F.array_sort(F.array_distinct(F.array_compact(texts)))
    return F.when(F.size(values) > 0, values)
