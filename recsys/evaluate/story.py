"""The data's own story: events a day, what users do, and how long sessions are.

Shapes: E events of some users.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys.manifest import Manifest
from recsys.schemas import FIRST_ITEM

_SECONDS_PER_DAY = 86_400
# The last length of each band of sessions, in events.
_BANDS = (1, 2, 4, 9, 19, 49)
# Bars of a picture, at most: more days are counted by week.
_MOST_DAYS = 92
_OTHER = "types that train lacks"

_COUNTS = "what string, key bigint, type int, count bigint"


def story(histories: DataFrame, dataset: Manifest) -> dict[str, Any]:
    """Counts of what the dataset holds.

    Args:
        histories: as of histories.whole, of all splits
        dataset: the manifest

    Returns:
        events: all that are in histories; days: first day of each day or week, and its events;
        days_each: 1 or 7; users; funnel: of each event type its events and the users with one;
        sessions: bands of their lengths and how many there are
    """
    counts: dict[str, dict[tuple[int, int], int]] = {}
    summed = histories.select("history").mapInArrow(_counted, _COUNTS)
    for row in summed.groupBy("what", "key", "type").agg(F.sum("count").alias("n")).collect():
        counts.setdefault(row.what, {})[row.key, row.type] = int(row.n)
    by_day = {_date(day): count for (day, _), count in counts.get("day", {}).items()}
    each = 1 if len(by_day) <= _MOST_DAYS else 7
    return {
        "events": sum(by_day.values()),
        "users": counts.get("all", {}).get((0, 0), 0),
        "days_each": each,
        "days": _by(each, by_day),
        "funnel": _funnel(counts.get("events", {}), counts.get("users", {}), dataset),
        "sessions": {
            name: counts.get("session", {}).get((band, 0), 0)
            for band, name in enumerate(session_bands())
        },
    }  # fmt: skip


def _date(day: int) -> datetime.date:
    return datetime.datetime.fromtimestamp(day * _SECONDS_PER_DAY, datetime.UTC).date()


def _by(each: int, by_day: Mapping[datetime.date, int]) -> dict[str, int]:
    """Events of each day or week from the first day on, by its first day."""
    found: dict[str, int] = {}
    start = min(by_day, default=datetime.date.min)
    for day in sorted(by_day):
        first = str(day - (day - start) % datetime.timedelta(days=each))
        found[first] = found.get(first, 0) + by_day[day]
    return found


def _funnel(
    events: Mapping[tuple[int, int], int], users: Mapping[tuple[int, int], int], dataset: Manifest
) -> list[dict[str, Any]]:
    """Of each event type its events and its users, by falling users; types that train lacks last.

    Args:
        events: by type
        users: with one, likewise
        dataset: the manifest
    """
    names = dict(enumerate(dataset.event_types, FIRST_ITEM))
    own = [
        {"event_type": names.get(kind, _OTHER), "events": events[0, kind], "users": count}
        for (_, kind), count in users.items()
    ]
    return sorted(
        own, key=lambda row: (row["event_type"] == _OTHER, -row["users"], row["event_type"])
    )


def session_bands() -> list[str]:
    """What the bands of session lengths are called.

    >>> session_bands()
    ['1', '2', '3–4', '5–9', '10–19', '20–49', '50 and more']
    """
    firsts = [1, *(last + 1 for last in _BANDS)]
    names = [
        str(last) if first == last else f"{first}–{last}"
        for first, last in zip(firsts[:-1], _BANDS, strict=True)
    ]
    return [*names, f"{firsts[-1]} and more"]


def _counted(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        history = batch.column("history")
        length = history.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
        event = history.flatten()
        day, kind, number, starts = (
            event.field(name).to_numpy(zero_copy_only=False).astype(np.int64)
            for name in ("timestamp", "event_type", "number", "session_start")
        )
        user = np.repeat(np.arange(len(length)), length)
        is_first = np.ones(len(user), bool)
        is_first[1:] = user[1:] != user[:-1]
        is_start = is_first.copy()
        is_start[1:] |= (number[1:] != number[:-1]) & (starts[1:] == 1)
        in_session = np.bincount(np.cumsum(is_start) - 1) if len(user) else user
        has = np.unique(np.stack([user, kind]), axis=1)[1]
        nothing = np.zeros(0, np.int64)
        parts = {
            "all": (np.zeros(len(length), np.int64), None),
            "day": (day // _SECONDS_PER_DAY, None),
            "events": (None, kind),
            "users": (None, has if len(user) else nothing),
            "session": (np.searchsorted(_BANDS, in_session), None),
        }
        yield pa.RecordBatch.from_pylist(
            [row for what, part in parts.items() for row in _rows(what, *part)],
            pa.schema([("what", pa.string()), ("key", pa.int64()), ("type", pa.int32()),
                       ("count", pa.int64())]),
        )  # fmt: skip


def _rows(what: str, key: Any, kind: Any) -> list[dict[str, Any]]:
    values, counts = np.unique(key if kind is None else kind, return_counts=True)
    name = "key" if kind is None else "type"
    return [
        {"what": what, "key": 0, "type": 0, name: int(value), "count": int(count)}
        for value, count in zip(values, counts, strict=True)
    ]
