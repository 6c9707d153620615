"""Clean events become rows of sequences: one sort within subjects, one pass with NumPy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys.prepare.bundles import as_bytes
from recsys.prepare.event_numbers import normalized
from recsys.prepare.instants import MICROSECONDS_PER_SECOND
from recsys.prepare.ordering import may_be_target, order
from recsys.prepare.packed import ARRAYS
from recsys.prepare.parts import PART
from recsys.prepare.rows import COUNTS, HISTORY, MOST, Cutting
from recsys.prepare.stream import RowStream
from recsys.prepare.weighting import Weighting
from recsys.schemas import EVENT_NUMBERS, FIRST_ITEM, UNKNOWN, VALUE_WEIGHT, ddl

# Of encode()'s columns, those that not every dataset has.
_INPUTS = ("platform", "query", VALUE_WEIGHT, *EVENT_NUMBERS)


def encode(
    events: DataFrame,
    vocabulary: DataFrame,
    event_types: tuple[str, ...],
    platforms: tuple[str, ...],
    targets: tuple[str, ...],
    inputs: tuple[str, ...],
    weighting: Weighting | None = None,
) -> DataFrame:
    """Indexes in place of names, and what the cutting needs to know of each event.

    Args:
        events: with PART
        vocabulary: item_id and item_index
        event_types: from index FIRST_ITEM on
        platforms: likewise
        targets: the types that may be predicted; empty means all
        inputs: of events.input_columns()
        weighting: of targets by their values; none where they have no such weights
    """
    more = {name: F.col(name) for name in inputs} | {"platform": _index("platform", platforms)}
    # A broadcast leaves events in their order.
    indexes = F.broadcast(vocabulary.select("item_id", "item_index"))
    known = events.join(indexes, on="item_id", how="left")
    return known.select(
        "user_id",
        "session_id",
        "item_id",
        "event_type",
        "timestamp",
        F.coalesce("item_index", F.lit(UNKNOWN)).alias("item"),
        _index("event_type", event_types).alias("event_type_index"),
        may_be_target(targets).alias("is_target"),
        PART,
        *[more[name].alias(name) for name in inputs],
        *([weighting.column] if weighting else []),
    )


def encode_impressions(events: DataFrame, vocabulary: DataFrame) -> DataFrame:
    """IMPRESSIONS: the events with indexes in place of items, and seconds."""
    indexes = F.broadcast(vocabulary.select("item_id", "item_index"))
    return events.join(indexes, on="item_id", how="left").select(
        "user_id",
        "session_id",
        F.coalesce("item_index", F.lit(UNKNOWN)).alias("item"),
        F.floor(F.col("timestamp") / MICROSECONDS_PER_SECOND).alias("timestamp"),
        "position",
    )


def _index(column: str, names: tuple[str, ...]) -> Column:
    """The place of a column's value among the names, from FIRST_ITEM on."""
    index = F.lit(UNKNOWN)
    for place in reversed(range(len(names))):
        is_name = F.col(column) == names[place]
        index = F.when(is_name, F.lit(place + FIRST_ITEM)).otherwise(index)
    return index


def cut(encoded: DataFrame, cutting: Cutting, subject: str, seed: int) -> DataFrame:
    """Cuts every subject's history into the rows of the splits and its latest events, packed().

    Args:
        encoded: of encode(), in_order(); session_id may be null where cutting has rules
        cutting: what it depends on
        subject: column of what a sequence is of
        seed: of the order at one instant
    """
    columns: list[Column | str] = [
        F.col(subject).alias("user_id"),
        F.col("timestamp"),
        order(seed).alias("order"),
        F.col("item"),
        F.col("event_type_index").alias("event_type"),
        F.col("is_target"),
        F.col(PART),
        *[name for name in encoded.columns if name in _INPUTS],
    ]
    if cutting.sessions is None and not cutting.by_session:
        columns.append("session_id")

    def rows(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        stream = RowStream(cutting)
        for batch in batches:
            batch = cutting.queries.hashed(batch) if cutting.queries else batch
            batch = normalized(batch, cutting.numbers)
            yield from packed(stream.feed(batch), cutting)
        yield from packed(stream.finish(), cutting)

    return encoded.select(*columns).mapInArrow(rows, ddl(cutting.packing.schema))


def packed(rows: pa.RecordBatch, cutting: Cutting) -> Iterator[pa.RecordBatch]:
    """The rows of splits packed one by one, and the histories together in one row.

    That row has the number of histories as its length, the greatest of MOST, the sums of COUNTS and
    the bytes of a table of HISTORIES in place of arrays.
    """
    is_history = pc.equal(rows["kind"], HISTORY)
    of_splits = cutting.packing.packed(rows.filter(pc.invert(is_history)))
    yield of_splits
    histories = pa.Table.from_batches([rows.filter(is_history)])
    if len(histories):
        row = {
            "kind": HISTORY,
            "length": len(histories),
            ARRAYS: as_bytes(histories.select(list(cutting.history_schema))),
            **{name: pc.max(histories[name]).as_py() for name in MOST},
            **{name: pc.sum(histories[name]).as_py() for name in COUNTS},
        }
        yield pa.RecordBatch.from_pylist([row], schema=of_splits.schema)
