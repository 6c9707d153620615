"""Indexes in place of names, and what the cutting needs to know of each event, batch by batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pandas.util import hash_array
from pyspark import Broadcast
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys.prepare.cutting import Bools
from recsys.prepare.split import PART
from recsys.schemas import FIRST_ITEM, UNKNOWN

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Encoder:
    """How events are encoded.

    Args:
        items: item_id to index; every worker process holds it once
        event_types: from index FIRST_ITEM on
        platforms: likewise
        targets: the types that may be predicted; empty means all
        inputs: further columns that go on: platform as its index, others as they are
        subject: column of what a sequence is of
        with_sessions: whether session_id goes on
    """

    items: Broadcast[dict[str, int]]
    event_types: tuple[str, ...]
    platforms: tuple[str, ...]
    targets: tuple[str, ...]
    inputs: tuple[str, ...]
    subject: str
    with_sessions: bool

    def read(self, events: DataFrame) -> DataFrame:
        """What is encoded of events with PART."""
        names = (self.subject, "timestamp", "item_id", "event_type", PART, *self.inputs)
        sessions = ("session_id",) if self.with_sessions else ()
        return events.select(*[F.col(name) for name in dict.fromkeys((*names, *sessions))])

    def encoded(self, events: pa.RecordBatch) -> pa.RecordBatch:
        """As RowStream takes it.

        Args:
            events: in order of the subject, with PART
        """
        item_id, event_type = events.column("item_id"), events.column("event_type")
        index, identity = self._items_of(item_id)
        types = {name: place for place, name in enumerate(self.event_types, FIRST_ITEM)}
        columns: dict[str, pa.Array] = {
            "user_id": events.column(self.subject),
            "timestamp": events.column("timestamp"),
            "order": pa.array(identity),
            "item": pa.array(index),
            "event_type": pa.array(_indexed(event_type, types)),
            "is_target": pa.array(self._may_be_target(item_id, event_type)),
            PART: events.column(PART),
            **{name: events.column(name) for name in self.inputs},
        }
        if "platform" in self.inputs:
            platforms = {name: place for place, name in enumerate(self.platforms, FIRST_ITEM)}
            columns["platform"] = pa.array(_indexed(events.column("platform"), platforms))
        if self.with_sessions:
            columns["session_id"] = events.column("session_id")
        return pa.RecordBatch.from_pydict(columns)

    def _items_of(self, item_id: pa.Array) -> tuple[Int32s, Int64s]:
        """Index of each item, and a number that only lines of one item have in common."""
        encoded, known = item_id.dictionary_encode(), self.items.value
        names, place = encoded.dictionary.to_pylist(), _places(encoded)
        index = np.array([UNKNOWN, *[known.get(name, UNKNOWN) for name in names]], np.int32)
        # Items without an index of their own are told apart by their names.
        identity, others = index.astype(np.int64), np.flatnonzero(index[1:] == UNKNOWN)
        of_others = np.array(names, dtype=object)[others]
        identity[others + 1] = hash_array(of_others, categorize=False).view(np.int64)
        return index[place], identity[place]

    def _may_be_target(self, item_id: pa.Array, event_type: pa.Array) -> Bools:
        """As ordering.may_be_target()."""
        has_item = item_id.is_valid().to_numpy(zero_copy_only=False)
        if not self.targets:
            return np.asarray(has_item)
        is_one = _indexed(event_type, dict.fromkeys(self.targets, FIRST_ITEM)) == FIRST_ITEM
        return np.asarray(has_item & is_one)


def _places(encoded: pa.DictionaryArray) -> Int64s:
    """Behind which entry of its dictionary, put behind one for null, each value stands."""
    return np.asarray(encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)) + 1


def _indexed(column: pa.Array, indexes: Mapping[str, int]) -> Int32s:
    encoded = column.dictionary_encode()
    known = [indexes.get(name, UNKNOWN) for name in encoded.dictionary.to_pylist()]
    return np.array([UNKNOWN, *known], np.int32)[_places(encoded)]
