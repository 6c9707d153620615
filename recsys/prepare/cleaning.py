"""From the log to clean events: what is wrong goes to quarantine, what says nothing is dropped."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys.manifest import Step
from recsys.prepare.across import look_across
from recsys.prepare.checking import checked, seen
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
        first_event: microseconds
        last_event: microseconds
        platforms: those seen
    """

    events: DataFrame
    in_order: bool
    named: bool
    items: DataFrame | None
    rows: int
    steps: tuple[Step, ...]
    faults: dict[str, int]
    first_event: int
    last_event: int
    platforms: tuple[str, ...]


def clean(work: Work) -> Clean:
    """Reads, checks and drops; writes the rows at fault to quarantine/.

    Raises:
        ConfigError: a rule lacks what it needs
        DataError: unreadable input, too many rows at fault, or no event left
    """
    found = checked(work.spark, work.config, work.stage)
    at_fault = found.log.where(F.col("reason").isNotNull())
    work.keep(at_fault.select(*QUARANTINE), "quarantine", QUARANTINE)
    events, rows, steps, about = found.events, found.rows, found.steps, found.seen
    named = False
    looks_across = work.config.prepare.clean.looks_across
    if looks_across:
        left = look_across(work, events, rows)
        named = left.named
        events, rows, steps, about = left.events, left.rows, steps + left.steps, seen(left.events)
    return Clean(
        events=events,
        in_order=looks_across,
        named=named,
        items=found.items,
        rows=rows,
        steps=steps,
        faults=found.faults,
        first_event=about.first_event,
        last_event=about.last_event,
        platforms=about.platforms,
    )
