"""Clean events become rows of sequences: one sort within subjects, one pass with NumPy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from recsys.prepare.bundles import as_bytes
from recsys.prepare.encoder import Encoder
from recsys.prepare.event_numbers import normalized
from recsys.prepare.packed import ARRAYS
from recsys.prepare.rows import COUNTS, EARLIER, HISTORY, MOST, Cutting
from recsys.prepare.stream import RowStream
from recsys.prepare.walk import Pass


def cut(encoder: Encoder, cutting: Cutting) -> Pass:
    """Cuts every subject's history into the rows of the splits, its latest events and those before.

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
    """The rows of splits packed one by one; the histories, and what was before, together in a row.

    Such a row has the number of them as its length, the greatest of MOST, the sums of COUNTS and
    the bytes of a table of HISTORIES in place of arrays.
    """
    is_whole = pc.is_in(rows["kind"], pa.array([HISTORY, EARLIER]))
    of_splits = cutting.packing.packed(rows.filter(pc.invert(is_whole)))
    yield of_splits
    for kind in (HISTORY, EARLIER):
        own = pa.Table.from_batches([rows.filter(pc.equal(rows["kind"], kind))])
        if len(own):
            row = {
                "kind": kind,
                "length": len(own),
                ARRAYS: as_bytes(own.select(list(cutting.history_schema))),
                **{name: pc.max(own[name]).as_py() for name in MOST},
                **{name: pc.sum(own[name]).as_py() for name in COUNTS},
            }
            yield pa.RecordBatch.from_pylist([row], schema=of_splits.schema)
