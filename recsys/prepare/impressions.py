"""What was shown, chosen or not: kept apart, as context, and never asked for."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys.manifest import Step
from recsys.prepare.cleaning import Clean
from recsys.prepare.indexing import Indexes
from recsys.prepare.instants import MICROSECONDS_PER_SECOND
from recsys.prepare.rules import IMPRESSIONS as RULE
from recsys.prepare.work import Work
from recsys.schemas import IMPRESSIONS, UNKNOWN


def keep_impressions(work: Work, cleaned: Clean, indexes: Indexes) -> list[Step]:
    """Writes IMPRESSIONS where the log has any; what the manifest says of them."""
    if cleaned.impressions is None:
        return []
    encoded = _encoded(cleaned.impressions, indexes.used)
    kept = work.keep(encoded, "impressions", IMPRESSIONS)
    rows, chosen = kept.agg(F.count(F.lit(1)), F.coalesce(F.sum("chosen"), F.lit(0))).collect()[0]
    rule = next(step for step in cleaned.steps if step.name == RULE)
    decision = (
        f"in impressions/, {chosen} chosen within {work.config.prepare.session_gap_minutes} "
        "minutes: without those of bots, and without copies where these are dropped"
    )
    return [Step("impressions kept", rule.rows_in - rule.rows_out, rows, decision)]


def _encoded(events: DataFrame, known: DataFrame) -> DataFrame:
    """IMPRESSIONS: the events with indexes in place of items, and seconds.

    Args:
        events: EVENTS, shown.marked()
        known: items that sequences know, of VOCABULARY
    """
    indexes = F.broadcast(known.select("item_id", "item_index"))
    return events.join(indexes, on="item_id", how="left").select(
        "user_id",
        "session_id",
        F.coalesce("item_index", F.lit(UNKNOWN)).alias("item"),
        F.floor(F.col("timestamp") / MICROSECONDS_PER_SECOND).alias("timestamp"),
        "position",
        "chosen",
    )
