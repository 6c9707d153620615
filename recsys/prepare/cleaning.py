"""From the log to clean events: what is wrong goes to quarantine, what says nothing is dropped."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys.manifest import Day, Step
from recsys.prepare import days
from recsys.prepare.across import look_across
from recsys.prepare.checking import checked
from recsys.prepare.days import Former
from recsys.prepare.identities import platforms_apart
from recsys.prepare.shown import marked
from recsys.prepare.split import SplitTimes
from recsys.prepare.walk import Walk
from recsys.prepare.work import Work
from recsys.schemas import QUARANTINE


@dataclass(frozen=True)
class Clean:
    """Clean events, and what was counted on the way.

    Args:
        events: EVENTS
        in_order: whether they are in ordering.in_order() of user_id
        named: whether sessions.naming() went over them
        items: item_id and the attributes, or none without a catalogue
        rows: clean events
        steps: what was dropped, and why
        faults: reason to rows
        rows_read: of the log
        identities: what was counted of their table
        platforms_apart: whose ids stay apart
        days: that are kept
        first_event: microseconds
        last_event: microseconds
        by_day: clean events of each date
        impressions: EVENTS that are kept apart, marked(); none where there are none
        walk: to the events that stayed, in order of user_id; none where nothing looked across
        times: the borders of the splits, where support was judged by them
    """

    events: DataFrame
    in_order: bool
    named: bool
    items: DataFrame | None
    rows: int
    steps: tuple[Step, ...]
    faults: dict[str, int]
    rows_read: int
    identities: dict[str, int]
    platforms_apart: tuple[str, ...]
    days: tuple[Day, ...]
    first_event: int
    last_event: int
    by_day: dict[str, int]
    impressions: DataFrame | None = None
    walk: Walk | None = None
    times: SplitTimes | None = None


def clean(work: Work, former: Former | None = None) -> Clean:
    """Reads, checks and drops; writes the rows at fault to quarantine/, and keeps days.

    Args:
        work: whose configuration counts
        former: the version that days are added to; none where the whole log is read

    Raises:
        ConfigError: a rule lacks what it needs
        DataError: unreadable input, too many rows at fault, or no event left
    """
    found = checked(work.spark, work.config, work.stage, former)
    at_fault = found.log.where(F.col("reason").isNotNull()).select(*QUARANTINE)
    faults, kept = found.faults, found.kept_days
    if former is not None:
        at_fault = days.with_faults(former, at_fault, kept)
    written = work.keep(at_fault, "quarantine", QUARANTINE)
    if former is not None:
        faults = {row.reason: row["count"] for row in written.groupBy("reason").count().collect()}
    if found.added_days:
        kept += days.write(found.added, work.version, found.added_days)
    events, rows, steps, about = found.events, found.rows, found.steps, found.seen
    named, walk, times, impressions = False, None, None, found.kept_apart
    if impressions is not None:
        impressions = marked(impressions, events, work.config.prepare.session_gap_minutes)
    looks_across = work.config.prepare.clean.looks_across
    if looks_across:
        left = look_across(work, events, rows)
        named, walk, times = left.named, left.walk, left.times
        events, rows, steps, about = left.events, left.seen.events, steps + left.steps, left.seen
        if impressions is not None and work.config.prepare.clean.duplicates:
            impressions = impressions.dropDuplicates()
        if impressions is not None and left.bots:
            bots = work.spark.createDataFrame([(user,) for user in left.bots], "user_id string")
            impressions = impressions.join(F.broadcast(bots), on="user_id", how="left_anti")
    return Clean(
        events=events,
        in_order=looks_across,
        named=named,
        items=found.items,
        rows=rows,
        steps=steps,
        faults=faults,
        rows_read=found.rows_read,
        identities=found.identities,
        platforms_apart=platforms_apart(found.log, work.config.events.identities),
        days=kept,
        first_event=about.first_event,
        last_event=about.last_event,
        by_day=about.days,
        impressions=impressions,
        walk=walk,
        times=times,
    )
