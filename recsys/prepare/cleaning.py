"""The first pass over the log: check every row, drop by the rules, count both, write it once."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from recsys import tables
from recsys.errors import DataError
from recsys.manifest import Step
from recsys.prepare import events, instants, quarantine
from recsys.prepare.across import look_across
from recsys.prepare.catalogue import ROWS, catalogue
from recsys.prepare.rules import DROPPED_BY, apply_rules, rules
from recsys.prepare.work import Work
from recsys.schemas import EVENTS, QUARANTINE, catalogue_schema

log = logging.getLogger(__name__)

_CHECKED = {**events.CHECKED, DROPPED_BY: "int"}
_EXAMPLES = 100


@dataclass(frozen=True)
class Clean:
    """Clean events, and what was counted on the way.

    Args:
        events: EVENTS
        in_order: whether they are in sequences.in_order() of user_id
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
    config, now = work.config, instants.now()
    by_rules = rules(config)
    items, steps = _items(work)
    raw = tables.read_events(work.spark, config.events)
    marked = apply_rules(events.check(raw, config.events, now), items, config)
    with tables.reading("events.path"):
        staged = work.stage(marked, "events", _CHECKED)
    counts = _counts(staged)
    rows, faults = counts.rows, counts.faults
    where = ", ".join(config.events.path)
    if not rows:
        raise DataError(f"{where}: expected events, found none")
    quarantine.require_few(rows, faults, _examples(staged, faults), config.events)
    at_fault = staged.where(F.col("reason").isNotNull())
    work.keep(at_fault.select(*QUARANTINE), "quarantine", QUARANTINE)
    left = rows - sum(faults.values())
    steps.append(Step("checks", rows, left, "rows at fault are in quarantine/, with the reason"))
    for number, rule in enumerate(by_rules, start=1):
        dropped = counts.dropped.get(number, 0)
        steps.append(Step(rule.name, left, left - dropped, rule.decision))
        left -= dropped
    if not left:
        raise DataError(f"{where}: expected events after {steps[-1].name!r}, found none")
    kept = staged.where(F.col("reason").isNull() & (F.col(DROPPED_BY) == 0)).select(*EVENTS)
    found, in_order = counts.kept, False
    if config.prepare.clean.looks_across:
        across, in_order = look_across(work, kept, left), True
        kept, left = across.events, across.rows
        steps += across.steps
        found = _seen(kept.agg(*_seen_columns()).collect()[0])
    return Clean(
        events=kept,
        in_order=in_order,
        items=items,
        rows=left,
        steps=tuple(steps),
        faults=faults,
        first_event=found.first_event,
        last_event=found.last_event,
        platforms=found.platforms,
    )


def _items(work: Work) -> tuple[DataFrame | None, list[Step]]:
    items = work.config.items
    if not items.path:
        return None, []
    raw = tables.read_items(work.spark, items)
    schema = {**catalogue_schema(items.attributes), ROWS: "bigint"}
    with tables.reading("items.path"):
        staged = work.stage(catalogue(raw, items), "catalogue", schema)
    found = staged.agg(F.sum(ROWS).alias("rows"), F.count("item_id").alias("items")).collect()[0]
    if not found["items"]:
        raise DataError(f"{', '.join(items.path)}: expected items, found none")
    step = Step("catalogue", found.rows, found["items"], "one row an item; rows without an id go")
    return staged.where(F.col("item_id").isNotNull()).drop(ROWS), [step]


@dataclass(frozen=True)
class _Seen:
    first_event: int
    last_event: int
    platforms: tuple[str, ...]


@dataclass(frozen=True)
class _Counts:
    rows: int
    faults: dict[str, int]
    dropped: dict[int, int]
    kept: _Seen


def _seen_columns() -> list[Column]:
    return [
        F.min("timestamp").alias("first"),
        F.max("timestamp").alias("last"),
        F.collect_set("platform").alias("platforms"),
    ]


def _seen(row: Row | None) -> _Seen:
    if row is None:
        return _Seen(0, 0, ())
    return _Seen(row["first"], row["last"], tuple(sorted(row.platforms)))


def _counts(staged: DataFrame) -> _Counts:
    """All that is counted of checked and marked events, in one aggregation."""
    by_fate = staged.groupBy("reason", DROPPED_BY)
    found = by_fate.agg(F.count(F.lit(1)).alias("rows"), *_seen_columns()).collect()
    faults: dict[str, int] = {}
    for row in found:
        if row.reason is not None:
            faults[row.reason] = faults.get(row.reason, 0) + row.rows
    sound = {row[DROPPED_BY]: row for row in found if row.reason is None}
    return _Counts(
        rows=sum(row.rows for row in found),
        faults=faults,
        dropped={number: row.rows for number, row in sound.items()},
        kept=_seen(sound.get(0)),
    )


def _examples(staged: DataFrame, faults: dict[str, int]) -> list[str]:
    if not faults:
        return []
    reason = max(faults.items(), key=lambda fault: (fault[1], fault[0]))[0]
    rows = staged.where(F.col("reason") == reason).select("row").limit(_EXAMPLES)
    return [row.row for row in rows.collect()]
