"""What belongs together in train: the items of a session, or of a user's whole history.

Shapes: E events of known items, in units one after the other and in time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame

from recsys.schemas import FIRST_ITEM

Longs = npt.NDArray[np.int64]

# Users whose histories are cut at once.
_USERS_AT_ONCE = 2048


@dataclass(frozen=True)
class Units:
    """Events of sessions or users.

    Args:
        unit: a number of its own for each session or user, rising [E]
        user: as of user_numbers [E]
        item: [E]
        number: of the step [E]
        timestamp: seconds since the epoch [E]
    """

    unit: Longs
    user: Longs
    item: Longs
    number: Longs
    timestamp: Longs

    def distinct(self) -> Units:
        """Of each unit and item the latest event; the order within a unit is by item."""
        key = self.unit * (int(self.item.max(initial=0)) + 1) + self.item
        _, from_end = np.unique(key[::-1], return_index=True)
        return self.take(len(key) - 1 - from_end)

    def latest(self, most: int) -> Units:
        """The latest so many events of each unit."""
        end = np.searchsorted(self.unit, self.unit, side="right")
        return self.take(np.nonzero(end - np.arange(len(self.unit)) <= most)[0])

    def take(self, chosen: npt.NDArray[np.intp]) -> Units:
        """Some of the events."""
        columns = (self.unit, self.user, self.item, self.number, self.timestamp)
        return Units(*(column[chosen] for column in columns))


def read(histories: Iterable[pa.RecordBatch], within: str) -> Iterator[Units]:
    """The units of some users at a time.

    Args:
        histories: as of histories.whole
        within: session or sequence
    """
    for batch in histories:
        for start in range(0, batch.num_rows, _USERS_AT_ONCE):
            yield _units(batch.slice(start, _USERS_AT_ONCE), within)


def user_numbers(user_id: npt.NDArray[np.object_]) -> Longs:
    """A number for each user id, the same in every process; no two are likely to share one."""
    return np.asarray(pd.util.hash_array(user_id, categorize=False)).view(np.int64)


def _units(users: pa.RecordBatch, within: str) -> Units:
    history = users.column("history")
    length = history.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
    names = ("number", "item", "timestamp", "session_start")
    event = history.flatten()
    of = {
        name: column.to_numpy(zero_copy_only=False).astype(np.int64)
        for name, column in zip(names, map(event.field, names), strict=True)
    }
    user = np.repeat(np.arange(len(length)), length)
    starts = np.ones(len(user), bool)
    starts[1:] = user[1:] != user[:-1]
    if within == "session":
        is_next_step = of["number"][1:] != of["number"][:-1]
        starts[1:] |= is_next_step & (of["session_start"][1:] == 1)
    hashed = user_numbers(users.column("user_id").to_numpy(zero_copy_only=False))
    units = Units(np.cumsum(starts), hashed[user], of["item"], of["number"], of["timestamp"])
    return units.take(np.nonzero(units.item >= FIRST_ITEM)[0])


def item_sets(histories: DataFrame, within: str, most_items: int) -> DataFrame:
    """The distinct items of each session or user.

    Args:
        histories: as of histories.whole
        within: session or sequence
        most_items: of one of them; the latest stay

    Returns:
        timestamp bigint, of the latest event; items array<int>, rising; user bigint, as of
        user_numbers
    """
    schema = "timestamp bigint, items array<int>, user bigint"

    def work(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for units in read(batches, within):
            latest = np.argsort(units.timestamp, kind="stable")
            by_unit = latest[np.argsort(units.unit[latest], kind="stable")]
            own = units.take(by_unit).latest(most_items).distinct()
            unit, start = np.unique(own.unit, return_index=True)
            ends = pa.array(np.append(start, len(own.unit)), pa.int32())
            when = np.maximum.reduceat(own.timestamp, start) if len(unit) else own.timestamp
            items = pa.ListArray.from_arrays(ends, pa.array(own.item, pa.int32()))
            columns = [pa.array(when), items, pa.array(own.user[start])]
            yield pa.RecordBatch.from_arrays(columns, names=["timestamp", "items", "user"])

    return histories.select("user_id", "history").mapInArrow(work, schema)
