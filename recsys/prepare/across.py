"""The steps of the cleaning that look at several events: duplicates, bots, repeats, support.

All of them walk over the events in the order of users and time, which is made once. What they
leave is staged in that order, one file a partition, so that whoever reads it finds it so: as bytes,
and where passes in Python are not all that reads it, as rows, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys.arrays import arrow_schema, with_columns
from recsys.config import Clean, Prepare
from recsys.errors import DataError
from recsys.manifest import Step
from recsys.prepare import bundles
from recsys.prepare.behaviour import (
    BOT_PREFIX,
    DUPLICATES,
    FIRST,
    LAST,
    REPEATS,
    REPEATS_OF_BOTS,
    Mark,
)
from recsys.prepare.events import present, with_absent
from recsys.prepare.ordering import in_order
from recsys.prepare.seen import Seen
from recsys.prepare.sessions import Rules, named_schema, naming, naming_rules
from recsys.prepare.split import SplitTimes, are_walked, split_times
from recsys.prepare.support import ITEM_COUNTS, Gone, ItemCounts, supported
from recsys.prepare.walk import Walk
from recsys.prepare.work import Work
from recsys.schemas import EVENTS, ddl

_FIRST_LEFT = 2  # round of rare items that leaves something


@dataclass(frozen=True)
class Left:
    """What the steps left.

    Args:
        events: EVENTS, in order; with SESSION_TIME where sessions are named
        seen: of them
        steps: of the manifest
        named: whether sessions.naming() went over them
        walk: to the same events
        bots: users of whom nothing is left
        times: the borders by which support told train from the rest; none where it did not
    """

    events: DataFrame
    seen: Seen
    steps: tuple[Step, ...]
    named: bool
    walk: Walk
    bots: frozenset[str]
    times: SplitTimes | None


def look_across(work: Work, events: DataFrame, rows: int) -> Left:
    """Runs the steps that the configuration asks for, of which there is at least one.

    Args:
        work: whose configuration counts
        events: EVENTS
        rows: how many

    Raises:
        DataError: no event is left
    """
    prepare, rules = work.config.prepare, naming_rules(work.config)
    clean, names = prepare.clean, present(work.config.events)
    ordered = in_order(
        events.select(*names), "user_id", work.tasks(rows), work.config.seed,
        prepare.target_event_types,
    )  # fmt: skip
    scanned = bundles.scanned(ordered, clean)
    walked = work.stage_in_order(scanned, "scanned", bundles.BUNDLES, large_rows=True)
    marks = bundles.marks(walked)
    steps = _noise_steps(clean, rows, marks)
    count = steps[-1].rows_out if steps else rows
    _require_some(work, count, steps)
    bots, times = _bots(marks), _times(prepare, marks)
    gone, rounds = Gone(bots, end=times.valid_start - times.embargo if times else None), 0

    def stage(gone: Gone, number: int, counted: bool) -> DataFrame:
        counting = partial(ItemCounts, gone.end) if counted else None
        kept = bundles.left(walked, _staying(clean, gone, rules), counting)
        if counted and number > _FIRST_LEFT:
            work.unstage(f"left_{number - 1}")
        return work.stage_in_order(kept, f"left_{number}", bundles.BUNDLES, large_rows=True)

    if clean.min_item_events is None:
        left = stage(gone, rounds, False)
    else:
        left, gone, rounds = _without_rare(clean, walked, gone, stage)
    seen = Seen.of_marks(bundles.marks(left))
    if clean.asks_support:
        decision = f"{_support(clean)}: {len(gone.rare)} items in {rounds} rounds"
        steps.append(Step("support", count, seen.events, decision))
        _require_some(work, seen.events, steps)
    walk, schema = Walk(left, _with_nulls), {name: EVENTS[name] for name in names}
    schema = named_schema(schema) if rules else schema
    rows_left = walk.frame(schema)
    if not are_walked(prepare):
        rows_left = work.stage_in_order(rows_left, "rows_left", schema)
    return Left(with_absent(rows_left), seen, tuple(steps), rules is not None, walk, bots, times)


def _with_nulls(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The columns of EVENTS that are not there, as nulls."""
    kinds = arrow_schema(EVENTS)
    for batch in batches:
        absent = [field for field in kinds if field.name not in batch.schema.names]
        yield with_columns(
            batch, {field.name: pa.nulls(len(batch), field.type) for field in absent}
        )


def _require_some(work: Work, count: int, steps: Sequence[Step]) -> None:
    if not count:
        raise DataError(
            f"{', '.join(work.config.events.path)}: expected events after {steps[-1].name!r}, "
            "found none"
        )


def _bots(marks: Iterable[Mark]) -> frozenset[str]:
    return frozenset(user for what, user, _ in marks if user and what.startswith(BOT_PREFIX))


def _times(prepare: Prepare, marks: Sequence[Mark]) -> SplitTimes | None:
    """The borders, where support counts train alone: what it drops does not move them."""
    if not prepare.clean.asks_support or prepare.clean.min_events_in == "all":
        return None
    first = min(time for what, _, time in marks if what == FIRST)
    last = max(time for what, _, time in marks if what == LAST)
    return split_times(prepare, first, last, lambda before: ())


def _noise_steps(clean: Clean, rows: int, marks: Iterable[Mark]) -> list[Step]:
    """The steps of the manifest that duplicates, bots and repeats are."""
    steps: list[Step] = []
    found: dict[str, tuple[int, int]] = {}
    for what, user, count in marks:
        users, events = found.get(what, (0, 0))
        found[what] = (users + (user is not None), events + count)

    def step(name: str, gone: int, decision: str) -> None:
        before = steps[-1].rows_out if steps else rows
        steps.append(Step(name, before, before - gone, decision))

    if clean.duplicates:
        gone = found.get(DUPLICATES, (0, 0))[1]
        step(DUPLICATES, gone, "dropped: events that equal another one in every column")
    for words, limit in (
        ("events a day", clean.bot_events_per_day),
        ("events a minute", clean.bot_events_per_minute),
        ("share of views", clean.bot_view_share),
    ):
        if limit is not None:
            users, gone = found.get(BOT_PREFIX + words, (0, 0))
            step(
                BOT_PREFIX + words, gone, f"dropped: users with more than {limit}, {users} of them"
            )
    if clean.repeat_seconds is not None:
        gone = found.get(REPEATS, (0, 0))[1] - found.get(REPEATS_OF_BOTS, (0, 0))[1]
        window = f"within {clean.repeat_seconds:g} s"
        step(REPEATS, gone, f"dropped: the same of one user, item, query and type {window}")
    return steps


def _support(clean: Clean) -> str:
    where = "of all splits" if clean.min_events_in == "all" else "of train, which alone is judged"
    return (
        f"dropped: users with fewer than {clean.min_user_events or 1} and items with fewer than "
        f"{clean.min_item_events or 1} events {where}"
    )


def _without_rare(
    clean: Clean, walked: DataFrame, gone: Gone, stage: Callable[[Gone, int, bool], DataFrame]
) -> tuple[DataFrame, Gone, int]:
    """What is left without items that have too few events of users that have enough.

    What a round leaves is written and counted at once, since mostly it is what stays in the end.

    Args:
        clean: how many are enough
        walked: BUNDLES
        gone: before
        stage: what is left without whom, in which round, and whether its items are counted

    Returns:
        BUNDLES, whose events are gone, and in how many rounds
    """
    rounds, rare = 1, _below(clean, _counts(clean, walked, gone))
    while rare:
        gone = replace(gone, rare=gone.rare.union(rare))
        if clean.min_user_events is None:
            break
        rounds += 1
        left = stage(gone, rounds, True)
        rare = _below(clean, bundles.item_counts(left))
        if not rare:
            return left, gone, rounds
    return stage(gone, rounds, False), gone, rounds


def _below(clean: Clean, counts: DataFrame) -> list[str]:
    """The items that have too few events, of counts in parts."""
    total = counts.groupBy("item_id").agg(F.sum("count").alias("count"))
    below = total.where(F.col("count") < F.lit(clean.min_item_events)).select("item_id")
    return [row.item_id for row in below.collect()]  # by Arrow they would come one by one


def _counts(clean: Clean, walked: DataFrame, gone: Gone) -> DataFrame:
    """How many events of users that have enough each item has, in parts."""
    columns, least = ["user_id", "item_id", "timestamp"], clean.min_user_events

    def counted(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        narrow = (events.select(columns) for events in bundles.opened(batches))
        counts = ItemCounts(gone.end)
        for events in supported(map(gone.left, narrow), least, gone.end):
            yield from counts.feed(events).to_batches()
        yield from counts.finish().to_batches()

    return bundles.events(walked).mapInArrow(counted, ddl(ITEM_COUNTS))


def _staying(clean: Clean, gone: Gone, rules: Rules | None) -> bundles.Stay:
    """Events of users that have enough; their sessions named in the same pass, where rules are.

    Sessions have their names before rare items go: which these are depends on other users.
    """
    least = clean.min_user_events
    name = naming(rules) if rules else iter

    def stay(tables: Iterable[pa.Table]) -> Iterator[pa.RecordBatch]:
        named = name(batch for events in tables for batch in events.to_batches())
        left = (gone.left(pa.Table.from_batches([events])) for events in named)
        for events in supported(left, least, gone.end):
            yield from events.to_batches()

    return stay
