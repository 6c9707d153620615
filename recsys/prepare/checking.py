"""The first pass over the log: check every row, see which rule drops it, count both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsys import hashing, tables
from recsys.config import Config, Events, Items
from recsys.errors import DataError
from recsys.manifest import Day, Step
from recsys.prepare import days, events, instants, quarantine, seen
from recsys.prepare.catalogue import ROWS, catalogue
from recsys.prepare.days import Former
from recsys.prepare.identities import identities, merged
from recsys.prepare.rules import DROPPED_BY, IMPRESSIONS, apply_rules, rules
from recsys.prepare.seen import Seen
from recsys.schemas import EVENTS, catalogue_schema

_CHECKED = {**events.CHECKED, DROPPED_BY: "int"}
_EXAMPLES = 100

# Computes a table once and gives it back; a plan computes it again instead.
Stage = Callable[[DataFrame, str, dict[str, str]], DataFrame]


@dataclass(frozen=True)
class Checked:
    """The log after its first pass.

    Args:
        log: events.CHECKED and DROPPED_BY of every row, and of every event that was kept before
        added: EVENTS of the log that are to be kept, whether a rule drops them or not
        added_days: how many of each date
        kept_days: those that were kept before
        rows_read: of the log
        identities: what was counted of their table
        items: item_id and the attributes, or none without a catalogue
        rows: that are left
        steps: what was dropped, and why
        faults: reason to rows
        seen: of the events that are left
        impressions: DROPPED_BY of those that are kept apart; 0 where there are none
    """

    log: DataFrame
    added: DataFrame
    added_days: dict[str, int]
    kept_days: tuple[Day, ...]
    rows_read: int
    identities: dict[str, int]
    items: DataFrame | None
    rows: int
    steps: tuple[Step, ...]
    faults: dict[str, int]
    seen: Seen
    impressions: int = 0

    @property
    def events(self) -> DataFrame:
        """EVENTS that are left."""
        stays = F.col("reason").isNull() & (F.col(DROPPED_BY) == 0)
        return self.log.where(stays).select(*EVENTS)

    @property
    def kept_apart(self) -> DataFrame | None:
        """EVENTS of what was shown and not chosen; none where there are none."""
        if not self.impressions:
            return None
        return self.log.where(F.col(DROPPED_BY) == self.impressions).select(*EVENTS)


def checked(
    spark: SparkSession, config: Config, stage: Stage, former: Former | None = None
) -> Checked:
    """Reads, checks, adds what was kept before, and drops by the rules.

    Raises:
        ConfigError: a rule lacks what it needs
        DataError: unreadable input, too many rows at fault, or no event left
    """
    key, by_rules = hashing.key_of(config.events), rules(config)
    items, steps = _items(spark, config.items, stage)
    # Ids that are to be hashed are on no disk as they are, whatever ends the run.
    whose = identities(spark, config.events, stage if key is None else _unstaged)
    steps += whose.steps
    marked = apply_rules(_log(spark, config.events, whose.people, key), items, config)
    with tables.reading("events.path"):
        staged = _narrow(stage, marked, "events", config.events)
        counts = _counts(staged)
    rows, faults = counts.rows, counts.faults
    where = ", ".join(config.events.path)
    if rows == 0:
        raise DataError(f"{where}: expected events, found none")
    quarantine.require_few(rows, faults, _examples(staged, faults), config.events)
    left = rows - sum(faults.values())
    steps.append(Step("checks", rows, left, "rows at fault are in quarantine/, with the reason"))
    added = staged.where(F.col("reason").isNull()).select(*EVENTS)
    added_days = {} if config.prepare.days == "whole" else days.counts(added)
    kept_days = () if former is None else days.stay(former, added_days, config)
    if former is not None and kept_days:
        staged = staged.unionByName(_kept(spark, config, items, kept_days, stage))
        counts = _counts(staged)
        steps.append(days.step(left, added_days, kept_days, former.manifest.days))
    impressions = 0
    for number, rule in enumerate(by_rules, start=1):
        left, dropped = steps[-1].rows_out, counts.dropped.get(number, 0)
        if rule.name == IMPRESSIONS:
            if not dropped:
                continue
            impressions = number
        steps.append(Step(rule.name, left, left - dropped, rule.decision))
    left = steps[-1].rows_out
    if not left:
        raise DataError(f"{where}: expected events after {steps[-1].name!r}, found none")
    return Checked(
        log=staged, added=added, added_days=added_days, kept_days=kept_days, rows_read=rows,
        identities=whose.counts, items=items, rows=left, steps=tuple(steps), faults=faults,
        seen=counts.kept, impressions=impressions,
    )  # fmt: skip


def _unstaged(frame: DataFrame, name: str, schema: dict[str, str]) -> DataFrame:
    return frame


def _log(
    spark: SparkSession, section: Events, people: DataFrame | None, key: hashing.Key | None
) -> DataFrame:
    """CHECKED of the raw log, with the user ids that the dataset has."""
    found = events.check(tables.read_events(spark, section), section, instants.now())
    if section.identities.are_asked:
        found = merged(found, people, section.identities)
    return found if key is None else hashing.keyed(found, ("user_id", "session_id"), key)


def _kept(
    spark: SparkSession, config: Config, items: DataFrame | None, kept: tuple[Day, ...],
    stage: Stage,
) -> DataFrame:  # fmt: skip
    """Kept events as if they were checked and marked now."""
    sound = days.read(spark, config.paths.dataset, kept)
    nothing = {name: F.lit(None).cast("string") for name in ("reason", "row")}
    marked = apply_rules(sound.withColumns(nothing), items, config)
    return _narrow(stage, marked, "kept", config.events)


def _narrow(stage: Stage, marked: DataFrame, name: str, section: Events) -> DataFrame:
    """Staged without the columns that the log lacks; CHECKED and DROPPED_BY all the same."""
    absent = EVENTS.keys() - set(events.present(section))
    schema = {column: kind for column, kind in _CHECKED.items() if column not in absent}
    staged = stage(marked.select(*schema), name, schema)
    return events.with_absent(staged).select(*_CHECKED)


def _items(spark: SparkSession, items: Items, stage: Stage) -> tuple[DataFrame | None, list[Step]]:
    if not items.path:
        return None, []
    raw = tables.read_items(spark, items)
    schema = {**catalogue_schema({**items.categorical, **items.dense}), ROWS: "bigint"}
    with tables.reading("items.path"):
        staged = stage(catalogue(raw, items), "catalogue", schema)
    found = staged.agg(F.sum(ROWS).alias("rows"), F.count("item_id").alias("items")).collect()[0]
    if not found["items"]:
        raise DataError(f"{', '.join(items.path)}: expected items, found none")
    step = Step("catalogue", found.rows, found["items"], "one row an item; rows without an id go")
    return staged.where(F.col("item_id").isNotNull()).drop(ROWS), [step]


@dataclass(frozen=True)
class _Counts:
    rows: int
    faults: dict[str, int]
    dropped: dict[int, int]
    kept: Seen


def _counts(staged: DataFrame) -> _Counts:
    """All that is counted of checked and marked events, in one aggregation."""
    stays = F.col("reason").isNull() & (F.col(DROPPED_BY) == 0)
    # What goes may be of any day at all.
    by_fate = staged.groupBy("reason", DROPPED_BY, F.when(stays, seen.day()).alias(seen.DAY))
    found = by_fate.agg(*seen.columns()).collect()
    faults: dict[str, int] = {}
    for row in found:
        if row.reason is not None:
            faults[row.reason] = faults.get(row.reason, 0) + row.rows
    sound = [row for row in found if row.reason is None]
    return _Counts(
        rows=sum(row.rows for row in found),
        faults=faults,
        dropped={row[DROPPED_BY]: row.rows for row in sound if row[DROPPED_BY]},
        kept=Seen.of_rows([row for row in sound if not row[DROPPED_BY]]),
    )


def _examples(staged: DataFrame, faults: dict[str, int]) -> Iterator[str]:
    """Raw rows of the most frequent fault, read when somebody asks for the first."""
    reason = max(faults.items(), key=lambda fault: (fault[1], fault[0]))[0]
    rows = staged.where(F.col("reason") == reason).select("row").limit(_EXAMPLES)
    yield from [row.row for row in rows.collect()]
