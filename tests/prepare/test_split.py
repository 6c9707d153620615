"""Where train ends and test begins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from recsys.config import Prepare
from recsys.errors import ConfigError, DataError
from recsys.prepare.instants import MICROSECONDS_PER_DAY as DAY
from recsys.prepare.instants import MICROSECONDS_PER_MINUTE as MINUTE
from recsys.prepare.instants import iso, micros
from recsys.prepare.split import SplitTimes, last_share, split_times


def none(before: int | None) -> list[tuple[int, int]]:
    raise AssertionError("minutes are counted for shares alone")


def test_as_given() -> None:
    prepare = Prepare(valid_start="1970-01-03", test_start="1970-01-04T12:00:00+12:00")
    assert split_times(prepare, 0, 9 * DAY, none) == SplitTimes(2 * DAY, 3 * DAY)


def test_counted_back_from_the_last_event() -> None:
    assert split_times(Prepare(valid_days=0.5, test_days=1), 0, 9 * DAY, none) == SplitTimes(
        7 * DAY + DAY // 2, 8 * DAY
    )
    given = Prepare(valid_days=2, test_start="1970-01-05")
    assert split_times(given, 0, 9 * DAY, none) == SplitTimes(2 * DAY, 4 * DAY)


def test_the_last_share_of_what_is_counted() -> None:
    def counts(before: int | None) -> list[tuple[int, int]]:
        return [(minute, 1) for minute in range(100 if before is None else before // MINUTE)]

    prepare = Prepare(test_share=0.2, valid_share=0.1)
    assert split_times(prepare, 0, 9 * DAY, counts) == SplitTimes(72 * MINUTE, 80 * MINUTE)
    dated = Prepare(test_start="1970-01-01T00:50Z", valid_share=0.1)
    assert split_times(dated, 0, 9 * DAY, counts) == SplitTimes(45 * MINUTE, 50 * MINUTE)
    assert last_share([(3, 1), (5, 7)], 0.5) == 5 * MINUTE, "at least the share"


def test_an_embargo_is_shorter_than_validation() -> None:
    prepare = Prepare(valid_days=2, test_days=2, embargo_days=0.5)
    assert split_times(prepare, 0, 9 * DAY, none) == SplitTimes(5 * DAY, 7 * DAY, DAY // 2)
    with pytest.raises(ConfigError, match=r"embargo_days: expected less than the 2 days"):
        split_times(replace(prepare, embargo_days=2), 0, 9 * DAY, none)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"split": "users"}, "prepare.valid_share: expected a share"),
        ({"split": "leave_one_out", "valid_share": 0.1}, "null unless split is time or users"),
        ({"split": "users", "valid_share": 0.5, "test_share": 0.5}, "less than all"),
        ({"valid_share": 0.1, "valid_start": "2020-01-01"}, "null beside prepare.valid_start"),
        ({"split": "leave_one_out", "embargo_days": 1}, "0 unless split is time"),
        ({"split": "last_sessions", "test_start": "2020-01-01"}, "prepare.split: expected time"),
        ({"session_day_boundary_hour": 24}, "an hour from 0 to below 24"),
    ],
)
def test_keys_that_contradict_each_other(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Prepare(**changes)


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(ConfigError, match=r"prepare\.valid_start: .*1970-01-02.*1970-01-03"):
        split_times(Prepare(valid_start="1970-01-03", test_start="1970-01-02"), 0, 9 * DAY, none)
    with pytest.raises(DataError, match=r"events before 1969.* found the first at 1970-01-01"):
        split_times(Prepare(valid_days=7, test_days=7), 0, 9 * DAY, none)
    with pytest.raises(ConfigError, match=r"prepare\.test_start: expected .*ISO 8601, found 'May'"):
        split_times(Prepare(test_start="May"), 0, 9 * DAY, none)


def test_instants_go_both_ways() -> None:
    assert iso(micros("key", "2023-11-14T22:13:20.000007Z")) == "2023-11-14T22:13:20.000007Z"
    assert iso(2**62) == f"{2**62} microseconds since the epoch"
