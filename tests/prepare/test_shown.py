"""What became of the items that were shown."""

from __future__ import annotations

from pyspark.sql import SparkSession

from recsys.prepare.shown import marked
from recsys.schemas import EVENTS, ddl

MINUTE = 60_000_000


def test_what_was_chosen_within_the_minutes_is_marked(spark: SparkSession) -> None:
    def rows(*events: tuple[str, str, int]) -> list[dict[str, object]]:
        return [{"user_id": who, "item_id": what, "timestamp": when} for who, what, when in events]

    shown = rows(
        ("ann", "tea", 0), ("ann", "tea", 0), ("ann", "tea", 11 * MINUTE), ("ann", "jam", 0),
        ("ann", "egg", 1), ("bob", "tea", 0), ("bob", "jam", 5),
    )  # fmt: skip
    chosen = rows(
        ("ann", "tea", 10 * MINUTE), ("ann", "tea", 40 * MINUTE), ("ann", "egg", 10 * MINUTE + 2),
        ("bob", "jam", 5), ("bob", "jam", 6), ("ann", "jam", -1),
    )  # fmt: skip
    frames = [spark.createDataFrame(own, ddl(EVENTS)) for own in (shown, chosen)]
    found = marked(*frames, minutes=10)
    assert found.columns == [*EVENTS, "chosen"]
    assert sorted(tuple(row) for row in found.select(
        "user_id", "item_id", "timestamp", "chosen").collect()
    ) == [
        ("ann", "egg", 1, 0), ("ann", "jam", 0, 0), ("ann", "tea", 0, 1), ("ann", "tea", 0, 1),
        ("ann", "tea", 11 * MINUTE, 0), ("bob", "jam", 5, 1), ("bob", "tea", 0, 0),
    ]  # fmt: skip
