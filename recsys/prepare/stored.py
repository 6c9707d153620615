"""What the files of histories, and of what was before them, say of themselves: all clean events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys import tables
from recsys.prepare.bundles import as_bytes, unpacked
from recsys.prepare.cutting import Ints
from recsys.prepare.split import TRAIN
from recsys.schemas import ddl

# One row a file: ITEM_EVENTS and STORED_SPANS of it, as bytes.
STORED: dict[str, str] = {"items": "binary", "spans": "binary"}
# How many events of train an item has, by its index.
ITEM_EVENTS: dict[str, str] = {"item_index": "int", "events": "bigint"}
# One row a row: when its first event was, in seconds, and how many it has.
STORED_SPANS: dict[str, str] = {"user_id": "string", "start": "bigint", "events": "bigint"}

_READ = ("user_id", "item", "timestamp", "split")


def stored(written: DataFrame) -> DataFrame:
    """STORED of written histories.

    Args:
        written: path and content of files of HISTORIES, with_inputs(), a batch each
    """

    def of_files(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for file in batch.to_pylist():
                table = tables.of_file(file["path"], file["content"], _READ).combine_chunks()
                found = {"items": [_items(table)], "spans": [_spans(table)]}
                yield pa.RecordBatch.from_pydict(found)

    return written.mapInArrow(of_files, ddl(STORED))


def _items(rows: pa.Table) -> bytes:
    item, split = (_entries(rows, name) for name in ("item", "split"))
    counts = np.bincount(item[split == TRAIN])
    index = np.flatnonzero(counts)
    return as_bytes(pa.table({"item_index": index.astype(np.int32), "events": counts[index]}))


def _spans(rows: pa.Table) -> bytes:
    time = rows["timestamp"]
    begin = np.asarray(time.chunk(0).offsets) if len(rows) else np.zeros(1, np.int32)
    start = np.minimum.reduceat(_entries(rows, "timestamp"), begin[:-1] - begin[0])
    events = np.diff(begin).astype(np.int64)
    return as_bytes(pa.table({"user_id": rows["user_id"], "start": start, "events": events}))


def _entries(rows: pa.Table, name: str) -> Ints:
    """Those of the lists of all rows, one after another."""
    return np.asarray(rows[name].chunk(0).flatten()) if len(rows) else np.zeros(0, np.int64)


def item_events(stored: DataFrame) -> DataFrame:
    """ITEM_EVENTS of all files together."""
    counted = unpacked(stored.select("items"), ITEM_EVENTS)
    return counted.groupBy("item_index").agg(F.sum("events").alias("events"))
