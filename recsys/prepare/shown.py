"""What became of the items that were shown to a user."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys.prepare.instants import MICROSECONDS_PER_SECOND


def marked(shown: DataFrame, events: DataFrame, minutes: int) -> DataFrame:
    """Adds whether an item was chosen.

    Args:
        shown: EVENTS
        events: EVENTS that choose items
        minutes: after what was shown that they count
    """
    most = minutes * 60 * MICROSECONDS_PER_SECOND
    times = events.groupBy("user_id", "item_id").agg(F.collect_list("timestamp").alias("times"))

    def is_then(time: Column) -> Column:
        return time.between(F.col("timestamp"), F.col("timestamp") + most)

    chosen = F.coalesce(F.exists("times", is_then), F.lit(False)).cast("int")
    found = shown.join(times, on=["user_id", "item_id"], how="left").withColumn("chosen", chosen)
    return found.select(*shown.columns, "chosen")
