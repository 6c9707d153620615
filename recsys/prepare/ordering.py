"""The order that all passes over a user's events share; it is made once."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

_ANOTHER = 0x9E3779B97F4A7C15 - 2**64  # seeds a second hash


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
    # 128 bits in place of names, which would be compared byte by byte for every pair of events.
    keys = {
        "subject": F.xxhash64(subject),
        "and_another": F.xxhash64(F.lit(_ANOTHER), subject),
        "order": order(seed),
        "other": ~is_target,
    }
    first = ["subject", "and_another", "timestamp", "order", "item_id", "other"]
    rest = [name for name in events.columns if name not in (*first, subject)]
    return (
        events.withColumns(keys)
        .repartition(tasks, subject)
        .sortWithinPartitions(*first, *rest)
        .select(*events.columns)
    )
