"""Events that say nothing about taste, found in one pass over each user's events in time.

Duplicates, repeats, and what tells a bot from a person. A user may have more events than fit
anywhere: from one batch to the next go the events of the last repeat_seconds and a few numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.config import Clean
from recsys.prepare.cutting import Bools, Ints, starts
from recsys.prepare.instants import MICROSECONDS_PER_DAY, MICROSECONDS_PER_SECOND

VIEW = "view"
_PERIODS = {MICROSECONDS_PER_DAY: "events a day", 60 * MICROSECONDS_PER_SECOND: "events a minute"}

# What the marks count besides bots' events, which stand under the name of the threshold.
DUPLICATES, REPEATS, REPEATS_OF_BOTS = "duplicates", "repeats", "repeats of bots"
BOT_PREFIX = "bots by "
# Of the events that stay, without those of bots: microseconds in place of a count.
FIRST, LAST = "first event", "last event"

# What was counted, of a user or of all: what, the user, how many.
Mark = tuple[str, str | None, int]
_NEVER = (2**62, -(2**62))  # the first and the last of no events


@dataclass
class _User:
    """What is known of the user whose events go on in the next batch."""

    events: int
    views: int
    repeats: int
    first: int = _NEVER[0]  # of the events that stay
    last_kept: int = _NEVER[1]
    most: dict[int, int] = field(default_factory=dict)  # length of a period to its most events
    last: dict[int, tuple[int, int]] = field(default_factory=dict)  # the last one, and its events


class Scan:
    """Feed it batches of EVENTS in order, then finish it; it gives events and marks.

    A batch is sorted by user_id and timestamp, and by all other columns besides, so that equal
    events are neighbours. What it lacks of EVENTS is null in all of them.

    Args:
        clean: what is looked for
    """

    def __init__(self, clean: Clean) -> None:
        self._clean = clean
        self._marks: list[Mark] = []
        self._first, self._last = _NEVER
        self._carried: pa.Table | None = None
        self._user = _User(0, 0, 0)
        self._duplicates = self._repeats = 0
        limits = (clean.bot_events_per_day, clean.bot_events_per_minute)
        self._limits = {
            period: most for period, most in zip(_PERIODS, limits, strict=True) if most is not None
        }

    @property
    def carried_events(self) -> int:
        """Events that are kept for the next batch."""
        return 0 if self._carried is None else len(self._carried)

    def feed(self, batch: pa.RecordBatch) -> pa.Table:
        """The events that stay, unless their user is marked in the end."""
        new = pa.Table.from_batches([batch]).combine_chunks()
        if not len(new):
            return new
        old = 0 if self._carried is None else len(self._carried)
        both = new if self._carried is None else pa.concat_tables([self._carried, new])
        both = both.combine_chunks()
        user_change = changes(both, "user_id")
        time = _numpy(both, "timestamp")
        fresh = np.arange(len(both)) >= old
        duplicate = self._equal(both, user_change) & fresh
        repeat = self._repeat(both, user_change, time) & fresh & ~duplicate
        self._duplicates += int(duplicate.sum())
        self._repeats += int(repeat.sum())
        self._judge(both, user_change, time, fresh & ~duplicate, repeat)
        self._carried = both.slice(self._first_to_carry(user_change, time))
        return both.filter(pa.array(fresh & ~duplicate & ~repeat))

    def finish(self) -> list[Mark]:
        """All that was counted."""
        if self._carried is not None:
            self._mark_last(self._carried["user_id"])
        marks = [*self._marks, (DUPLICATES, None, self._duplicates), (REPEATS, None, self._repeats)]
        if self._first <= self._last:
            marks += [(FIRST, None, self._first), (LAST, None, self._last)]
        return marks

    def _equal(self, both: pa.Table, user_change: Bools) -> Bools:
        """Whether an event equals the one before it."""
        equal = ~user_change
        if not self._clean.duplicates:
            return np.zeros_like(equal)
        for name in both.column_names:
            if name != "user_id" and both[name].null_count < len(both) and equal.any():
                equal &= ~changes(both, name)
        return equal

    def _repeat(self, both: pa.Table, user_change: Bools, time: Ints) -> Bools:
        """Whether the user did the same to the item (or asked the same) repeat_seconds before."""
        repeat = np.zeros(len(time), dtype=np.bool_)
        if self._clean.repeat_seconds is None:
            return repeat
        key = np.cumsum(user_change)
        names = [name for name in ("item_id", "event_type", "query") if name in both.column_names]
        for name in names:
            encoded = both[name].chunk(0).dictionary_encode(null_encoding="encode")
            codes = encoded.indices.to_numpy(zero_copy_only=False)
            key = key * len(encoded.dictionary) + codes
        order = np.argsort(key, kind="stable")
        close = np.diff(time[order]) <= self._clean.repeat_seconds * MICROSECONDS_PER_SECOND
        repeat[order[1:]] = close & (np.diff(key[order]) == 0)
        return repeat

    def _judge(
        self, both: pa.Table, user_change: Bools, time: Ints, counted: Bools, repeat: Bools
    ) -> None:
        """Counts the batch into its users; marks all but the last one, who may go on."""
        first, former = np.flatnonzero(user_change), self._user
        view = pc.equal(both["event_type"], VIEW).combine_chunks().to_numpy(zero_copy_only=False)
        parts = (counted, counted & view, repeat)
        sums = [np.add.reduceat(part.astype(np.int64), first) for part in parts]
        for part, before in zip(sums, (former.events, former.views, former.repeats), strict=True):
            part[0] += before
        stays = counted & ~repeat
        begin = np.minimum.reduceat(np.where(stays, time, _NEVER[0]), first)
        end = np.maximum.reduceat(np.where(stays, time, _NEVER[1]), first)
        begin[0], end[0] = min(begin[0], former.first), max(end[0], former.last_kept)
        most, last = {}, {}
        for length in self._limits:
            most[length], last[length] = _most_in_period(
                time // length, user_change, counted, former.last.get(length)
            )
            most[length][0] = max(most[length][0], former.most.get(length, 0))
        names = both["user_id"].take(pa.array(first[:-1]))
        self._mark(names, sums, (begin, end), most, slice(None, -1))
        events, views, repeats = (int(part[-1]) for part in sums)
        self._user = _User(
            events,
            views,
            repeats,
            int(begin[-1]),
            int(end[-1]),
            {length: int(found[-1]) for length, found in most.items()},
            last,
        )

    def _mark_last(self, name: pa.ChunkedArray) -> None:
        user = self._user
        sums = [np.array([number]) for number in (user.events, user.views, user.repeats)]
        times = (np.array([user.first]), np.array([user.last_kept]))
        most = {length: np.array([found]) for length, found in user.most.items()}
        self._mark(name, sums, times, most, slice(None))

    def _mark(
        self,
        names: pa.ChunkedArray,
        sums: list[Ints],
        times: tuple[Ints, Ints],
        most: dict[int, Ints],
        users: slice,
    ) -> None:
        """Two marks for each of the users that is a bot; the first and last instant of others."""
        clean = self._clean
        events, views, repeats = (part[users] for part in sums)
        reasons: list[tuple[str, Bools]] = []
        for length, words in _PERIODS.items():
            if length in self._limits:
                reasons.append((words, most[length][users] > self._limits[length]))
        if clean.bot_view_share is not None:
            judged = events >= clean.bot_share_events
            reasons.append(("share of views", judged & (views > clean.bot_view_share * events)))
        known = np.zeros(len(events), dtype=np.bool_)
        for words, is_bot in reasons:
            for place in np.flatnonzero(is_bot & ~known).tolist():
                name = names[place].as_py()
                self._marks.append((BOT_PREFIX + words, name, int(events[place])))
                self._marks.append((REPEATS_OF_BOTS, name, int(repeats[place])))
            known |= is_bot
        begin, end = (part[users][~known] for part in times)
        self._first = min(self._first, int(begin.min(initial=_NEVER[0])))
        self._last = max(self._last, int(end.max(initial=_NEVER[1])))

    def _first_to_carry(self, user_change: Bools, time: Ints) -> int:
        """From here on events may have repeats in the next batch; the last one always goes on."""
        last = len(time) - 1
        window = (self._clean.repeat_seconds or 0) * MICROSECONDS_PER_SECOND
        begin = int(np.searchsorted(time[int(starts(user_change)[-1]) :], time[-1] - window))
        return min(last, int(starts(user_change)[-1]) + begin)


def _most_in_period(
    period: Ints, user_change: Bools, counted: Bools, before: tuple[int, int] | None
) -> tuple[Ints, tuple[int, int]]:
    """Most events of each user in one period; and the last period with its events so far.

    Args:
        period: number of each event's, not falling within a user
        user_change: first events of users
        counted: whether an event counts
        before: the first user's last period, of which an event is here, and what it had
    """
    change = user_change | (np.diff(period, prepend=period[0]) != 0)
    first = np.flatnonzero(change)
    counts = np.add.reduceat(counted.astype(np.int64), first)
    users = np.flatnonzero(user_change[first])
    if before is not None:
        own = period[first[: users[1] if len(users) > 1 else len(first)]]
        counts[np.searchsorted(own, before[0])] += before[1]
    return np.maximum.reduceat(counts, users), (int(period[-1]), int(counts[-1]))


def _numpy(table: pa.Table, name: str) -> Ints:
    return np.asarray(table[name].chunk(0).to_numpy(zero_copy_only=False))


def changes(table: pa.Table, name: str) -> Bools:
    """Whether a value of the one chunk differs from that before it; nulls are equal."""
    column = table[name].chunk(0)
    later, earlier = column.slice(1), column.slice(0, len(column) - 1)
    differs = pc.not_equal(later, earlier)
    if column.null_count:
        one = pc.not_equal(pc.is_null(later), pc.is_null(earlier))
        differs = pc.coalesce(differs, one)
    result = np.ones(len(column), dtype=np.bool_)
    result[1:] = differs.to_numpy(zero_copy_only=False)
    return result
