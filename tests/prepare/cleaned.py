"""The cleaning in plain Python: slow, and easy to read."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import NamedTuple

from recsys.config import Clean
from recsys.prepare.instants import MICROSECONDS_PER_DAY, MICROSECONDS_PER_SECOND


class Event(NamedTuple):
    """One event, in the columns of EVENTS."""

    user_id: str
    session_id: str | None
    item_id: str
    event_type: str
    timestamp: int
    platform: str | None = None
    price: float | None = None
    quantity: float | None = None
    query: str | None = None
    value: float | None = None
    position: int | None = None


def in_order(events: list[Event]) -> list[Event]:
    """By user and time; equal ones are neighbours."""
    return sorted(events, key=lambda event: (event.user_id, event.timestamp, str(event)))


def without_noise(events: list[Event], clean: Clean) -> tuple[list[Event], dict[str, list[int]]]:
    """What stays of events in order, and the step's (users of bots and) events that went."""
    gone: dict[str, list[int]] = {}
    kept: list[Event] = []
    for user, group in groupby(events, key=lambda event: event.user_id):
        own, last = list(group), {}
        single = [e for i, e in enumerate(own) if not (clean.duplicates and i and e == own[i - 1])]
        _count(gone, "duplicates", len(own) - len(single))
        if bot := _bot(single, clean):
            _count(gone, f"bots by {bot}", len(single))
            continue
        for event in own:
            key = (event.item_id, event.event_type)
            before = last.get(key)
            repeats = clean.repeat_seconds is not None and before is not None and (
                event.timestamp - before <= clean.repeat_seconds * MICROSECONDS_PER_SECOND
            )  # fmt: skip
            last[key] = event.timestamp
            if event in single:
                single.remove(event)
                if repeats:
                    _count(gone, "repeats", 1)
                else:
                    kept.append(event)
        assert not single, user
    return kept, gone


def _count(gone: dict[str, list[int]], what: str, events: int) -> None:
    if events:
        users, before = gone.get(what, [0, 0])
        gone[what] = [users + 1, before + events]


def _bot(own: list[Event], clean: Clean) -> str | None:
    for words, period, most in (
        ("events a day", MICROSECONDS_PER_DAY, clean.bot_events_per_day),
        ("events a minute", 60 * MICROSECONDS_PER_SECOND, clean.bot_events_per_minute),
    ):
        counts = Counter(event.timestamp // period for event in own)
        if most is not None and max(counts.values()) > most:
            return words
    views = sum(event.event_type == "view" for event in own)
    if clean.bot_view_share is not None and len(own) >= clean.bot_share_events:
        return "share of views" if views > clean.bot_view_share * len(own) else None
    return None


def with_support(events: list[Event], items: int, users: int, end: int | None) -> list[Event]:
    """The k-core by taking away one user or item at a time."""
    judged = [event for event in events if end is None or event.timestamp < end]
    later = [event for event in events if end is not None and event.timestamp >= end]
    while True:
        by_item = Counter(event.item_id for event in judged)
        by_user = Counter(event.user_id for event in judged)
        rare = [("item_id", name) for name, count in by_item.items() if count < items]
        rare += [("user_id", name) for name, count in by_user.items() if count < users]
        if not rare:
            return in_order(judged + later)
        column, name = rare[-1]
        judged = [event for event in judged if getattr(event, column) != name]
