"""Clean events become rows of sequences: one sort within subjects, one pass with NumPy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys.prepare.ordering import order
from recsys.prepare.parts import PART
from recsys.prepare.rows import PACKING, Cutting
from recsys.prepare.stream import RowStream
from recsys.schemas import FIRST_ITEM, UNKNOWN, ddl


def encode(
    events: DataFrame,
    vocabulary: DataFrame,
    event_types: tuple[str, ...],
    targets: tuple[str, ...],
) -> DataFrame:
    """Indexes in place of names, and what the cutting needs to know of each event.

    Args:
        events: with PART
        vocabulary: item_id and item_index
        event_types: from index FIRST_ITEM on
        targets: the types that may be predicted; empty means all
    """
    # A broadcast leaves events in their order.
    indexes = F.broadcast(vocabulary.select("item_id", "item_index"))
    known = events.join(indexes, on="item_id", how="left")
    event_type = F.lit(UNKNOWN)
    for index in reversed(range(len(event_types))):
        is_type = F.col("event_type") == event_types[index]
        event_type = F.when(is_type, F.lit(index + FIRST_ITEM)).otherwise(event_type)
    return known.select(
        "user_id",
        "session_id",
        "item_id",
        "event_type",
        "timestamp",
        F.coalesce("item_index", F.lit(UNKNOWN)).alias("item"),
        event_type.alias("event_type_index"),
        (F.col("event_type").isin(list(targets)) if targets else F.lit(True)).alias("is_target"),
        PART,
    )


def cut(encoded: DataFrame, cutting: Cutting, subject: str, seed: int) -> DataFrame:
    """Cuts every subject's history into the rows of the splits and its latest events, packed.

    Args:
        encoded: of encode(), in_order(); session_id may be null where cutting has rules
        cutting: what it depends on
        subject: column of what a sequence is of
        seed: of the order at one instant
    """
    columns: list[Column] = [
        F.col(subject).alias("user_id"),
        F.col("timestamp"),
        order(seed).alias("order"),
        F.col("item"),
        F.col("event_type_index").alias("event_type"),
        F.col("is_target"),
        F.col(PART),
    ]
    if cutting.sessions is None and not cutting.by_session:
        columns.append(F.col("session_id"))

    def rows(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        stream = RowStream(cutting)
        for batch in batches:
            yield PACKING.packed(stream.feed(batch))
        yield PACKING.packed(stream.finish())

    return encoded.select(*columns).mapInArrow(rows, ddl(PACKING.schema))
