"""The order that all passes over a user's events share; it is made once."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F


def order(seed: int) -> Column:
    """Of a user's events at one instant; equal for lines of one item."""
    return F.xxhash64(F.lit(seed), "user_id", "timestamp", "item_id")


def may_be_target(types: tuple[str, ...]) -> Column:
    """Whether an event may be predicted: it has an item, and one of the types; none means all."""
    has_item = F.col("item_id").isNotNull()
    return has_item & F.col("event_type").isin(list(types)) if types else has_item


def in_order(
    events: DataFrame, subject: str, tasks: int, seed: int, targets: tuple[str, ...]
) -> DataFrame:
    """Every subject's events in one partition and one after another, in time.

    Lines of one item at one instant stand together, those that may be predicted first. The order
    of the items at one instant depends on neither files nor item ids.

    Args:
        events: EVENTS, or of encode()
        subject: user_id or session_id
        tasks: partitions
        seed: of the order at one instant
        targets: the types that may be predicted; empty means all
    """
    is_target = may_be_target(targets)
    # Numbers first: they decide nearly every comparison.
    keys = {"subject": F.xxhash64(subject), "order": order(seed), "other": ~is_target}
    first = ["subject", subject, "timestamp", "order", "item_id", "other"]
    rest = [name for name in events.columns if name not in first]
    return (
        events.withColumns(keys)
        .repartition(tasks, subject)
        .sortWithinPartitions(*first, *rest)
        .select(*events.columns)
    )
