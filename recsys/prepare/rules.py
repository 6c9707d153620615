"""The rules that drop an event for what it is, whatever the other events are."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys.config import Clean, Config
from recsys.errors import ConfigError
from recsys.prepare import instants

# 0 on events that stay, else the number of the first rule that drops them, from 1 on.
DROPPED_BY = "dropped_by"

IMPRESSIONS = "impressions"


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
    clean, found = config.prepare.clean, []
    needs_catalogue = bool(clean.drop_items) or clean.items_not_in_catalogue == "drop"
    if needs_catalogue and not config.items.path:
        raise ConfigError(
            "items.path: expected a catalogue, since prepare.clean drops by it; found none"
        )
    if _time_range(clean) is not None:
        words = f"{clean.start or 'the first'} to {clean.end or 'the last'}"
        found.append(Rule("events outside the time range", f"dropped: not from {words}"))
    if clean.items_not_in_catalogue == "drop":
        found.append(Rule("items not in the catalogue", "dropped: nobody could be shown them"))
    for attribute, values in clean.drop_items.items():
        if attribute not in config.items.categorical:
            raise ConfigError(
                f"prepare.clean.drop_items: expected attributes of items.attributes "
                f"({', '.join(config.items.categorical)}), found {attribute!r}"
            )
        decision = f"dropped as no merchandise: items with {attribute} {', '.join(values)}"
        found.append(Rule(f"items by {attribute}", decision))
    if clean.bot_view_share is not None and config.events.columns.event_type is None:
        raise ConfigError(
            "events.columns.event_type: expected a column, for prepare.clean.bot_view_share, found "
            "none"
        )
    if clean.drop_without_quantity:
        if config.events.columns.quantity is None:
            raise ConfigError(
                "events.columns.quantity: expected a column, for "
                "prepare.clean.drop_without_quantity, found none"
            )
        found.append(Rule("events without quantity", "dropped: quantity 0"))
    if clean.min_value is not None:
        if config.events.columns.value is None:
            raise ConfigError(
                "events.columns.value: expected a column, for prepare.clean.min_value, found none"
            )
        found.append(Rule("events of low value", f"dropped: value below {clean.min_value:g}"))
    if config.prepare.weight_by_value and config.events.columns.value is None:
        raise ConfigError(
            "events.columns.value: expected a column, for prepare.weight_by_value, found none"
        )
    for name in config.prepare.event_numbers:
        if getattr(config.events.columns, name) is None:
            raise ConfigError(
                f"events.columns.{name}: expected a column, for prepare.event_numbers, found none"
            )
    _check_targets(config)
    if _has_impressions(config):
        decision = (
            "kept apart in impressions/, but for those of bots, and copies where "
            "prepare.clean.duplicates leaves these out: shown, chosen or not"
        )
        found.append(Rule(IMPRESSIONS, decision))
    return tuple(found)


def _has_impressions(config: Config) -> bool:
    return bool(config.events.columns.event_type and config.events.impression_event_types)


def _check_targets(config: Config) -> None:
    events = config.events
    searches = events.query_event_types if events.columns.query else ()
    shown = events.impression_event_types if _has_impressions(config) else ()
    for name in config.prepare.target_event_types:
        if name in (*searches, *shown):
            raise ConfigError(
                "prepare.target_event_types: expected types of events that choose an item, found "
                f"{name!r} of events.query_event_types or events.impression_event_types"
            )


def apply_rules(events: DataFrame, items: DataFrame | None, config: Config) -> DataFrame:
    """Adds DROPPED_BY to events; none is left out, so that one count serves all rules.

    Args:
        events: with item_id and what the rules look at
        items: of catalogue(), or none
        config: whose rules() count
    """
    clean = config.prepare.clean
    drops: list[Column] = []
    if between := _time_range(clean):
        drops.append((F.col("timestamp") < between[0]) | (F.col("timestamp") >= between[1]))
    if clean.items_not_in_catalogue == "drop":
        drops.append(F.col("known_item").isNull() & F.col("item_id").isNotNull())
    drops += [F.coalesce(F.col(f"drop_{name}"), F.lit(False)) for name in clean.drop_items]
    if items is not None and drops:
        marks = [
            _is_one_of(F.col(name), config.items.categorical[name], values).alias(f"drop_{name}")
            for name, values in clean.drop_items.items()
        ]
        known = items.select("item_id", F.lit(True).alias("known_item"), *marks)
        events = events.join(known, on="item_id", how="left")
    if clean.drop_without_quantity:
        drops.append(F.col("quantity") == 0)
    if clean.min_value is not None:
        drops.append(F.col("value") < clean.min_value)
    if _has_impressions(config):
        drops.append(F.col("event_type").isin(list(config.events.impression_event_types)))
    dropped_by = F.lit(0)
    for number in range(len(drops), 0, -1):
        dropped_by = F.when(drops[number - 1], F.lit(number)).otherwise(dropped_by)
    marked = events.withColumn(DROPPED_BY, dropped_by.cast("int"))
    return marked.drop("known_item", *[f"drop_{name}" for name in clean.drop_items])


def _time_range(clean: Clean) -> tuple[int, int] | None:
    """The first instant and the end, where a limit is declared; microseconds.

    Raises:
        ConfigError: an instant that is none, or a range that is empty
    """
    if clean.start is None and clean.end is None:
        return None
    first, end = -(2**63), 2**63 - 1
    if clean.start is not None:
        first = instants.micros("prepare.clean.start", clean.start)
    if clean.end is not None:
        end = instants.micros("prepare.clean.end", clean.end)
    if first >= end:
        raise ConfigError(
            f"prepare.clean.end: expected an instant after prepare.clean.start, {clean.start}, "
            f"found {clean.end!r}"
        )
    return first, end


def _is_one_of(column: Column, kind: str, values: list[str]) -> Column:
    if kind == "category":
        return column.isin(values)
    return F.arrays_overlap(column, F.array(*[F.lit(value) for value in values]))
