"""What users did, put together from their latest events and what was before these.

A row of a split has room for the latest events before its targets only. References may use the
earlier ones too, up to a number that a robot alone has.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys.schemas import SPLITS

# A user who did more than so many is a robot, or as good as one, and has many rows, each of which
# comes with all that was before it.
MOST_EARLIER = 10_000
_EVENT = ("item", "event_type", "timestamp", "session_start")


def whole(stored: DataFrame, splits: Sequence[str] = ()) -> DataFrame:
    """One row a user with all that it did, each event once.

        stored                                             -> one row
        user_id  first_step  item         step     split      user_id  history
        u        0           4 | 9        0 1      0 0        u        [(0, 4, ...), (1, 9, ...),
        u        2           4 | 6  7     0 1 1    0 2 2               (2, 4, ...), (3, 6, ...),
                                                                       (3, 7, ...)]

    Args:
        stored: schemas.HISTORIES, what is in histories/ and earlier/ together
        splits: in whose time the events were; none takes all, those of no split too

    Returns:
        user_id string; history array<struct<number bigint, item int, event_type int,
        timestamp bigint, session_start int>>, in time, where number counts the user's steps; users
        without such events have no row
    """
    event = F.arrays_zip("step", "split", *_EVENT)
    if splits:
        places = [SPLITS.index(name) for name in splits]
        event = F.filter(event, lambda own: own["split"].isin(places))
    pieces = stored.select("user_id", "first_step", event.alias("event")).where(F.size("event") > 0)
    # Pieces may share a step.
    events = F.flatten(F.collect_list(F.transform("event", _numbered)))
    return pieces.groupBy("user_id").agg(F.array_sort(events).alias("history"))


def _numbered(event: Column) -> Column:
    number = (F.col("first_step") + event["step"]).alias("number")
    return F.struct(number, *(event[name].alias(name) for name in _EVENT))


def with_earlier(test: DataFrame, stored: DataFrame) -> DataFrame:
    """The rows of test, each with the user's events before its first step.

        test                                            -> and these columns
        sequence_id  step          item                    first_step  earlier
        u#7          0 0 1 2 -1    4 9 | 4 | 6 | 0         5           [(0, 4, 1, 1700, 1), ...]

    Args:
        test: schemas.SEQUENCES, without fillers
        stored: as of whole

    Returns:
        test's columns; first_step bigint, the number of the row's step 0 in the user's whole
        history; earlier, as `history` of `whole`, the latest MOST_EARLIER
    """
    # Where a row begins with its history there is nothing earlier to look for.
    users = test.where(_first_step() > 0).select("user_id").distinct()
    histories = whole(stored.join(users, on="user_id", how="left_semi"))
    before = F.filter("history", lambda event: event["number"] < F.col("first_step"))
    latest = F.slice(
        "earlier", F.greatest(F.size("earlier") - MOST_EARLIER, F.lit(0)) + 1, MOST_EARLIER
    )
    return (
        test.withColumn("first_step", _first_step())
        .join(histories, on="user_id", how="left")
        .withColumn("earlier", F.coalesce(before, F.array()))
        .withColumn("earlier", latest)
        .select(*test.columns, "first_step", "earlier")
    )


def _first_step() -> Column:
    """The number, in the user's history, of the step that is number 0 within the row."""
    first_target = F.substring_index("sequence_id", "#", -1).cast("bigint")
    within_row = F.element_at("step", F.array_position("target", F.lit(1)).cast("int"))
    return first_target - within_row
