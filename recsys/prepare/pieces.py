"""Rows of sequences on their way into groups: many in a piece, as bytes.

Spark moves a row value by value, through a file, a hash, a join and a sort; bytes move whole.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pandas.util import hash_array
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from recsys.arrays import arrow_schema
from recsys.prepare.bundles import as_bytes, unpacked
from recsys.prepare.cutting import Ints
from recsys.prepare.packed import ARRAYS
from recsys.prepare.rows import COUNTS, EARLIER, HISTORY, MOST, Cutting
from recsys.schemas import SPLITS

# Rows of one of KINDS, with the greatest of MOST and the sums of COUNTS where they are of a whole
# subject; or (kind "buckets") how many rows of each bucket all pieces of a partition have.
PIECES: dict[str, str] = {
    "kind": "string",
    "rows": "bigint",
    **dict.fromkeys((*MOST, *COUNTS), "bigint"),
    "content": "binary",
}
_SCHEMA = arrow_schema(PIECES)
_BUCKETS = "buckets"
_BUCKET_SIZES: dict[str, str] = {"kind": "string", "bucket": "bigint", "rows": "bigint"}

# What a piece has of each row of a split. Its draw orders it among those of its length.
IN_ORDER = ("length", "draw", "sequence_id")
PACKED = pa.schema(
    [
        ("sequence_id", pa.string()), ("user_id", pa.string()), ("length", pa.int32()),
        (ARRAYS, pa.binary()), ("draw", pa.uint64()),
    ]
)  # fmt: skip
_DRAWN_BITS = 10  # of a bucket

_AT_ONCE = 2**24  # bytes that become pieces


def bucket_of(rows: pa.Table | pa.RecordBatch) -> Ints:
    """The length and the first bits of the draw in one number.

    The bits part the rows of one length, of which there may be very many.
    """
    length, draw = (rows.column(name).to_numpy() for name in ("length", "draw"))
    drawn = (draw >> np.uint64(64 - _DRAWN_BITS)).astype(np.int64)
    return np.asarray((length.astype(np.int64) << _DRAWN_BITS) | drawn)


class Pieces:
    """Feed it rows, then finish it.

    Args:
        cutting: of the rows
        seed: of the draws, which depend on neither files nor the order in which rows come
    """

    def __init__(self, cutting: Cutting, seed: int) -> None:
        self._cutting, self._key = cutting, f"{seed % 2**64:016x}"
        self._waiting: dict[str, list[pa.RecordBatch]] = {}
        self._bytes = 0
        self._buckets: dict[str, list[NDArray[np.int64]]] = {split: [] for split in SPLITS}

    def feed(self, rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """The pieces that are full.

        Args:
            rows: ROWS, as of the cutting's schema
        """
        is_whole = pc.is_in(rows["kind"], pa.array([HISTORY, EARLIER]))
        whole = rows.filter(is_whole)
        whole = whole.select(["kind", *self._cutting.history_schema, *MOST, *COUNTS])
        of_splits = self._cutting.packing.packed(rows.filter(pc.invert(is_whole)))
        self._wait(whole, (HISTORY, EARLIER))
        self._wait(of_splits, SPLITS)
        if self._bytes >= _AT_ONCE:
            yield from self._made()

    def finish(self) -> Iterator[pa.RecordBatch]:
        """What is left."""
        yield from self._made()
        found = [
            pa.table({"kind": pa.repeat(kind, len(bucket)), "bucket": bucket, "rows": rows})
            for kind, own in self._buckets.items()
            if own
            for bucket, rows in [np.unique(np.concatenate(own), return_counts=True)]
        ]
        if found:
            sizes = pa.concat_tables(found).cast(arrow_schema(_BUCKET_SIZES)).combine_chunks()
            yield _row(kind=_BUCKETS, rows=len(sizes), content=as_bytes(sizes))

    def _wait(self, rows: pa.RecordBatch, kinds: tuple[str, ...]) -> None:
        for kind in kinds:
            own = rows.filter(pc.equal(rows["kind"], kind))
            if len(own):
                self._waiting.setdefault(kind, []).append(own)
                self._bytes += own.nbytes

    def _made(self) -> Iterator[pa.RecordBatch]:
        for kind, parts in self._waiting.items():
            rows = pa.Table.from_batches(parts).combine_chunks()
            yield self._of_split(kind, rows) if kind in SPLITS else self._whole(kind, rows)
        self._waiting, self._bytes = {}, 0

    def _of_split(self, kind: str, rows: pa.Table) -> pa.RecordBatch:
        names = rows["sequence_id"].to_numpy()
        draw = hash_array(names, hash_key=self._key, categorize=False)
        rows = rows.append_column("draw", pa.array(draw)).select(PACKED.names).cast(PACKED)
        bucket = bucket_of(rows)
        self._buckets[kind].append(bucket)
        in_order = rows.take(pa.array(np.argsort(bucket, kind="stable")))
        return _row(kind=kind, rows=len(rows), content=as_bytes(in_order))

    def _whole(self, kind: str, rows: pa.Table) -> pa.RecordBatch:
        return _row(
            kind=kind,
            rows=len(rows),
            content=as_bytes(rows.select(list(self._cutting.history_schema))),
            **{name: pc.max(rows[name]).as_py() for name in MOST},
            **{name: pc.sum(rows[name]).as_py() for name in COUNTS},
        )


def _row(**values: object) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([values], schema=_SCHEMA)


def of_kind(pieces: DataFrame, kind: str) -> DataFrame:
    """The content of the pieces of a kind."""
    return pieces.where(F.col("kind") == kind).select("content")


def bucket_sizes(pieces: DataFrame) -> pd.DataFrame:
    """How many rows each kind and bucket has, and their length, in the order of the rows."""
    found = unpacked(of_kind(pieces, _BUCKETS), _BUCKET_SIZES).groupBy("kind", "bucket")
    rows = found.agg(F.sum("rows").alias("rows")).collect()  # by Arrow they would come one by one
    sizes = pd.DataFrame(rows, columns=[*_BUCKET_SIZES])
    sizes = sizes.astype({"bucket": np.int64, "rows": np.int64})
    sizes["length"] = sizes["bucket"] // 2**_DRAWN_BITS
    return sizes.sort_values(["kind", "bucket"], ignore_index=True)


def of_histories(pieces: DataFrame) -> Row:
    """What the histories say together: rows, the greatest of MOST, the sums of COUNTS."""
    most, sums = ([how(name).alias(name) for name in names]
                  for how, names in ((F.max, MOST), (F.sum, ("rows", *COUNTS))))  # fmt: skip
    return pieces.where(F.col("kind") == HISTORY).agg(*most, *sums).collect()[0]
