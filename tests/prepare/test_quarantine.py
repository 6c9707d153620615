"""Too many faults: the line that is printed."""

from __future__ import annotations

import json

import pytest

from recsys.config import EventColumns, Events
from recsys.errors import DataError
from recsys.prepare.quarantine import require_few

SECONDS = Events(
    path=("log.csv",),
    columns=EventColumns(timestamp="when", price="paid"),
    timestamp_unit="s",
    max_fault_share=0.1,
)


def line(events: Events, faults: dict[str, int], values: list[str]) -> str:
    examples = [json.dumps({events.columns.timestamp: value}) for value in values]
    with pytest.raises(DataError) as caught:
        require_few(100, faults, examples, events)
    return str(caught.value)


def test_as_many_as_allowed_are_no_error() -> None:
    require_few(100, {"item_id: null": 6, "price: negative": 4}, [], SECONDS)
    require_few(100, {}, [], Events(max_fault_share=0.0))


def test_the_line_names_column_reason_count_share_and_limit() -> None:
    assert line(SECONDS, {"price: negative": 7, "item_id: null": 4}, []) == (
        "log.csv: column 'paid': expected at most 10.00% of rows at fault "
        "(events.max_fault_share), found 11 of 100 (11.00%), 7 of them 'price: negative'"
    )


@pytest.mark.parametrize(
    ("unit", "values", "hint"),
    [
        ("s", ["1700000000000"], "look like milliseconds (events.timestamp_unit: ms)"),
        ("s", ["1700000000000000"], "look like microseconds (events.timestamp_unit: us)"),
        ("ms", ["1700000000000000000"], "look like nanoseconds (events.timestamp_unit: ns)"),
        ("ms", ["1700000000"], "look like seconds (events.timestamp_unit: s)"),
        ("text", ["1700000000"], "look like seconds (events.timestamp_unit: s)"),
        ("s", ["2023-11-14 10:00:00"], "look like text (events.timestamp_unit: text)"),
        ("s", ["soon", "later"], "such as soon"),
    ],
)
def test_times_in_another_unit_are_recognized(unit: str, values: list[str], hint: str) -> None:
    events = Events(path=("log.csv",), columns=SECONDS.columns, timestamp_unit=unit)  # type: ignore[arg-type]
    assert hint in line(events, {"timestamp: not a time": 60}, values)
