"""Rows of sequences out of sorted events that arrive in batches.

A subject may be larger than any batch, so that what is still open is carried over: the events
that the next row may need (about two rows of them, three where targets are labelled) and a few
numbers.
"""

from __future__ import annotations

import pyarrow as pa

from recsys.prepare.chunk import Chunk, Open
from recsys.prepare.rows import Cutting, empty


class RowStream:
    """Feed it batches in order, then finish it.

    A batch has user_id, timestamp (microseconds), order, item, event_type, is_target, part (PART),
    the cutting's inputs, and session_id where sessions are named and the user is the subject;
    sorted by user_id, timestamp, order (equal for lines of one item at one instant), and target
    types first.
    """

    def __init__(self, cutting: Cutting) -> None:
        self._cutting = cutting
        self._carried: pa.Table | None = None
        self._open = Open()

    @property
    def carried_events(self) -> int:
        """Events that are kept for the next batch."""
        return 0 if self._carried is None else len(self._carried)

    def feed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows (ROWS) that no later event can change."""
        return self._advance(pa.Table.from_batches([batch]), final=False)

    def finish(self) -> pa.RecordBatch:
        """The rows that are left."""
        return self._advance(None, final=True)

    def _advance(self, new: pa.Table | None, final: bool) -> pa.RecordBatch:
        parts = [part for part in (self._carried, new) if part is not None and len(part)]
        if not parts:
            return empty(self._cutting.schema)
        table = pa.concat_tables(parts).combine_chunks()
        chunk = Chunk(table, self._cutting, self._open)
        complete = chunk.subject_count if final else chunk.subject_count - 1
        rows = chunk.rows(complete)
        if final:
            self._carried, self._open = None, Open()
        else:
            self._carried, self._open = chunk.rest()
        return rows
