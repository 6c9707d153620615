"""Sorted events on their way through several passes, many in a row, as bytes of Arrow's format.

Spark moves the values of a row one by one, into Parquet, out of it and to Python; bytes move whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys.arrays import arrow_schema
from recsys.config import Clean
from recsys.prepare.behaviour import Mark, Scan
from recsys.prepare.seen import Days
from recsys.prepare.support import ITEM_COUNTS, ItemCounts
from recsys.schemas import ddl

# A bundle of events and how many they are, or a Mark, whose `what` is not null; or ITEMS.
BUNDLES: dict[str, str] = {
    "what": "string",
    "of": "string",
    "count": "bigint",
    "events": "binary",
}
_SCHEMA = arrow_schema(BUNDLES)
# The mark of counts of items, which stand in place of events.
ITEMS = "items"

# Gives those of the events of bundles that stay, in their order.
Stay = Callable[[Iterable[pa.Table]], Iterator[pa.RecordBatch]]

_PACKED = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)


def scanned(events: DataFrame, clean: Clean) -> DataFrame:
    """BUNDLES of the events that Scan lets stay, and its marks.

    Args:
        events: columns of EVENTS, in order of user_id
        clean: what is looked for
    """

    def scan(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        stream = Scan(clean)
        for batch in batches:
            yield _bundle(stream.feed(batch))
        yield _marks(stream.finish())

    return events.mapInArrow(scan, ddl(BUNDLES))


def left(bundles: DataFrame, stay: Stay, counting: Callable[[], ItemCounts] | None) -> DataFrame:
    """BUNDLES of the events that stay, and the marks of Seen.

    Args:
        bundles: BUNDLES, in order
        stay: says which
        counting: counts their items for item_counts(), in the same pass; none where nobody asks
    """

    def keep(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        days, counts = Days(), counting() if counting else None
        for kept in stay(opened(batches)):
            days.feed(kept.column("timestamp").to_numpy())
            yield _bundle(kept)
            if counts is not None:
                yield from _counted(counts.feed(pa.Table.from_batches([kept])))
        yield _marks(days.finish())
        if counts is not None:
            yield from _counted(counts.finish())

    return events(bundles).mapInArrow(keep, ddl(BUNDLES))


def marks(bundles: DataFrame) -> list[Mark]:
    """The marks among BUNDLES."""
    is_mark = F.col("what").isNotNull() & (F.col("what") != ITEMS)
    found = bundles.where(is_mark).select("what", "of", "count")
    return [tuple(row) for row in found.collect()]


def item_counts(bundles: DataFrame) -> DataFrame:
    """item_id and count, in parts, of what left() has counted."""

    return unpacked(bundles.where(F.col("what") == ITEMS).select("events"), ITEM_COUNTS)


def events(bundles: DataFrame) -> DataFrame:
    """The others, for opened()."""
    return bundles.where(F.col("what").isNull()).select("events")


def unpacked(packed: DataFrame, schema: Mapping[str, str]) -> DataFrame:
    """Columns of the tables of all rows.

    Args:
        packed: one column, as_bytes()
        schema: of those that are asked for
    """
    names = list(schema)

    def open_all(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for table in opened(batches):
            yield from table.select(names).to_batches()

    return packed.mapInArrow(open_all, ddl(dict(schema)))


def opened(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The table of one row's bytes after another.

    Args:
        batches: of one column, as_bytes()
    """
    for batch in batches:
        for content in batch.column(0):
            yield as_table(content.as_buffer())


def as_table(content: bytes | pa.Buffer) -> pa.Table:
    """What as_bytes() made bytes of."""
    options = pa.ipc.IpcReadOptions(use_threads=False)
    with pa.ipc.open_stream(content, options=options) as reader:
        return reader.read_all()


def as_bytes(table: pa.Table | pa.RecordBatch, for_shuffle: bool = False) -> bytes:
    """For as_table(), and opened().

    Args:
        table: what becomes bytes
        for_shuffle: Spark packs them next
    """
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(use_threads=False) if for_shuffle else _PACKED
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write(table)
    return bytes(sink.getvalue())


def _bundle(events: pa.Table | pa.RecordBatch) -> pa.RecordBatch:
    none = pa.nulls(1, pa.string())
    content = pa.array([as_bytes(events)], pa.binary())
    return pa.RecordBatch.from_arrays([none, none, [len(events)], content], schema=_SCHEMA)


def _counted(counts: pa.Table) -> Iterator[pa.RecordBatch]:
    if len(counts):
        row = {"what": ITEMS, "events": as_bytes(counts)}
        yield pa.RecordBatch.from_pylist([row], schema=_SCHEMA)


def _marks(marks: list[Mark]) -> pa.RecordBatch:
    rows = [dict(zip(_SCHEMA.names, mark, strict=False)) for mark in marks]
    return pa.RecordBatch.from_pylist(rows, schema=_SCHEMA)
