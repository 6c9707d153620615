"""The two instants that part train, valid and test, where the split is by time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from recsys.arrays import with_columns
from recsys.config import Prepare
from recsys.errors import ConfigError, DataError
from recsys.prepare import instants
from recsys.prepare.cutting import Ints
from recsys.prepare.instants import MICROSECONDS_PER_DAY, MICROSECONDS_PER_MINUTE
from recsys.schemas import NO_SPLIT, SPLITS

# The place of an event's split in SPLITS, or NO_SPLIT.
PART = "part"
TRAIN, VALID, TEST = range(len(SPLITS))

# Where nobody says how long validation and test are: of a log of weeks, and of a shorter one.
_MOST_DAYS, _PARTS = 7, 5

# (minute since the epoch, events or sessions of it), by rising minute.
Minutes = Sequence[tuple[int, int]]


def are_walked(prepare: Prepare) -> bool:
    """Whether passes in Python over the events in order see each one's split and weight at once."""
    return prepare.split == "time" and not prepare.weight_by_value


@dataclass(frozen=True)
class SplitTimes:
    """train is before valid_start, test from test_start on, valid between; microseconds.

    What lies less than the embargo before a border belongs to no split.
    """

    valid_start: int
    test_start: int
    embargo: int = 0

    def parts(self, clock: Ints, time: Ints) -> Ints:
        """The place in SPLITS of events, or NO_SPLIT, as parts.by_times() has it.

        Args:
            clock: the time that decides, of each event, or of its session's start
            time: of each event; one that lies in another split than its clock is of none
        """
        borders = (self.valid_start, self.test_start)
        ends = np.array([end for border in borders for end in (border - self.embargo, border)])
        ends = np.maximum.accumulate(ends)
        side, own = (
            np.array([TRAIN, NO_SPLIT, VALID, NO_SPLIT, TEST], np.int32)[
                np.searchsorted(ends, times, side="right")
            ]
            for times in (clock, time)
        )
        return np.where(side == own, side, NO_SPLIT).astype(np.int32)

    def parting(self, clock: str) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
        """A pass that adds PART, or replaces it.

        Args:
            clock: the column of the time that decides
        """

        def part(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                times = (batch.column(name).to_numpy() for name in (clock, "timestamp"))
                yield with_columns(batch, {PART: pa.array(self.parts(*times))})

        return part

    def __str__(self) -> str:
        valid, test = instants.iso(self.valid_start), instants.iso(self.test_start)
        words = f"train before {valid}, test from {test}, valid between"
        if not self.embargo:
            return words
        days = self.embargo / MICROSECONDS_PER_DAY
        return f"{words}, {days:g} days before each border in none"


def split_times(
    prepare: Prepare, first_event: int, last_event: int, minutes: Callable[[int | None], Minutes]
) -> SplitTimes:
    """The instants as configured, counted back from the last event, or by share.

    >>> days, five_days = Prepare(valid_days=1, test_days=2), 5 * MICROSECONDS_PER_DAY
    >>> split_times(days, 0, five_days, lambda before: [])
    SplitTimes(valid_start=172800000000, test_start=259200000000, embargo=0)
    >>> split_times(Prepare(), 0, five_days, lambda before: [])
    SplitTimes(valid_start=259200000000, test_start=345600000000, embargo=0)

    Args:
        prepare: the section of the configuration
        first_event: microseconds
        last_event: microseconds
        minutes: counts what is to be parted before an instant; called where a share is configured

    Raises:
        ConfigError: test does not start after valid
        DataError: no event is early enough for train
    """
    if prepare.test_start is not None:
        test_start = instants.micros("prepare.test_start", prepare.test_start)
    elif prepare.test_share is not None:
        test_start = last_share(minutes(None), prepare.test_share)
    else:
        test_start = last_event - _length(prepare.test_days, last_event - first_event)
    if prepare.valid_start is not None:
        valid_start = instants.micros("prepare.valid_start", prepare.valid_start)
    elif prepare.valid_share is not None:
        valid_start = last_share(minutes(test_start), prepare.valid_share)
    else:
        valid_start = test_start - _length(prepare.valid_days, last_event - first_event)
    if valid_start >= test_start:
        raise ConfigError(
            f"prepare.valid_start: expected an instant before the start of test, "
            f"{instants.iso(test_start)}, found {instants.iso(valid_start)}"
        )
    embargo = int(prepare.embargo_days * MICROSECONDS_PER_DAY)
    if embargo >= test_start - valid_start:
        days = (test_start - valid_start) / MICROSECONDS_PER_DAY
        raise ConfigError(
            f"prepare.embargo_days: expected less than the {days:g} days of validation, "
            f"found {prepare.embargo_days}"
        )
    if first_event >= valid_start - embargo:
        raise DataError(
            f"prepare.valid_start: expected events before {instants.iso(valid_start - embargo)} "
            f"to train on, found the first at {instants.iso(first_event)}"
        )
    return SplitTimes(valid_start, test_start, embargo)


def _length(days: float | None, log: int) -> int:
    """Of validation, or of test, where a log takes so long; microseconds."""
    if days is not None:
        return int(days * MICROSECONDS_PER_DAY)
    return max(1, min(_MOST_DAYS * MICROSECONDS_PER_DAY, log // _PARTS))


def last_share(minutes: Minutes, share: float) -> int:
    """The latest full minute from which on there is at least this share of all; microseconds.

    >>> last_share([(0, 6), (1, 2), (5, 2)], 0.3)
    60000000
    """
    left = share * sum(count for _, count in minutes)
    for minute, count in reversed(minutes):
        left -= count
        if left <= 0:
            return minute * MICROSECONDS_PER_MINUTE
    return 0
