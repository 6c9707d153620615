"""Clean events become rows of sequences: one sort within subjects, one pass with NumPy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa

from recsys.prepare.encoder import Encoder
from recsys.prepare.event_numbers import normalized
from recsys.prepare.pieces import Pieces
from recsys.prepare.rows import Cutting
from recsys.prepare.stream import RowStream
from recsys.prepare.walk import Pass


def cut(encoder: Encoder, cutting: Cutting, seed: int) -> Pass:
    """Cuts every subject's history into the rows of the splits, its latest events and those before.

    Args:
        encoder: of the events, which are in_order() of the subject; session_id may be null where
            cutting has rules
        cutting: what it depends on
        seed: of the order of rows

    Returns:
        what makes PIECES
    """

    def rows(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        stream, pieces = RowStream(cutting), Pieces(cutting, seed)
        for events in batches:
            batch = encoder.encoded(events)
            batch = cutting.queries.hashed(batch) if cutting.queries else batch
            batch = normalized(batch, cutting.numbers)
            yield from pieces.feed(stream.feed(batch))
        yield from pieces.feed(stream.finish())
        yield from pieces.finish()

    return rows
