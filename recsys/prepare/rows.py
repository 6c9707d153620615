"""What becomes of a history: rows of the splits, the latest events and what was before them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from recsys.arrays import arrow_schema
from recsys.prepare.cutting import Limits
from recsys.prepare.packed import Packing
from recsys.prepare.purchases import Purchases
from recsys.prepare.queries import Queries
from recsys.prepare.sessions import Rules
from recsys.scale import Scale
from recsys.schemas import HISTORIES, SPLITS, VALUE_WEIGHT, with_inputs

HISTORY = "history"
EARLIER = "earlier"
KINDS = (*SPLITS, HISTORY, EARLIER)

# A row of a split, or (kind "history") the latest events of a subject, or (kind "earlier") a piece
# of what was before these or is more at one instant than a step has room for, of its real length.
# The counts are of the whole subject and stand on its history alone.
ROWS: dict[str, str] = {
    "kind": "string",
    "sequence_id": "string",
    "user_id": "string",
    "length": "int",
    "steps": "int",
    "most_step_events": "int",
    "first_step": "bigint",
    "item": "array<int>",
    "event_type": "array<int>",
    "gap_seconds": "array<int>",
    "session_start": "array<int>",
    "step": "array<int>",
    "timestamp": "array<bigint>",
    "target": "array<int>",
    "purchase": "array<int>",
    "split": "array<int>",
    "cut_events": "bigint",
    "stray_events": "bigint",
    "train_steps": "bigint",
    "valid_steps": "bigint",
    "test_steps": "bigint",
}

MOST = ("steps", "most_step_events")
_OF_HISTORIES = ("first_step", "split")
COUNTS = ("cut_events", "stray_events", *(f"{split}_steps" for split in SPLITS))


def rows_schema(inputs: Iterable[str]) -> dict[str, str]:
    """ROWS with more arrays (schemas.with_inputs), before the counts."""
    arrays = with_inputs({name: ROWS[name] for name in ROWS if name not in COUNTS}, inputs)
    return {**arrays, **{name: ROWS[name] for name in COUNTS}}


def packing(inputs: Iterable[str]) -> Packing:
    """Of the rows of splits: rows_schema() without what histories alone have, or are asked for."""
    others = (*_OF_HISTORIES, *MOST, *COUNTS)
    schema = rows_schema(inputs)
    return Packing({name: schema[name] for name in schema if name not in others})


@dataclass(frozen=True)
class Cutting:
    """What the cutting depends on.

    Args:
        limits: of a row
        sessions: when a session ends; none where every event's session is named
        by_session: whether a session is a subject of its own
        purchases: what the labels depend on; none gives no labels
        inputs: the arrays that not every dataset has, VALUE_WEIGHT among them
        queries: how queries become ids; none where there are none
        whole_sessions: whether what a session goes on with in a later split is of no split
        interleaved: whether a user's named sessions may go on when others have begun
        numbers: how those of the inputs that are numbers are normalized
    """

    limits: Limits
    sessions: Rules | None
    by_session: bool
    purchases: Purchases | None = None
    inputs: tuple[str, ...] = ()
    queries: Queries | None = None
    whole_sessions: bool = False
    interleaved: bool = True
    numbers: Mapping[str, Scale] = field(default_factory=dict)

    @property
    def schema(self) -> dict[str, str]:
        """Of the rows."""
        return rows_schema(self.inputs)

    @property
    def history_schema(self) -> dict[str, str]:
        """HISTORIES with the arrays of this log, as of those of EARLIER."""
        return with_inputs(HISTORIES, [name for name in self.inputs if name != VALUE_WEIGHT])

    @property
    def packing(self) -> Packing:
        """Of the rows of splits."""
        return packing(self.inputs)


def empty(schema: Mapping[str, str] = ROWS) -> pa.RecordBatch:
    """No rows."""
    return pa.RecordBatch.from_pylist([], schema=arrow_schema(schema))
