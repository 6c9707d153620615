"""Where train ends and test begins."""

from __future__ import annotations

import pytest

from recsys.config import Prepare
from recsys.errors import ConfigError, DataError
from recsys.prepare.instants import MICROSECONDS_PER_DAY as DAY
from recsys.prepare.instants import iso, micros
from recsys.prepare.split import SplitTimes, split_times


def test_as_given() -> None:
    prepare = Prepare(valid_start="1970-01-03", test_start="1970-01-04T12:00:00+12:00")
    assert split_times(prepare, 0, 9 * DAY) == SplitTimes(2 * DAY, 3 * DAY)


def test_counted_back_from_the_last_event() -> None:
    assert split_times(Prepare(valid_days=0.5, test_days=1), 0, 9 * DAY) == SplitTimes(
        7 * DAY + DAY // 2, 8 * DAY
    )
    given = Prepare(valid_days=2, test_start="1970-01-05")
    assert split_times(given, 0, 9 * DAY) == SplitTimes(2 * DAY, 4 * DAY)


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(ConfigError, match=r"prepare\.valid_start: .*1970-01-02.*1970-01-03"):
        split_times(Prepare(valid_start="1970-01-03", test_start="1970-01-02"), 0, 9 * DAY)
    with pytest.raises(DataError, match=r"events before 1969.* found the first at 1970-01-01"):
        split_times(Prepare(valid_days=7, test_days=7), 0, 9 * DAY)
    with pytest.raises(ConfigError, match=r"prepare\.test_start: expected .*ISO 8601, found 'May'"):
        split_times(Prepare(test_start="May"), 0, 9 * DAY)


def test_instants_go_both_ways() -> None:
    assert iso(micros("key", "2023-11-14T22:13:20.000007Z")) == "2023-11-14T22:13:20.000007Z"
    assert iso(2**62) == f"{2**62} microseconds since the epoch"
