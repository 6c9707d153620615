"""Which events open a session, and what a session is called.

A session is as given in the log, or ends with a pause, at a day's border, or when it has many
events. Its id is then "<user_id>-<ordinal>", so that it depends on no other user:

    user_id  timestamp  (gap 30 minutes)  session_id
    a        09:00                        a-0
    a        09:30                        a-0
    a        10:01                        a-1
    b        10:01                        b-0

Events at one instant are of one session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pandas.util import hash_array
from pyspark.sql import DataFrame

from recsys.config import Config, Prepare
from recsys.prepare.cutting import Bools, Ints, changes, starts
from recsys.prepare.instants import MICROSECONDS_PER_DAY, MICROSECONDS_PER_MINUTE
from recsys.schemas import ddl

# The instant at which an event's session starts, microseconds.
SESSION_TIME = "session_time"


@dataclass(frozen=True)
class Rules:
    """When a session ends.

    Args:
        gap: a longer pause ends it, microseconds
        day_start: when a day starts after midnight UTC, which ends it; microseconds
        max_events: it ends with the instant at which it has so many
    """

    gap: int
    day_start: int | None = None
    max_events: int | None = None

    @classmethod
    def of(cls, prepare: Prepare) -> Rules:
        """As configured."""
        hour = prepare.session_day_boundary_hour
        return cls(
            prepare.session_gap_minutes * MICROSECONDS_PER_MINUTE,
            None if hour is None else int(hour * 60) * MICROSECONDS_PER_MINUTE,
            prepare.session_max_events,
        )

    def ended(self, previous: Ints, time: Ints) -> Bools:
        """Whether pause or day end a session between two instants; max_events is not looked at."""
        result = time - previous > self.gap
        if self.day_start is not None:
            day = (np.stack([previous, time]) - self.day_start) // MICROSECONDS_PER_DAY
            result |= day[0] != day[1]
        return np.asarray(result, dtype=np.bool_)


class Namer:
    """Names the sessions of sorted events that arrive in batches; carries the last one over."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._user: str | None = None
        self._time = self._start = self._number = self._events = 0

    def feed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with session_id and SESSION_TIME.

        Args:
            batch: with user_id and timestamp, sorted by both; session_id is replaced
        """
        if not len(batch):
            return self._with(batch, batch.column("user_id"), np.zeros(0, dtype=np.int64))
        users = batch.column("user_id")
        time = batch.column("timestamp").to_numpy(zero_copy_only=False)
        user_change = changes(users)
        user_change[0] = users[0].as_py() != self._user
        previous = np.append(self._time, time[:-1])
        opens = user_change | self._rules.ended(previous, time)
        if self._rules.max_events is not None:
            self._close_full(opens, time != previous)
        running = np.cumsum(opens)
        first = starts(user_change | (np.arange(len(time)) == 0))
        number = running - running[first]
        goes_on = ~np.maximum.accumulate(user_change)
        number[goes_on] = self._number + running[goes_on]
        start = time[starts(opens)]
        start[running == 0] = self._start
        names = pc.binary_join_element_wise(users, pa.array(number).cast(pa.string()), "-")
        self._events = int((running == running[-1]).sum()) + (running[-1] == 0) * self._events
        self._user, self._time = users[-1].as_py(), int(time[-1])
        self._start, self._number = int(start[-1]), int(number[-1])
        return self._with(batch, names, start)

    def _close_full(self, opens: Bools, new_step: Bools) -> None:
        """Marks in opens where sessions begin because the one before has max_events."""
        most, steps = self._rules.max_events or 0, np.flatnonzero(new_step | opens)
        begins = np.append(np.flatnonzero(opens), len(opens))
        for begin, end in zip(np.append(-self._events, begins[:-1]), begins, strict=True):
            place = begin
            while place + most < end:
                after = int(np.searchsorted(steps, place + most))
                if after == len(steps) or steps[after] >= end:
                    break
                place = steps[after]
                opens[place] = True

    @staticmethod
    def _with(batch: pa.RecordBatch, names: pa.Array, start: Ints) -> pa.RecordBatch:
        added = {"session_id": names, SESSION_TIME: pa.array(start)}
        kept = {name: batch.column(name) for name in batch.schema.names if name not in added}
        return pa.RecordBatch.from_pydict({**kept, **added})


def is_by_session(config: Config) -> bool:
    """Whether a session is a sequence of its own."""
    return config.prepare.sequence_unit == "session" or config.events.columns.user_id is None


def are_named_by_log(config: Config) -> bool:
    """Whether sequences are of sessions that the log names, and that users have."""
    columns = config.events.columns
    named = columns.session_id is not None and columns.user_id is not None
    return named and is_by_session(config)


def naming_rules(config: Config) -> Rules | None:
    """The rules by which sessions get names; none where the log names them or nobody asks.

    Where support drops events, too: a session must not end where another user's events, or their
    lack, made an item rare.
    """
    prepare = config.prepare
    asked = prepare.split == "last_sessions" or prepare.session_max_events is not None
    asked = asked or prepare.clean.asks_support
    if config.events.columns.session_id is not None or not (asked or is_by_session(config)):
        return None
    return Rules.of(prepare)


def naming(rules: Rules) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """What named() does with the batches of a partition."""

    def name(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        namer = Namer(rules)
        for batch in batches:
            yield namer.feed(batch)

    return name


def named_schema(schema: Mapping[str, str]) -> dict[str, str]:
    """Of what naming() gives for batches of a schema, in the order of its columns."""
    others = {name: kind for name, kind in schema.items() if name != "session_id"}
    return {**others, "session_id": "string", SESSION_TIME: "bigint"}


def named(events: DataFrame, rules: Rules) -> DataFrame:
    """Events with session_id and SESSION_TIME by the rules, in the order in which they were.

    Args:
        events: with user_id and timestamp, in order of both in each partition
        rules: when a session ends
    """
    schema = named_schema(dict(events.dtypes))
    return events.drop("session_id").mapInArrow(naming(rules), ddl(schema))


@dataclass(frozen=True)
class Seen:
    """Named sessions of a user that opened before, and may go on: 16 bytes each.

    Args:
        number: of numbers(), rising
        split: in which each of them opened
    """

    number: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    split: Ints = field(default_factory=lambda: np.zeros(0, np.int64))

    def places(self, number: Ints) -> Ints:
        """Where these sessions stand here; -1 where they do not."""
        if not len(self.number):
            return np.full(len(number), -1)
        place = np.minimum(np.searchsorted(self.number, number), len(self.number) - 1)
        return np.where(self.number[place] == number, place, -1)

    def and_then(self, number: Ints, split: Ints) -> Seen:
        """With sessions that came later; of one that comes again the first split counts."""
        together = np.concatenate([self.number, number])
        found, first = np.unique(together, return_index=True)
        return Seen(found, np.concatenate([self.split, split])[first])

    def only(self, number: np.int64) -> Seen:
        """Without all but this one of them."""
        place = int(np.searchsorted(self.number, number))
        return Seen(self.number[place : place + 1], self.split[place : place + 1])


def numbers(session_id: pa.Array) -> Ints:
    """A number for each session's name, the same in every batch."""
    encoded = session_id.dictionary_encode()
    names = np.array(encoded.dictionary.to_pylist(), dtype=object)
    hashes = hash_array(names, categorize=False).view(np.int64)
    return np.asarray(hashes[encoded.indices.to_numpy(zero_copy_only=False)])


def first_events(number: Ints, user: Ints) -> Ints:
    """For every event the first one of its session, which has a name, and user.

    Args:
        number: of every event's session, in time order within a user
        user: number of the event's user here
    """
    _, code = np.unique(number, return_inverse=True)
    key = user * (int(code.max(initial=0)) + 1) + code
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    return np.asarray(first[inverse], dtype=np.int64)


def opened(number: Ints, user: Ints, step: Ints, seen: Seen) -> Bools:
    """Whether an event belongs to the first step of a session that has a name.

    Sessions of one user may interleave (two devices): only the first step of each counts.

    Args:
        number: of every event's session, in time order within a user
        user: number of the event's user here, not falling
        step: number of the event's step here, not falling
        seen: sessions of user 0 that opened before these events
    """
    opens = step == step[first_events(number, user)]
    is_known = (user == 0) & (seen.places(number) >= 0)
    return np.asarray(opens & ~is_known, dtype=np.bool_)
