"""Duplicates, bots, repeats and support, in batches of any size, against plain Python."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import pyarrow as pa
import pytest

from recsys.config import Clean
from recsys.prepare.behaviour import Scan
from recsys.prepare.support import Gone, ItemCounts, Supported
from recsys.schemas import EVENTS
from tests.prepare.cleaned import Event, in_order, with_support, without_noise

SECOND, DAY = 1_000_000, 86_400_000_000
_TYPES = {
    "string": pa.string(), "bigint": pa.int64(), "int": pa.int32(), "double": pa.float64()
}  # fmt: skip
SCHEMA = pa.schema([(name, _TYPES[kind]) for name, kind in EVENTS.items()])
ALL = Clean(
    duplicates=True, bot_events_per_day=14, bot_events_per_minute=6, bot_view_share=0.7,
    bot_share_events=12, repeat_seconds=20,
)  # fmt: skip


def drawn(seed: int, events: int = 300, users: int = 12) -> list[Event]:
    draw = random.Random(seed)

    def event() -> Event:
        user, day = draw.randrange(users), draw.randrange(4)
        time = day * 86_400 + draw.choice((draw.randrange(300), draw.randrange(60_000)))
        kind = draw.choice(("view", "view", "cart") if user % 3 else ("view",) * 9 + ("cart",))
        price = draw.choice((None, 1.5, 2.0))
        session = draw.choice((None, "s1"))
        return Event(f"u{user:02}", session, f"i{draw.randrange(6)}", kind, time * SECOND, None,
                     price, draw.choice((None, 1.0)))  # fmt: skip

    found = [event() for _ in range(events)]
    return in_order(found + draw.choices(found, k=events // 5))


def batches(events: list[Event], draw: random.Random) -> Iterator[pa.RecordBatch]:
    start = 0
    while start < len(events):
        size = draw.choice((0, 1, 2, 7, 50))
        rows = [event._asdict() for event in events[start : start + size]]
        yield pa.RecordBatch.from_pylist(rows, schema=SCHEMA)
        start += size


@pytest.mark.parametrize(
    "clean",
    [
        ALL,
        Clean(duplicates=True),
        Clean(repeat_seconds=20),
        Clean(repeat_seconds=0),
        Clean(bot_events_per_minute=6, repeat_seconds=300),
        Clean(bot_events_per_day=14),
        Clean(bot_view_share=0.7, bot_share_events=12),
    ],
    ids=str,
)
def test_noise_is_found_whatever_the_batches(clean: Clean) -> None:
    met = 0
    for seed in range(12):
        events = drawn(seed)
        expected, gone = without_noise(events, clean)
        scan, stay = Scan(clean), []
        for batch in batches(events, random.Random(seed)):
            stay.append(scan.feed(batch))
        marks: dict[str, list[int]] = {}
        bots = set()
        for what, user, count in scan.finish():
            found = marks.setdefault(what, [0, 0])
            found[0] += user is not None
            found[1] += count
            if what.startswith("bots by "):
                bots.add(user)
        kept = Gone(frozenset(bots)).left(pa.concat_tables(stay)).to_pylist()
        assert [Event(**row) for row in kept] == expected
        times = [event.timestamp for event in expected]
        assert [marks[name][1] for name in ("first event", "last event")] == [
            min(times), max(times)
        ]  # fmt: skip
        assert marks["duplicates"][1] == gone.get("duplicates", [0, 0])[1]
        repeats = marks["repeats"][1] - marks.get("repeats of bots", [0, 0])[1]
        assert repeats == gone.get("repeats", [0, 0])[1]
        by_threshold = {what: found for what, found in marks.items() if what.startswith("bots by")}
        assert by_threshold == {what: n for what, n in gone.items() if what.startswith("bots by")}
        met += bool(gone)
    assert met


def test_what_is_carried_does_not_grow_with_the_user() -> None:
    scan = Scan(ALL)
    for start in range(0, 4000, 100):
        events = [
            Event("u", None, f"i{n % 9}", "view", n * SECOND) for n in range(start, start + 100)
        ]
        scan.feed(next(batches_of(events)))
        assert scan.carried_events <= 21
    assert ("bots by events a day", "u", 4000) in scan.finish()


def batches_of(events: list[Event]) -> Iterator[pa.RecordBatch]:
    yield pa.RecordBatch.from_pylist([event._asdict() for event in events], schema=SCHEMA)


@pytest.mark.parametrize("end", [None, 2 * DAY])
@pytest.mark.parametrize(("items", "users"), [(8, 6), (1, 9), (14, 10), (20, 1)])
def test_support_is_the_core_whatever_the_batches(items: int, users: int, end: int | None) -> None:
    sizes = set()
    for seed in range(8):
        draw = random.Random(seed)
        some = drawn(seed, events=120, users=20)
        events = [e for e in some if draw.random() < 0.2 + 0.8 * (e.item_id > "i2")]
        expected = with_support(events, items, users, end)
        rare: set[str] = set()
        while True:
            kept, counts = counted(events, Gone(frozenset(), frozenset(rare), end), users, draw)
            more = {item for item, count in counts.items() if count < items}
            rare |= more
            if not more:
                break
        assert kept == expected
        sizes.add(len(events) - len(expected))
    assert max(sizes) > 0


def counted(
    events: list[Event], gone: Gone, users: int, draw: random.Random
) -> tuple[list[Event], dict[str, int]]:
    stream, tables = Supported(users, gone.end), []
    for batch in batches(events, draw):
        tables.append(stream.feed(gone.left(pa.Table.from_batches([batch]))))
        assert stream.carried_events < users
    if (rest := stream.finish()) is not None:
        tables.append(rest)
    counting, counts = ItemCounts(gone.end, most=draw.choice((1, 5, 1000))), Counter[str]()
    for table in (*map(counting.feed, tables), counting.finish()):
        for row in table.to_pylist():
            counts[row["item_id"]] += row["count"]
    kept = [Event(**row) for table in tables for row in table.to_pylist()]
    return in_order(kept), counts
