"""The steps of the cleaning that look at several events: duplicates, bots, repeats, support.

All of them walk over the events in the order of users and time, which is made once; what they
leave is staged in that order, one file a partition, so that whoever reads it finds it so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys.config import Clean, Prepare
from recsys.errors import DataError
from recsys.manifest import Step
from recsys.prepare.behaviour import (
    BOT_PREFIX,
    DUPLICATES,
    MARKED,
    REPEATS,
    REPEATS_OF_BOTS,
    Scan,
)
from recsys.prepare.ordering import in_order
from recsys.prepare.sessions import Rules, named, named_schema, naming, naming_rules
from recsys.prepare.split import split_times
from recsys.prepare.support import ItemCounts, Supported
from recsys.prepare.work import Work
from recsys.schemas import EVENTS, ddl

# What every log has, or is given.
_ALWAYS = ("user_id", "item_id", "event_type", "timestamp")


@dataclass(frozen=True)
class Left:
    """What a step left.

    Args:
        events: EVENTS, in order; between the steps without the columns that the log lacks
        rows: how many
        steps: of the manifest
        named: whether sessions.naming() went over them too
    """

    events: DataFrame
    rows: int
    steps: tuple[Step, ...]
    named: bool = False


def look_across(work: Work, events: DataFrame, rows: int) -> Left:
    """Runs the steps that the configuration asks for, of which there is at least one.

    Args:
        work: whose configuration counts
        events: EVENTS
        rows: how many

    Raises:
        DataError: no event is left
    """
    config, prepare = work.config, work.config.prepare
    # A column of nulls costs as much as any other on its way through sort, Python and Parquet.
    mapped = asdict(config.events.columns)
    present = [name for name in EVENTS if name in _ALWAYS or mapped[name] is not None]
    events = events.select(*present)
    ordered = in_order(events, "user_id", work.tasks(rows), config.seed, prepare.target_event_types)
    if prepare.clean.compares_events:
        left = _without_noise(work, ordered, rows)
    else:
        left = Left(_staged(work, ordered, "ordered"), rows, ())
    if prepare.clean.asks_support and left.rows:
        supported = _with_support(work, left.events, left.rows, _end(prepare, left.events))
        left = replace(supported, steps=(*left.steps, *supported.steps))
    if not left.rows:
        raise DataError(
            f"{', '.join(config.events.path)}: expected events after {left.steps[-1].name!r}, "
            "found none"
        )
    lacking = {name: F.lit(None).cast(EVENTS[name]) for name in EVENTS if name not in present}
    if left.named:
        del lacking["session_id"]
    return replace(left, events=left.events.withColumns(lacking))


def _staged(work: Work, events: DataFrame, name: str) -> DataFrame:
    schema = dict(events.dtypes)
    work.stage(events, name, schema)
    return work.staged_in_order(name, schema)


def planned(clean: Clean) -> list[str]:
    """The steps that are asked for, in their order, in words."""
    steps = [f"{step.name}: {step.decision}" for step in _noise_steps(clean, 0, None)]
    return steps + ([f"support: {_support(clean)}"] if clean.asks_support else [])


def _end(prepare: Prepare, events: DataFrame) -> int | None:
    """Where support no longer counts."""
    if prepare.clean.min_events_in == "all":
        return None
    time = F.col("timestamp")
    first, last = events.agg(F.min(time), F.max(time)).collect()[0]
    times = split_times(prepare, first, last, lambda before: ())
    return times.valid_start - times.embargo


def _without_noise(work: Work, events: DataFrame, rows: int) -> Left:
    """Without duplicates, bots and repeats.

    Args:
        work: whose configuration counts
        events: EVENTS, in order of user_id
        rows: how many
    """
    clean, names, schema = work.config.prepare.clean, events.columns, dict(events.dtypes) | MARKED

    def scan(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        stream = Scan(clean, names)
        for batch in batches:
            yield from stream.feed(batch).to_batches()
        yield from stream.finish().to_batches()

    scanned = _staged(work, events.mapInArrow(scan, ddl(schema)), "scanned")
    marks = scanned.where(F.col("what").isNotNull()).select("what", "user_id", "count")
    found = {
        row.what: (row.users, row.events)
        for row in marks.groupBy("what").agg(
            F.count("user_id").alias("users"), F.sum("count").alias("events")
        ).collect()
    }  # fmt: skip
    left = scanned.where(F.col("what").isNull()).select(*names)
    bots = marks.where(F.col("what").startswith(BOT_PREFIX)).select("user_id")
    if any(what.startswith(BOT_PREFIX) for what in found):
        left = left.join(F.broadcast(bots), on="user_id", how="left_anti").select(*names)
    steps = _noise_steps(clean, rows, found)
    return Left(left, steps[-1].rows_out, tuple(steps))


def _noise_steps(clean: Clean, rows: int, found: dict[str, tuple[int, int]] | None) -> list[Step]:
    """The steps of the manifest, by what the marks count; none before they are."""
    steps: list[Step] = []
    marks = found or {}

    def step(name: str, gone: int, decision: str) -> None:
        before = steps[-1].rows_out if steps else rows
        steps.append(Step(name, before, before - gone, decision))

    if clean.duplicates:
        gone = marks.get(DUPLICATES, (0, 0))[1]
        step(DUPLICATES, gone, "dropped: events that equal another one in every column")
    for words, limit in (
        ("events a day", clean.bot_events_per_day),
        ("events a minute", clean.bot_events_per_minute),
        ("share of views", clean.bot_view_share),
    ):
        if limit is not None:
            users, gone = marks.get(BOT_PREFIX + words, (0, 0))
            step(
                BOT_PREFIX + words, gone, f"dropped: users with more than {limit}, {users} of them"
            )
    if clean.repeat_seconds is not None:
        gone = marks.get(REPEATS, (0, 0))[1] - marks.get(REPEATS_OF_BOTS, (0, 0))[1]
        window = f"within {clean.repeat_seconds:g} s"
        step(REPEATS, gone, f"dropped: the same of one user, item, query and type {window}")
    return steps


def _with_support(work: Work, events: DataFrame, rows: int, end: int | None) -> Left:
    """Without items and users that have too few events.

    Args:
        work: whose configuration counts
        events: EVENTS, in order of user_id
        rows: how many
        end: events from this instant on neither count nor go; none for no such instant
    """
    clean = work.config.prepare.clean
    rare: DataFrame | None = None
    rounds = known = 0
    while clean.min_item_events is not None:
        counts = _counts(clean, _without(events, rare, end), end)
        rounds += 1
        below = counts.groupBy("item_id").agg(F.sum("count").alias("count"))
        below = below.where(F.col("count") < clean.min_item_events).select("item_id")
        more = work.stage(below, f"rare-{rounds}", {"item_id": "string"})
        found = more.count()
        if not found:
            break
        known += found
        rare = more if rare is None else rare.unionByName(more)
        if clean.min_user_events is None:
            break
    rules = naming_rules(work.config)
    kept = _supported(clean, _without(events, rare, end), end, rules)
    left = _staged(work, kept, "supported")
    count = left.count()
    decision = f"{_support(clean)}: {known} items in {rounds} rounds"
    return Left(left, count, (Step("support", rows, count, decision),), rules is not None)


def _support(clean: Clean) -> str:
    where = "of all splits" if clean.min_events_in == "all" else "of train, which alone is judged"
    return (
        f"dropped: users with fewer than {clean.min_user_events or 1} and items with fewer than "
        f"{clean.min_item_events or 1} events {where}"
    )


def _without(events: DataFrame, rare: DataFrame | None, end: int | None) -> DataFrame:
    """Without events of rare items; those after the end stay."""
    if rare is None:
        return events
    marked = F.broadcast(rare.withColumn("rare", F.lit(True)))
    gone = F.col("rare").isNotNull()
    if end is not None:
        gone &= F.col("timestamp") < end
    return events.join(marked, on="item_id", how="left").where(~gone).select(*events.columns)


def _supported(clean: Clean, events: DataFrame, end: int | None, rules: Rules | None) -> DataFrame:
    """Events of users that have enough; their sessions named in the same pass, where rules are."""
    if clean.min_user_events is None:
        return events if rules is None else named(events, rules)
    least = clean.min_user_events

    def filtered(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        stream = Supported(least, end)
        for batch in batches:
            yield from stream.feed(batch).to_batches()
        if (rest := stream.finish()) is not None:
            yield from rest.to_batches()

    schema = dict(events.dtypes)
    if rules is None:
        return events.mapInArrow(filtered, ddl(schema))
    name = naming(rules)
    return events.mapInArrow(lambda batches: name(filtered(batches)), ddl(named_schema(schema)))


def _counts(clean: Clean, events: DataFrame, end: int | None) -> DataFrame:
    """How many events of users that have enough each item has, in parts."""
    least = clean.min_user_events or 1

    def counted(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        stream, counts = Supported(least, end), ItemCounts(end)
        for batch in batches:
            yield from counts.feed(stream.feed(batch)).to_batches()
        if (rest := stream.finish()) is not None:
            yield from counts.feed(rest).to_batches()
        yield from counts.finish().to_batches()

    narrow = events.select("user_id", "item_id", "timestamp")
    return narrow.mapInArrow(counted, "item_id string, count bigint")
