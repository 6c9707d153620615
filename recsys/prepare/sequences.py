"""Clean events become rows of sequences: one sort within subjects, one pass with NumPy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys.prepare.bundles import as_bytes
from recsys.prepare.encoder import Encoder
from recsys.prepare.event_numbers import normalized
from recsys.prepare.indexing import Indexes
from recsys.prepare.instants import MICROSECONDS_PER_SECOND
from recsys.prepare.packed import ARRAYS
from recsys.prepare.rows import COUNTS, HISTORY, MOST, Cutting
from recsys.prepare.stream import RowStream
from recsys.prepare.walk import Pass
from recsys.schemas import UNKNOWN


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


def encode_interactions(
    events: DataFrame, subject: str, histories: DataFrame, indexes: Indexes
) -> DataFrame:
    """INTERACTIONS: the events of known items with indexes in place of names, and seconds.

    Rows cannot stand for them: what is long before the next target, or asked for by nobody, is in
    none.

    Args:
        events: EVENTS
        subject: the column of what a sequence is of
        histories: with user_id and item, as written
        indexes: of items and event types
    """
    held = histories.select(F.col("user_id").alias(subject), F.size("item").alias("held"))
    done = events.groupBy(subject).agg(F.count(F.lit(1)).alias("done"))
    more = done.join(held, subject, "left").where(F.col("done") > F.coalesce("held", F.lit(0)))
    events = events.join(more.select(subject), subject, "left_semi")
    items = F.broadcast(indexes.vocabulary.select("item_id", F.col("item_index").alias("item")))
    types = F.array(*map(F.lit, indexes.event_types))
    place = F.array_position(types, F.col("event_type")).cast("int")  # from 1 on
    return events.join(items, on="item_id", how="inner").select(
        F.col(subject).alias("user_id"),
        "item",
        (place + UNKNOWN).alias("event_type"),
        F.floor(F.col("timestamp") / MICROSECONDS_PER_SECOND).alias("timestamp"),
    )


def cut(encoder: Encoder, cutting: Cutting) -> Pass:
    """Cuts every subject's history into the rows of the splits and its latest events, packed().

    Args:
        encoder: of the events, which are in_order() of the subject; session_id may be null where
            cutting has rules
        cutting: what it depends on
    """

    def rows(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        stream = RowStream(cutting)
        for events in batches:
            batch = encoder.encoded(events)
            batch = cutting.queries.hashed(batch) if cutting.queries else batch
            batch = normalized(batch, cutting.numbers)
            yield from packed(stream.feed(batch), cutting)
        yield from packed(stream.finish(), cutting)

    return rows


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
