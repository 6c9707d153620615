"""All that a user did before a row of a split begins, put together from the rows of all splits.

A row has room for the latest events only. References may use every earlier one: the rows of a
user cover its history, and overlap. Only steps without a target that are more than a row has
room for are in no row; they are missing here too.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

_EVENT = ("item", "event_type", "timestamp", "session_start")


def with_earlier(test: DataFrame, sequences: DataFrame) -> DataFrame:
    """The rows of test, each with the user's events before its first step.

        test                                            -> and these columns
        sequence_id  step          item                    first_step  earlier
        u#7          0 0 1 2 -1    4 9 | 4 | 6 | 0         5           [(0, 4, 1, 1700, 1), ...]

    Args:
        test: schemas.SEQUENCES, without fillers
        sequences: schemas.SEQUENCES of all splits

    Returns:
        test's columns; first_step bigint, the number of the row's step 0 in the user's whole
        history; earlier, as `history` of `whole`
    """
    # Where a row begins with its history there is nothing earlier to look for.
    users = test.where(_first_step() > 0).select("user_id").distinct()
    histories = whole(sequences.join(users, on="user_id", how="left_semi"))
    before = F.filter("history", lambda event: event["number"] < F.col("first_step"))
    return (
        test.withColumn("first_step", _first_step())
        .join(histories, on="user_id", how="left")
        .withColumn("earlier", F.coalesce(before, F.array()))
        .select(*test.columns, "first_step", "earlier")
    )


def _first_step() -> Column:
    """The number, in the user's history, of the step that is number 0 within the row."""
    first_target = F.substring_index("sequence_id", "#", -1).cast("bigint")
    within_row = F.element_at("step", F.array_position("target", F.lit(1)).cast("int"))
    return first_target - within_row


def whole(sequences: DataFrame) -> DataFrame:
    """One row a user with all that the rows hold of its history, each event once.

    Args:
        sequences: schemas.SEQUENCES

    Returns:
        user_id string; history array<struct<number bigint, item int, event_type int,
        timestamp bigint, session_start int>>, in time, where number counts the user's steps
    """
    rows = sequences.where("weight > 0").select(
        "user_id", _first_step().alias("first_step"), F.array_max("step").alias("steps"),
        F.arrays_zip("step", *_EVENT).alias("event"),
    )  # fmt: skip
    last_step = F.col("first_step") + F.col("steps")
    former_rows = (
        Window.partitionBy("user_id")
        .orderBy(last_step)  # each row ends with a target step of its own: no ties
        .rowsBetween(Window.unboundedPreceding, -1)
    )
    number = F.col("first_step") + F.col("event.step")
    new_events = (
        rows.withColumn("covered", F.coalesce(F.max(last_step).over(former_rows), F.lit(-1)))
        .withColumn("event", F.explode("event"))
        .where((F.col("event.step") >= 0) & (number > F.col("covered")))
    )
    event = F.struct(number.alias("number"), *(F.col(f"event.{name}") for name in _EVENT))
    return new_events.groupBy("user_id").agg(F.array_sort(F.collect_list(event)).alias("history"))
