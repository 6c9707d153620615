"""The two instants that part train, valid and test."""

from __future__ import annotations

from dataclasses import dataclass

from recsys.config import Prepare
from recsys.errors import ConfigError, DataError
from recsys.prepare import instants
from recsys.prepare.instants import MICROSECONDS_PER_DAY


@dataclass(frozen=True)
class SplitTimes:
    """train is before valid_start, test from test_start on, valid between; microseconds."""

    valid_start: int
    test_start: int

    def __str__(self) -> str:
        valid, test = instants.iso(self.valid_start), instants.iso(self.test_start)
        return f"train before {valid}, test from {test}, valid between"


def split_times(prepare: Prepare, first_event: int, last_event: int) -> SplitTimes:
    """The instants as configured, or counted back from the last event.

    >>> split_times(Prepare(valid_days=1, test_days=2), 0, 5 * MICROSECONDS_PER_DAY)
    SplitTimes(valid_start=172800000000, test_start=259200000000)

    Raises:
        ConfigError: test does not start after valid
        DataError: no event is early enough for train
    """
    if prepare.test_start is None:
        test_start = last_event - int(prepare.test_days * MICROSECONDS_PER_DAY)
    else:
        test_start = instants.micros("prepare.test_start", prepare.test_start)
    if prepare.valid_start is None:
        valid_start = test_start - int(prepare.valid_days * MICROSECONDS_PER_DAY)
    else:
        valid_start = instants.micros("prepare.valid_start", prepare.valid_start)
    if valid_start >= test_start:
        raise ConfigError(
            f"prepare.valid_start: expected an instant before the start of test, "
            f"{instants.iso(test_start)}, found {instants.iso(valid_start)}"
        )
    if first_event >= valid_start:
        raise DataError(
            f"prepare.valid_start: expected events before {instants.iso(valid_start)} to train on, "
            f"found the first at {instants.iso(first_event)}"
        )
    return SplitTimes(valid_start, test_start)
