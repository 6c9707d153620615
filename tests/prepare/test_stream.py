"""Rows out of sorted events: by hand, and against plain Python whatever the batches."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, cast

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.prepare.cutting import Limits
from recsys.prepare.purchases import Purchases
from recsys.prepare.rows import EARLIER, HISTORY, Cutting
from recsys.prepare.sessions import Rules
from recsys.prepare.stream import RowStream
from recsys.schemas import NO_SPLIT
from tests.prepare.reference import MICROS, Event, rows

MINUTE = 60 * MICROS
GAP = Rules(30 * MINUTE)


def cutting(
    length: int = 8,
    target_events: int = 4,
    sessions: Rules | None = GAP,
    by_session: bool = False,
    purchases: Purchases | None = None,
) -> Cutting:
    return Cutting(Limits(length, target_events), sessions, by_session, purchases)


def parted(events: Iterable[Event], *borders: int) -> list[Event]:
    """The events with their split; the borders are instants."""
    return [replace(e, part=sum(e.time >= border for border in borders)) for e in events]


def streamed(
    events: Iterable[Event], rules: Cutting, batch_events: int = 1000
) -> list[dict[str, object]]:
    in_order = sorted(events, key=lambda event: event.key)
    columns = {
        "user_id": pa.array([e.user for e in in_order], pa.string()),
        "timestamp": pa.array([e.time for e in in_order], pa.int64()),
        "order": pa.array([e.order for e in in_order], pa.int64()),
        "item": pa.array([e.item for e in in_order], pa.int32()),
        "event_type": pa.array([e.kind for e in in_order], pa.int32()),
        "is_target": pa.array([e.wanted for e in in_order], pa.bool_()),
        "part": pa.array([e.part for e in in_order], pa.int32()),
    }
    columns |= {name: pa.array([e.item + 1 for e in in_order]) for name in rules.inputs}
    if rules.sessions is None and not rules.by_session:
        columns["session_id"] = pa.array([e.session for e in in_order], pa.string())
    batch = pa.RecordBatch.from_pydict(columns)
    stream, found = RowStream(rules), []
    for start in range(0, len(in_order), batch_events):
        found += stream.feed(batch.slice(start, batch_events)).to_pylist()
    return joined(found + stream.finish().to_pylist())


def joined(found: list[dict[str, object]]) -> list[dict[str, object]]:
    """The rows, with the events that no history has room for in one of each user."""
    result = [row for row in found if row["kind"] != EARLIER]
    earlier: dict[str, list[tuple]] = {}
    names = ("item", "event_type", "gap_seconds", "session_start", "timestamp", "split")
    for row in cast(list[dict[str, Any]], [row for row in found if row["kind"] == EARLIER]):
        events = zip(*(row[name] for name in names), strict=True)
        numbers = [row["first_step"] + step for step in row["step"]]
        own = earlier.setdefault(row["user_id"], [])
        own += [(number, *event) for number, event in zip(numbers, events, strict=True)]
        assert not any(row["target"])
        assert (row["length"], row["steps"]) == (len(numbers), len(set(numbers)))
    result += [
        {"kind": EARLIER, "sequence_id": user, "events": sorted(events)}
        for user, events in earlier.items()
    ]
    return result


def one(found: list[dict[str, object]], name: str) -> dict[str, object]:
    (row,) = [row for row in found if row["sequence_id"] == name and row["kind"] != EARLIER]
    return row


def in_any_order(found: list[dict[str, object]]) -> list[dict[str, object]]:
    return sorted(found, key=lambda row: (str(row["kind"]), str(row["sequence_id"])))


def test_a_basket_is_asked_for_from_all_baskets_before() -> None:
    baskets = [
        Event("ann", 1 * MINUTE, 1, item=7), Event("ann", 1 * MINUTE, 2, item=3),
        Event("ann", 90 * MINUTE, 3, item=9),
        Event("ann", 91 * MINUTE, 4, item=3), Event("ann", 91 * MINUTE, 5, item=8),
    ]  # fmt: skip
    found = streamed(baskets, cutting())
    row = one(found, "ann#1")
    assert row["kind"] == "train"
    assert row["item"] == [7, 3, 9, 3, 8]
    assert row["step"] == [0, 0, 1, 2, 2]
    assert row["gap_seconds"] == [0, 0, 89 * 60, 60, 60]
    assert row["session_start"] == [1, 1, 1, 0, 0]
    assert row["timestamp"] == [60, 60, 5400, 5460, 5460]
    assert row["target"] == [0, 0, 1, 1, 1]
    assert len(found) == 2
    assert one(found, "ann")["kind"] == HISTORY
    assert one(found, "ann")["item"] == [7, 3, 9, 3, 8]


def test_inputs_are_aligned_with_the_items() -> None:
    events = [Event("ann", time * MINUTE, time, item=time + 2) for time in range(30)]
    found = streamed(events, replace(cutting(), inputs=("platform",)), batch_events=7)
    for row in found:
        if row["kind"] != EARLIER:
            assert row["platform"] == [item + 1 for item in row["item"]]
    plain = [{**row} for row in found]
    for row in plain:
        row.pop("platform", None)
    assert plain == streamed(events, cutting(), batch_events=7)


def test_a_line_that_repeats_an_item_is_one_target() -> None:
    lines = [
        Event("ann", 0, 1, item=7),
        Event("ann", MINUTE, 5, item=3),
        Event("ann", MINUTE, 5, item=3),
        Event("ann", MINUTE, 6, item=1),
        Event("ann", MINUTE, 7, item=1),
    ]
    row = one(streamed(lines, cutting()), "ann#1")
    assert row["item"] == [7, 3, 3, 1, 1]
    assert row["target"] == [0, 1, 0, 1, 1], "two unknown items are two targets"


def test_the_first_instant_is_never_asked_for() -> None:
    found = streamed([Event("ann", 5, 1), Event("ann", 5, 2), Event("bob", 5, 3)], cutting())
    assert [row["kind"] for row in found] == [HISTORY, HISTORY]


def test_only_some_types_are_asked_for_and_the_others_are_input() -> None:
    events = [
        Event("ann", 0, 1, kind=2, wanted=False),
        Event("ann", 1 * MICROS, 2, kind=2, wanted=False),
        Event("ann", 2 * MICROS, 3, kind=3, wanted=True),
        Event("ann", 3 * MICROS, 4, kind=2, wanted=False),
    ]
    row = one(streamed(events, cutting()), "ann#2")
    assert row["event_type"] == [2, 2, 3], "what follows the last target says nothing about it"
    assert row["target"] == [0, 0, 1]


def test_an_item_seen_and_bought_at_one_instant_is_asked_for() -> None:
    events = [
        Event("ann", 0, 1),
        Event("ann", MINUTE, 5, item=3, kind=2, wanted=False),
        Event("ann", MINUTE, 5, item=3, kind=3, wanted=True),
    ]
    row = one(streamed(events, cutting()), "ann#1")
    assert row["event_type"] == [2, 3, 2]
    assert row["target"] == [0, 1, 0]


def test_targets_of_a_row_are_few_and_every_step_is_asked_for_once() -> None:
    found = streamed([Event("ann", i * MICROS, i, item=i + 2) for i in range(11)], cutting(8, 4))
    blocks = [one(found, name) for name in ("ann#1", "ann#5", "ann#9")]
    assert [row["item"] for row in blocks] == [
        [2, 3, 4, 5, 6], [3, 4, 5, 6, 7, 8, 9, 10], [5, 6, 7, 8, 9, 10, 11, 12]
    ]  # fmt: skip
    assert [sum(row["target"]) for row in blocks] == [4, 4, 2]  # type: ignore[call-overload]
    assert len(found) == 5
    (before,) = [row for row in found if row["kind"] == EARLIER]
    assert [event[:2] for event in before["events"]] == [(0, 2), (1, 3), (2, 4)]
    assert one(found, "ann")["item"] == [5, 6, 7, 8, 9, 10, 11, 12]
    assert one(found, "ann")["first_step"] == 3


def test_rows_hold_whole_steps() -> None:
    sizes = [3, 3, 2, 3]
    events = [
        Event("ann", t * MICROS, 10 * t + i) for t, size in enumerate(sizes) for i in range(size)
    ]
    found = streamed(events, cutting(8, 4))
    assert one(found, "ann#1")["step"] == [0, 0, 0, 1, 1, 1]
    assert one(found, "ann#2")["step"] == [0, 0, 0, 1, 1, 1, 2, 2], "not also the next 3: 5 targets"
    assert one(found, "ann#3")["step"] == [0, 0, 0, 1, 1, 2, 2, 2]


def test_the_step_before_always_fits() -> None:
    sizes = [4, 1, 1, 1, 1, 1]
    events = [
        Event("ann", t * MICROS, 10 * t + i) for t, size in enumerate(sizes) for i in range(size)
    ]
    row = one(streamed(events, cutting(8, 7)), "ann#1")
    assert row["target"] == [0, 0, 0, 0, 1, 1, 1, 1]


def test_a_step_too_large_keeps_its_first_events_and_counts_the_others() -> None:
    events = [Event("ann", 0, i) for i in range(3)]
    events += [Event("ann", MINUTE, i, item=i + 2) for i in range(9)]
    for batch_events in (1, 4, 100):
        found = streamed(events, cutting(8, 7), batch_events)
        assert one(found, "ann#1")["item"] == [2, 2, 2, 2, 3, 4, 5]
        assert one(found, "ann")["cut_events"] == 5


def test_a_step_too_large_keeps_what_may_be_asked_for() -> None:
    events = [Event("ann", 0, 0, item=2)]
    events += [Event("ann", MINUTE, i, item=i + 2, wanted=i in (6, 7)) for i in range(9)]
    events.insert(8, Event("ann", MINUTE, 6, item=8, kind=3, wanted=False))  # of the same item
    for batch_events in (1, 3, 4, 100):
        found = streamed(events, cutting(8, 7), batch_events)
        assert one(found, "ann#1")["item"] == [2, 2, 3, 8, 9]
        assert one(found, "ann#1")["target"] == [0, 0, 0, 1, 1]
        assert one(found, "ann")["cut_events"] == 6


def test_splits_take_the_steps_of_their_time_and_see_what_was_before() -> None:
    events = [Event("ann", i * MICROS, i, item=i + 2) for i in range(7)]
    found = streamed(parted(events, 3 * MICROS, 5 * MICROS), cutting(8, 4))
    train, valid, test = (one(found, name) for name in ("ann#1", "ann#3", "ann#5"))
    assert (train["kind"], train["item"], train["target"]) == ("train", [2, 3, 4], [0, 1, 1])
    assert (valid["kind"], valid["target"]) == ("valid", [0, 0, 0, 1, 1])
    assert (test["kind"], test["target"]) == ("test", [0, 0, 0, 0, 0, 1, 1])
    history = one(found, "ann")
    assert [history[f"{split}_steps"] for split in ("train", "valid", "test")] == [2, 2, 2]


def test_what_is_of_no_split_is_input_and_never_asked_for() -> None:
    events = parted([Event("ann", i * MICROS, i, item=i + 2) for i in range(6)], *[9 * MICROS] * 2)
    events = [replace(e, part=NO_SPLIT if e.time == 2 * MICROS else e.part) for e in events]
    found = streamed(events, cutting(8, 4))
    first, second = one(found, "ann#1"), one(found, "ann#3")
    assert (first["item"], first["target"]) == ([2, 3], [0, 1])
    assert (second["item"], second["target"]) == ([2, 3, 4, 5, 6, 7], [0, 0, 0, 1, 1, 1])
    assert one(found, "ann")["train_steps"] == 4


def test_what_a_session_goes_on_with_in_a_later_split_is_never_asked_for() -> None:
    minutes = (0, 1, 2, 3, 4, 40, 41)
    events = parted([Event("ann", m * MINUTE, m, item=m + 2) for m in minutes], 2 * MINUTE)
    rules = replace(cutting(), whole_sessions=True)
    for batch_events in (1, 2, 3, 100):
        found = streamed(events, rules, batch_events)
        assert one(found, "ann#1")["target"] == [0, 1]
        valid = one(found, "ann#5")
        assert (valid["kind"], valid["item"]) == ("valid", [2, 3, 4, 5, 6, 42, 43])
        assert valid["target"] == [0, 0, 0, 0, 0, 1, 1]
        assert len(found) == 3


def test_a_named_session_that_goes_on_in_a_later_split_is_never_asked_for() -> None:
    told = [(0, "web"), (1, "app"), (2, "web"), (3, "tv"), (4, "app"), (5, "tv"), (5, "app")]
    events = [Event("ann", m * MINUTE, i, session=name) for i, (m, name) in enumerate(told)]
    rules = replace(cutting(sessions=None), whole_sessions=True)
    for batch_events in (1, 2, 3, 100):
        found = streamed(parted(events, 2 * MINUTE), rules, batch_events)
        assert [row["sequence_id"] for row in found if row["kind"] == "valid"] == ["ann#3"]
        assert one(found, "ann#3")["target"] == [0, 0, 0, 1]


def test_a_named_session_is_known_behind_any_number_of_others() -> None:
    names = ["first", *map(str, range(6000)), "first"]
    events = [Event("ann", n * MINUTE, n, session=name) for n, name in enumerate(names)]
    rules = replace(cutting(sessions=None), whole_sessions=True)
    last = len(names) - 1
    for batch_events in (500, 10_000):
        found = streamed(parted(events, last * MINUTE), rules, batch_events)
        assert one(found, "ann")["session_start"] == [1] * 7 + [0]
        assert one(found, "ann")["stray_events"] == 1
        assert not [row for row in found if row["kind"] == "valid"], "it opened in train"


def test_sessions_end_with_a_pause_or_a_day() -> None:
    events = [Event("ann", m * MINUTE, m) for m in (0, 30, 61, 62)]
    assert one(streamed(events, cutting()), "ann")["session_start"] == [1, 0, 1, 0]
    by_day = cutting(sessions=Rules(30 * MINUTE, day_start=62 * MINUTE))
    assert one(streamed(events, by_day), "ann")["session_start"] == [1, 0, 1, 1]
    alone = one(streamed(events, cutting(by_session=True)), "ann#1")
    assert alone["session_start"] == [1, 0, 0, 0], "whoever is the subject has one session"
    assert alone["gap_seconds"] == [0, 1800, 1860, 60]


BUYS = Purchases(types=(3,), pauses=GAP, log_end=300 * MINUTE)


def labels(events: list[Event], rules: Cutting) -> list[dict[str, object]]:
    """The rows of the splits, the same whatever the batches."""
    found = streamed(events, rules)
    for batch_events in (1, 2, 3):
        assert in_any_order(streamed(events, rules, batch_events)) == in_any_order(found)
    return [row for row in found if row["kind"] not in (HISTORY, EARLIER)]


def test_a_label_says_whether_the_item_is_bought_in_the_session() -> None:
    told = [(7, 2), (7, 2), (3, 2), (7, 2), (7, 3), (7, 2), (9, 3)]
    events = [Event("ann", i * MINUTE, i, item, kind) for i, (item, kind) in enumerate(told)]
    events += [Event("ann", 100 * MINUTE, 20, 9, 2), Event("ann", 101 * MINUTE, 21, 9, 3)]
    rules = cutting(12, 11, purchases=BUYS)
    (row,) = labels(events, rules)
    assert row["purchase"] == [0, 2, 1, 2, 0, 1, 0, 2, 0], "9 is bought, and then seen and bought"
    soon = Purchases(types=(3,), pauses=GAP, log_end=130 * MINUTE)
    (row,) = labels(events, cutting(12, 11, purchases=soon))
    assert row["purchase"] == [0, 2, 1, 2, 0, 1, 0, 0, 0], "the last session may go on"
    (row,) = labels(events, cutting(12, 11))
    assert row["purchase"] == [0] * 9


def test_a_label_tells_nothing_of_a_later_split_and_looks_beyond_the_row() -> None:
    told = [(5, 2), (7, 2), (3, 2), (7, 3), (4, 2)]
    events = [Event("ann", i * MINUTE, i, item, kind) for i, (item, kind) in enumerate(told)]
    rows = labels(events, cutting(4, 2, purchases=BUYS))
    assert [row["purchase"] for row in rows] == [[0, 2, 1], [0, 0, 0, 1]]
    train, valid = labels(parted(events, 3 * MINUTE), cutting(4, 2, purchases=BUYS))
    assert train["purchase"] == [0, 0, 0], "whether 7 is bought is seen by validation alone"
    assert valid["purchase"] == [0, 0, 0, 1]


def test_what_is_too_far_away_is_not_known() -> None:
    events = [Event("ann", i * MICROS, i, item=i + 2) for i in range(11)]
    rows = labels(events, cutting(4, 2, purchases=BUYS))
    assert [sum(row["purchase"]) for row in rows] == [0, 0, 1, 2, 2]  # type: ignore[call-overload]


def test_sessions_of_two_devices_interleave() -> None:
    names = ["web", "app", "web", "app", "tv"]
    events = [Event("ann", i * MINUTE, i, session=name) for i, name in enumerate(names)]
    for batch_events in (1, 2, 100):
        found = streamed(events, cutting(sessions=None), batch_events)
        assert one(found, "ann")["session_start"] == [1, 1, 0, 0, 1]


EVENTS = st.lists(
    st.builds(
        Event,
        user=st.sampled_from(["a", "b", "c"]),
        time=st.integers(0, 40).map(lambda number: number * 600 * MICROS // 3),
        order=st.integers(0, 5),
        kind=st.integers(1, 3),
        session=st.sampled_from(["s", "t", "u"]),
    ).map(lambda e: replace(e, item=e.order + 1, wanted=e.kind > 1)),
    min_size=1,
    max_size=60,
)


@settings(max_examples=400, deadline=None)
@given(
    events=EVENTS,
    batch_events=st.integers(1, 70),
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 6)),
    borders=st.tuples(st.integers(1, 40), st.integers(1, 20)),
    sessions=st.sampled_from([(30, False), (None, False), (None, True)]),
    whole_sessions=st.booleans(),
    types=st.sampled_from([None, (3,), (2, 3)]),
    log_end=st.integers(38, 60),
)
def test_rows_are_those_of_plain_python(
    events: list[Event],
    batch_events: int,
    sizes: tuple[int, int],
    borders: tuple[int, int],
    sessions: tuple[int | None, bool],
    whole_sessions: bool,
    types: tuple[int, ...] | None,
    log_end: int,
) -> None:
    valid_start = borders[0] * 200 * MICROS
    embargo_end = valid_start + borders[1] * 200 * MICROS
    events = parted(events, valid_start, embargo_end, embargo_end + 400 * MICROS)
    gap_minutes, by_session = sessions
    pauses = None if gap_minutes is None else Rules(gap_minutes * MINUTE)
    rules = cutting(
        length=sum(sizes),
        target_events=sizes[0],
        sessions=pauses,
        by_session=by_session,
        purchases=None if types is None else Purchases(types, pauses, log_end * 200 * MICROS),
    )
    rules = replace(rules, whole_sessions=whole_sessions)
    found = streamed(events, rules, batch_events)
    assert in_any_order(found) == in_any_order(rows(events, rules))


@pytest.mark.parametrize(
    ("batch_events", "purchases", "expected"),
    [(50, None, 2 * 16 + 8), (1000, None, 2 * 16 + 8), (50, BUYS, 3 * 16 + 2 * 8)],
)
def test_what_is_carried_does_not_grow_with_a_user(
    batch_events: int, purchases: Purchases | None, expected: int
) -> None:
    draw = random.Random(2)
    events = [
        Event("hot", draw.randrange(3000) * MINUTE, i, wanted=draw.random() < 0.01, session=str(i))
        for i in range(6000)
    ]
    events += [Event("hot", 1000 * MINUTE, 10_000 + i) for i in range(500)]
    in_order = sorted(events, key=lambda event: event.key)
    rules, most = cutting(16, 8, purchases=purchases), 0
    stream = RowStream(rules)
    for start in range(0, len(in_order), batch_events):
        part = in_order[start : start + batch_events]
        stream.feed(
            pa.RecordBatch.from_pydict(
                {
                    "user_id": ["hot"] * len(part),
                    "timestamp": [e.time for e in part],
                    "order": [e.order for e in part],
                    "item": pa.array([e.item for e in part], pa.int32()),
                    "event_type": pa.array([e.kind for e in part], pa.int32()),
                    "is_target": [e.wanted for e in part],
                    "part": pa.array([e.part for e in part], pa.int32()),
                }
            )
        )
        most = max(most, stream.carried_events)
    assert 0 < most <= expected
