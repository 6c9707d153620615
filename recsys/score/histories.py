"""What a block of histories says: vectors, and what single items gain or lose by it.

Shapes: B users, L events of a history, W width of a vector, P pairs of a user and an item.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.ranking import Ranker
from recsys.schemas import FIRST_ITEM
from recsys.score.shelf import Pairs

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
Rows = dict[str, Ints]

# What the model reads of a history.
INPUTS = ("item", "event_type", "gap_seconds", "session_start", "step")
PADS = {"step": -1}


@dataclass(frozen=True)
class Encoded:
    """Users as the model sees them.

    Args:
        vectors: [B, W]
        pairs: what items of their histories score more
    """

    vectors: Floats
    pairs: Pairs


Encode = Callable[[Rows], Encoded]


def read(batch: pa.RecordBatch, users: int) -> Rows:
    """The arrays [B, L] of a batch, filled up to so many users with empty histories.

    The number is always the same, as the last bits of a product may depend on its shape.
    """
    rows = {}
    for name in INPUTS:
        values = np.asarray(batch.column(name).flatten()).reshape(batch.num_rows, -1)
        fill = ((0, users - batch.num_rows), (0, 0))
        rows[name] = np.pad(values, fill, constant_values=PADS.get(name, 0))
    return rows


def encode(ranker: Ranker, rows: Rows, own_items: float = 0.0) -> Encoded:
    """The users' vectors, and what their own items add.

    Args:
        ranker: the model
        rows: of `read`
        own_items: added for each unit of log(1 + events of the item)
    """
    found = {name: values.numpy() for name, values in ranker.encode(rows).items()}
    pairs = Pairs(found["row"], found["item"], found["added"])
    if own_items:
        pairs = Pairs.joined([pairs, _own(rows["item"], own_items)])
    return Encoded(found["vectors"], pairs)


def _own(item_BL: Ints, weight: float) -> Pairs:
    row, place = np.nonzero(item_BL >= FIRST_ITEM)
    both, count = np.unique(np.stack([row, item_BL[row, place]]), axis=1, return_counts=True)
    return Pairs(both[0], both[1], np.float32(weight) * np.log1p(count).astype(np.float32))


def in_history(item_BL: Ints) -> Pairs:
    """Leaves out the items of the histories."""
    row, place = np.nonzero(item_BL >= FIRST_ITEM)
    return _left_out(row, item_BL[row, place])


def left_out(batch: pa.RecordBatch) -> Pairs:
    """Leaves out the items of the column of this name."""
    lists = batch.column("left_out")
    sizes = np.diff(np.asarray(lists.offsets))
    return _left_out(np.repeat(np.arange(len(lists)), sizes), np.asarray(lists.flatten()))


def _left_out(row: npt.NDArray[np.intp], item: npt.NDArray[np.int32]) -> Pairs:
    never = np.full(len(row), -np.inf, np.float32)
    return Pairs(row.astype(np.int32), item.astype(np.int32), never)
