"""What may be asked where sessions have names, counted once more: from events, by groupings.

The cutting goes through a user's events batch by batch, and sessions of one user may interleave.
"""

from __future__ import annotations

from pyspark.sql import Row, Window
from pyspark.sql import functions as F

from recsys.config import Prepare
from recsys.prepare.certificate import Check
from recsys.prepare.ordering import may_be_target
from recsys.prepare.parts import Parted
from recsys.prepare.split import PART
from recsys.schemas import NO_SPLIT, SPLITS


def session_steps(parted: Parted, prepare: Prepare) -> dict[str, int] | None:
    """The target steps of each split, all of whose sessions began in it.

    Returns:
        none where sessions have no names, are sequences themselves, or may go over a border
    """
    stay_whole = parted.times is not None or prepare.split == "last_sessions"
    if parted.by_session or not parted.named or not stay_whole:
        return None
    events = parted.events.withColumn("asks", may_be_target(prepare.target_event_types))
    begun = events.groupBy("user_id", "session_id").agg(F.min_by(PART, "timestamp").alias("begun"))
    steps = events.join(begun, on=["user_id", "session_id"], how="inner")
    steps = steps.groupBy("user_id", "timestamp").agg(
        F.min(PART).alias(PART),
        F.bool_and(F.col("begun") == F.col(PART)).alias("is_whole"),
        F.bool_or("asks").alias("asks"),
    )
    first = F.min("timestamp").over(Window.partitionBy("user_id"))
    asked = steps.withColumn("first", first).where(
        F.col("asks") & F.col("is_whole") & (F.col("timestamp") > F.col("first"))
    )
    counts = asked.where(F.col(PART) < NO_SPLIT).groupBy(PART).count().collect()
    return {SPLITS[row[PART]]: row["count"] for row in counts}


def session_step_checks(sums: dict[str, Row], expected: dict[str, int] | None) -> list[Check]:
    """Compares them with what is written.

    Args:
        sums: of writing.sums()
        expected: of session_steps()
    """
    if expected is None:
        return []
    checks = []
    for split in SPLITS:
        wanted = expected.get(split, 0)
        found = sums[split].case_steps if split in sums else 0
        name = f"{split}: target steps of sessions that began in it"
        checks.append(Check(name, f"{wanted}", f"{found}", wanted == found))
    return checks
