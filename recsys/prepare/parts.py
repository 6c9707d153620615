"""Which split each event belongs to.

Every split is two borders, one before validation and one before test, to which an event's time is
compared; what differs is whose borders they are and which time counts:

    split          borders of    time of the event, or
    time           all           its session's start where a session is a sequence; from the next
                                 border on a session is of no split
    leave_one_out  a sequence    (always of the event)
    last_sessions  a user        its session's start where a session is a sequence
    users          a user        (always the same side)

Where a user is a sequence, what a session goes on with behind a border of the first kind, or of
last_sessions, is of no split either: where rules have named the sessions, their start is known here
and compared, else recsys.prepare.chunk sees it.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from recsys.config import Config, Prepare
from recsys.errors import DataError
from recsys.prepare import sessions
from recsys.prepare.cleaning import Clean
from recsys.prepare.events import input_columns
from recsys.prepare.instants import MICROSECONDS_PER_MINUTE, iso
from recsys.prepare.ordering import in_order, may_be_target
from recsys.prepare.sessions import SESSION_TIME
from recsys.prepare.split import (
    PART,
    TEST,
    TRAIN,
    VALID,
    SplitTimes,
    are_walked,
    split_times,
)
from recsys.prepare.walk import Walk
from recsys.prepare.work import Work
from recsys.schemas import EVENTS, NO_SPLIT

_NAMES = ("user_id", "session_id", "item_id", "event_type", "timestamp")
_BORDERS = ("valid_start", "test_start")


@dataclass(frozen=True)
class Parted:
    """Clean events, each with its split.

    Args:
        events: with PART; SESSION_TIME too where a session is a sequence, or rules have named them
        by_session: whether a session is a sequence of its own, or a user
        clock: the column of the time to which the borders are compared
        named: whether session_id is every event's session
        in_order: whether they are in_order() of the subject
        times: the borders, where they are those of all
        walk: to the same events in order of the subject, with PART; none where there is none
    """

    events: DataFrame
    by_session: bool
    named: bool
    in_order: bool
    times: SplitTimes | None
    walk: Walk | None = None
    clock: str = "timestamp"

    @property
    def subject(self) -> str:
        """The column of what a sequence is of."""
        return "session_id" if self.by_session else "user_id"

    @property
    def source(self) -> DataFrame | Walk:
        """The events, as they cost a pass in Python least; walked ones are in order."""
        return self.walk or self.events


def part(work: Work, cleaned: Clean) -> Parted:
    """Gives each event its split, and where that needs it its session.

    Raises:
        ConfigError: impossible borders
        DataError: nothing to train on
    """
    config, prepare = work.config, work.config.prepare
    by_session = sessions.is_by_session(config)
    found = _with_sessions(work, cleaned, by_session)
    events, ordered = found.events, found.in_order
    clock = SESSION_TIME if SESSION_TIME in events.columns else "timestamp"
    times = None
    if prepare.split == "time":
        times = _times(config, cleaned, events, by_session)
        # A session that runs on behind its split's end is of no split from there on.
        side, own = (by_times(F.col(name), times) for name in (clock, "timestamp"))
        events = events.withColumn(PART, F.when(side == own, side).otherwise(NO_SPLIT))
    elif prepare.split == "users":
        events = events.withColumn(PART, by_draw(F.col("user_id"), prepare, config.seed))
    else:
        key = "session_id" if by_session and prepare.split == "leave_one_out" else "user_id"
        if prepare.split == "leave_one_out":
            borders = last_targets(events, key, prepare.target_event_types)
            clock = "timestamp"
        else:
            clock = clock if by_session else "timestamp"
            borders = last_sessions(events, prepare, clock)
        if SESSION_TIME not in events.columns:
            events = events.withColumn(SESSION_TIME, F.lit(0).cast("bigint"))
        side = _by_borders(F.col(clock))
        parted = events.join(borders, on=key, how="left").withColumn(PART, side)
        events = work.stage(parted.drop(*_BORDERS), "parted", {**found.schema, PART: "int"})
        ordered = False
    walk = None
    if cleaned.walk is not None and times is not None and ordered and are_walked(prepare):
        walk = cleaned.walk.beginning_with(times.parting(clock))
    return Parted(events, by_session, found.named, ordered, times, walk, clock)


def _times(config: Config, cleaned: Clean, events: DataFrame, by_session: bool) -> SplitTimes:
    """The borders: those by which support was judged, where it was by train alone."""
    times = cleaned.times
    if times is None:
        return split_times(
            config.prepare, cleaned.first_event, cleaned.last_event,
            lambda before: _minutes(events, by_session, before),
        )  # fmt: skip
    if cleaned.first_event >= times.valid_start - times.embargo:
        raise DataError(
            "prepare.clean.min_item_events, min_user_events: expected to leave events before "
            f"{iso(times.valid_start - times.embargo)} to train on, found the first at "
            f"{iso(cleaned.first_event)}"
        )
    return times


@dataclass(frozen=True)
class _Sessions:
    """Events with what sessions say of them.

    Args:
        events: of the schema; without SESSION_TIME where nobody asks for it
        schema: of events with SESSION_TIME
        named: whether session_id is every event's session
        in_order: whether they are in_order() of the subject
    """

    events: DataFrame
    schema: dict[str, str]
    named: bool
    in_order: bool


def _with_sessions(work: Work, cleaned: Clean, by_session: bool) -> _Sessions:
    """Names sessions by the rules where there are any, and says when each one starts."""
    config = work.config
    priced = ("price",) if config.prepare.item_statistics else ()
    valued = ("value",) if config.prepare.weight_by_value else ()
    names = tuple(dict.fromkeys((*_NAMES, *input_columns(config), *priced, *valued)))
    schema = {**{name: EVENTS[name] for name in names}, SESSION_TIME: "bigint"}
    events, rules = cleaned.events, sessions.naming_rules(config)
    if cleaned.named:
        return _Sessions(events.select(*schema), schema, named=True, in_order=True)
    if rules is not None:
        if not cleaned.in_order:
            tasks, targets = work.tasks(cleaned.rows), config.prepare.target_event_types
            events = in_order(events, "user_id", tasks, config.seed, targets)
        # A user's sessions come one after another, so that they are in order as well.
        named_events = sessions.named(events.select(*names), rules)
        staged = work.stage_in_order(named_events, "sessions", schema)
        return _Sessions(staged, schema, named=True, in_order=True)
    named = config.events.columns.session_id is not None
    if by_session:
        if config.events.columns.user_id is not None:
            _require_one_user(events)
        of_session = Window.partitionBy("session_id")
        timed = events.select(*names, F.min("timestamp").over(of_session).alias(SESSION_TIME))
        return _Sessions(work.stage(timed, "sessions", schema), schema, named, in_order=False)
    return _Sessions(events.select(*names), schema, named, cleaned.in_order)


def _require_one_user(events: DataFrame) -> None:
    owners = events.groupBy("session_id").agg(
        F.min("user_id").alias("one"), F.max("user_id").alias("other")
    )
    shared = owners.where(F.col("one") != F.col("other")).orderBy("session_id").head(1)
    if shared:
        raise DataError(
            "events.columns.session_id: expected every session to be of one user, found "
            f"{shared[0].session_id!r} of {shared[0].one!r} and {shared[0].other!r}; "
            "events.sessions_of_users: true tells such sessions apart"
        )


def _minutes(events: DataFrame, by_session: bool, before: int | None) -> list[tuple[int, int]]:
    if by_session:
        events = events.groupBy("session_id").agg(F.min(SESSION_TIME).alias("timestamp"))
    if before is not None:
        events = events.where(F.col("timestamp") < before)
    minute = F.floor(F.col("timestamp") / MICROSECONDS_PER_MINUTE).alias("minute")
    table = events.groupBy(minute).count().toArrow()
    return sorted(zip(table["minute"].to_pylist(), table["count"].to_pylist(), strict=True))


def by_times(clock: Column, times: SplitTimes) -> Column:
    """PART by instants that are the same for all."""
    return (
        F.when(clock < times.valid_start - times.embargo, TRAIN)
        .when(clock < times.valid_start, NO_SPLIT)
        .when(clock < times.test_start - times.embargo, VALID)
        .when(clock < times.test_start, NO_SPLIT)
        .otherwise(TEST)
    )


def _by_borders(clock: Column) -> Column:
    """PART by the columns of _BORDERS, null where all is train."""
    return F.when(clock >= F.col("test_start"), TEST).when(
        clock >= F.col("valid_start"), VALID
    ).otherwise(TRAIN)  # fmt: skip


def by_draw(user: Column, prepare: Prepare, seed: int) -> Column:
    """PART of whole users, by a hash of user and seed."""
    draw = F.pmod(F.xxhash64(F.lit(seed), F.lit("split"), user), F.lit(1_000_000)) / 1_000_000
    test, valid = prepare.test_share or 0, prepare.valid_share or 0
    return F.when(draw < test, TEST).when(draw < test + valid, VALID).otherwise(TRAIN)


def last_targets(events: DataFrame, subject: str, types: tuple[str, ...]) -> DataFrame:
    """Borders before the last target of each sequence and the one before it.

    The first instant of a sequence is no target, as nothing is known before it. A sequence with
    fewer than two targets has no borders.

    Args:
        events: with the subject's column, item_id, event_type and timestamp
        subject: column of what a sequence is of
        types: that may be predicted; empty means all

    Returns:
        the subject, valid_start, test_start
    """
    targets = events.where(may_be_target(types))
    latest_first = Window.partitionBy(subject).orderBy(F.col("timestamp").desc())
    last = targets.select(subject, "timestamp", F.dense_rank().over(latest_first).alias("place"))
    borders = last.where(F.col("place") <= 2).groupBy(subject).agg(
        F.max(F.when(F.col("place") == 2, F.col("timestamp"))).alias("valid_start"),
        F.max("timestamp").alias("test_start"),
    )  # fmt: skip
    first = events.groupBy(subject).agg(F.min("timestamp").alias("first"))
    enough = borders.join(first, on=subject, how="inner").where(
        F.col("valid_start") > F.col("first")
    )
    return enough.select(subject, *_BORDERS)


def last_sessions(events: DataFrame, prepare: Prepare, clock: str = "timestamp") -> DataFrame:
    """Borders before the last sessions of each user; none where no session would be left to train.

    Args:
        events: with user_id, session_id and the clock
        prepare: says how many sessions test and valid take
        clock: the column of the time to which the borders are compared; a session starts with its
            least

    Returns:
        user_id, valid_start, test_start
    """
    test, held = prepare.test_sessions, prepare.test_sessions + prepare.valid_sessions
    starts = events.groupBy("user_id", "session_id").agg(F.min(clock).alias("start"))
    latest_first = Window.partitionBy("user_id").orderBy(F.col("start").desc(), "session_id")
    numbered = starts.withColumn("place", F.row_number().over(latest_first))
    borders = numbered.where(F.col("place") <= held + 1).groupBy("user_id").agg(
        F.max(F.when(F.col("place") == held, F.col("start"))).alias("valid_start"),
        F.max(F.when(F.col("place") == test, F.col("start"))).alias("test_start"),
        F.max("place").alias("sessions"),
    )  # fmt: skip
    return borders.where(F.col("sessions") > held).select("user_id", *_BORDERS)
