"""A shop's behaviour log of any size, with the trouble that real ones have.

Items by Zipf's law with one hot item on top, sessions of real lengths and pauses, and besides a
bot with 1 % of all events, on one day, one user with 2 % of them, over all days, lines that were
logged twice, and some at fault.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

DAYS = 90
START_MS = 1_700_006_400_000  # midnight
DAY_MS = 86_400_000
TYPES = ("view", "click", "cart", "purchase")
_TYPE_SHARES = (0.70, 0.18, 0.08, 0.04)

_HOT_SHARE = 0.02
_BOT_SHARE = 0.01
_TWICE_SHARE, _FAULT_SHARE = 0.01, 0.001
_SESSION_EVENTS, _USER_SESSIONS = 5.5, 4
_FILES = 8


def write_log(folder: Path, events: int, seed: int = 0, heavy_share: float = 0.02) -> None:
    """Parquet files user_id, item_id, event_type, timestamp (ms), price; in the order of time.

    Args:
        folder: where nothing is yet
        events: rows
        seed: of all that is drawn
        heavy_share: of all events, those of the largest user
    """
    rng = np.random.default_rng(seed)
    bot, heavy = int(events * _BOT_SHARE), int(events * heavy_share)
    twice = int(events * _TWICE_SHARE)
    shoppers = events - bot - heavy - twice
    user, time = (
        np.concatenate(parts)
        for parts in zip(
            _visits(rng, shoppers, max(2, shoppers // int(_SESSION_EVENTS * _USER_SESSIONS))),
            (np.zeros(bot, np.int64), START_MS + 40 * DAY_MS + rng.integers(0, DAY_MS, bot)),
            (np.ones(heavy, np.int64), START_MS + rng.integers(0, DAYS * DAY_MS, heavy)),
            strict=True,
        )
    )
    item = _items(rng, len(user), max(100, events // 200))
    kind = rng.choice(len(TYPES), len(user), p=_TYPE_SHARES)
    again = rng.integers(0, len(user), twice)
    columns = [np.concatenate([column, column[again]]) for column in (user, item, kind, time)]
    order = np.argsort(columns[3], kind="stable")
    fault = rng.random(len(order)) < _FAULT_SHARE
    folder.mkdir(parents=True)
    for number, rows in enumerate(np.array_split(order, _FILES)):
        parts = (column[rows] for column in (*columns, fault))
        pq.write_table(_table(*parts), folder / f"part-{number}.parquet")


def _visits(rng: np.random.Generator, events: int, users: int) -> tuple[np.ndarray, np.ndarray]:
    """User and time of events in sessions: short ones mostly, half a minute between events."""
    length = np.ceil(rng.lognormal(1.2, 0.9, int(events / 3) + 10)).astype(np.int64)
    length = length[: int(np.searchsorted(np.cumsum(length), events)) + 1]
    visitor = 2 + np.floor(users * rng.random(len(length)) ** 1.5).astype(np.int64)
    hour = np.clip(rng.normal(15, 4, len(length)), 0, 23.9)
    begin = START_MS + rng.integers(0, DAYS, len(length)) * DAY_MS
    begin += (hour * 3_600_000).astype(np.int64)
    first = np.cumsum(length) - length
    session = np.repeat(np.arange(len(length)), length)[:events]
    pause = (rng.lognormal(3.4, 1.0, events) * 1000).astype(np.int64)
    passed = np.cumsum(pause)
    time = begin[session] + passed - passed[np.minimum(first, events - 1)][session]
    return visitor[session], np.minimum(time, START_MS + DAYS * DAY_MS - 1)


def _items(rng: np.random.Generator, events: int, items: int) -> np.ndarray:
    drawn = np.exp(rng.random(events) * np.log(items)).astype(np.int64)
    return np.where(rng.random(events) < _HOT_SHARE, 1, drawn)


def _table(
    user: np.ndarray, item: np.ndarray, kind: np.ndarray, time: np.ndarray, fault: np.ndarray
) -> pa.Table:
    shuffled = item * 2_654_435_761 % 4_294_967_296  # popular items are no neighbours by name
    item_id = pa.compute.binary_join_element_wise("sku-", _text(shuffled), "")
    return pa.table(
        {
            "user_id": pa.compute.binary_join_element_wise("visitor-", _text(user), ""),
            "item_id": pa.compute.if_else(pa.array(fault), None, item_id),
            "event_type": pa.array(TYPES).take(pa.array(kind)),
            "timestamp": pa.array(time),
            "price": pa.array((shuffled % 20_000) / 100 + 0.5),
        }
    )


def _text(numbers: np.ndarray) -> pa.Array:
    return pa.array(numbers).cast(pa.string())
