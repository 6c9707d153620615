"""How often events of each kind were met in each split: counted in one pass, for all that asks."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys.prepare.split import PART
from recsys.schemas import EVENTS

# Of a kind of events in a split: how many there are, and the last instant.
EVENTS_MET, LAST_MET = "events_met", "last_met"


def tally(events: DataFrame, *columns: str) -> DataFrame:
    """A row for each of the values that the columns have together, and each PART.

        item_id  part  events_met  last_met
        oil      0     5           1700006502000000
        oil      2     1           1700092902000000

    Args:
        events: EVENTS with PART
        columns: what tells kinds apart
    """
    return events.groupBy(*columns, PART).agg(
        F.count(F.lit(1)).alias(EVENTS_MET), F.max("timestamp").alias(LAST_MET)
    )


def tally_schema(*columns: str) -> dict[str, str]:
    """Of tally()."""
    kinds = {name: EVENTS[name] for name in columns}
    return {**kinds, PART: "int", EVENTS_MET: "bigint", LAST_MET: "bigint"}


def met(condition: Column) -> Column:
    """How many events of a tally are such."""
    return F.sum(F.when(condition, F.col(EVENTS_MET)).otherwise(0))
