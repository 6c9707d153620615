"""The catalogue, one row an item, and which events its rules let through."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from recsys.config import Config, Items
from recsys.errors import ConfigError, DataError
from recsys.prepare.events import text_id
from recsys.tables import UNREADABLE

# 0 on events that stay, else the number of the first rule that drops them, from 1 on.
DROPPED_BY = "dropped_by"

# How many rows of the raw catalogue an item has.
ROWS = "rows"


@dataclass(frozen=True)
class Rule:
    """A rule that drops events.

    Args:
        name: of the step in the manifest
        decision: what it does, in words
    """

    name: str
    decision: str


def rules(config: Config) -> tuple[Rule, ...]:
    """The rules of a configuration, in the order in which they count.

    Raises:
        ConfigError: a rule needs a catalogue or an attribute that is not declared
    """
    prepare, found = config.prepare, []
    needs_catalogue = bool(prepare.drop_items) or prepare.items_not_in_catalogue == "drop"
    if needs_catalogue and not config.items.path:
        raise ConfigError("items.path: expected a catalogue, since prepare drops by it; found none")
    if prepare.items_not_in_catalogue == "drop":
        found.append(Rule("items not in the catalogue", "dropped: nobody could be shown them"))
    for attribute, values in prepare.drop_items.items():
        if attribute not in config.items.attributes:
            raise ConfigError(
                f"prepare.drop_items: expected attributes of items.attributes "
                f"({', '.join(config.items.attributes)}), found {attribute!r}"
            )
        decision = f"dropped as no merchandise: items with {attribute} {', '.join(values)}"
        found.append(Rule(f"items by {attribute}", decision))
    if prepare.drop_without_quantity:
        found.append(Rule("events without quantity", "dropped: quantity 0"))
    return tuple(found)


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


def apply_rules(events: DataFrame, items: DataFrame | None, config: Config) -> DataFrame:
    """Adds DROPPED_BY to events; none is left out, so that one count serves all rules.

    Args:
        events: with item_id and quantity
        items: of catalogue(), or none
        config: whose rules() count
    """
    prepare = config.prepare
    drops: list[Column] = []
    if prepare.items_not_in_catalogue == "drop":
        drops.append(F.col("known_item").isNull())
    drops += [F.coalesce(F.col(f"drop_{name}"), F.lit(False)) for name in prepare.drop_items]
    if items is not None and drops:
        marks = [
            _is_one_of(F.col(name), config.items.attributes[name], values).alias(f"drop_{name}")
            for name, values in prepare.drop_items.items()
        ]
        known = items.select("item_id", F.lit(True).alias("known_item"), *marks)
        events = events.join(known, on="item_id", how="left")
    if prepare.drop_without_quantity:
        drops.append(F.col("quantity") == 0)
    dropped_by = F.lit(0)
    for number in range(len(drops), 0, -1):
        dropped_by = F.when(drops[number - 1], F.lit(number)).otherwise(dropped_by)
    marked = events.withColumn(DROPPED_BY, dropped_by.cast("int"))
    return marked.drop("known_item", *[f"drop_{name}" for name in prepare.drop_items])


def _is_one_of(column: Column, kind: str, values: list[str]) -> Column:
    if kind == "category":
        return column.isin(values)
    return F.arrays_overlap(column, F.array(*[F.lit(value) for value in values]))
