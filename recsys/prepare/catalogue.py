"""The catalogue, one row an item."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from recsys.config import Items
from recsys.errors import DataError
from recsys.prepare.events import text_id
from recsys.tables import UNREADABLE

# How many rows of the raw catalogue an item has.
ROWS = "rows"


def catalogue(raw: DataFrame, items: Items) -> DataFrame:
    """One row an item: item_id, every attribute as text or a list of texts, and ROWS.

    Of several rows of one item the least in order stays, so that the choice does not depend on the
    order of files. Rows without an id, or that cannot be read, are one row with a null one; blank
    text is null, and so is a list of nothing.

    Raises:
        DataError: a column that is neither text nor number, nor, for a list, a list of them
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
    expected = "text or numbers" if kind == "category" else "a list of text or numbers"
    raise DataError(
        f"{', '.join(items.path)}: expected {expected} in the column {name!r}, found "
        f"{found.simpleString()}"
    )


def _listed(texts: Column) -> Column:
    values = F.array_sort(F.array_distinct(F.array_compact(texts)))
    return F.when(F.size(values) > 0, values)
