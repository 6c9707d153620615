"""Blocks of histories, and what their own items gain or lose.

Shapes: B users, L events of a history.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys import encoding
from recsys.arrays import matrix, pad
from recsys.config import Rules
from recsys.encoding import Encoded, Ints, Pairs, Rows
from recsys.saved_model import Encoder
from recsys.schemas import FIRST_ITEM
from recsys.score.subjects import SECONDS_PER_DAY
from recsys.score.vectors import require_finite
from recsys.tiles import TILE

# Room for events, and for steps: the more sizes there are, the less of it is empty, but the more
# blocks are not full.
_SIZES = np.array([8, *(size << power for power in range(20) for size in (16, 24))], np.int32)


def read(batch: pa.RecordBatch, users: int, inputs: Iterable[str]) -> Rows:
    """The arrays [B, L] of a batch, filled up to so many users with empty histories.

    Args:
        batch: of histories
        users: B, in whole tiles
        inputs: the arrays that the model reads
    """
    rows = {}
    for name in inputs:
        fill = ((0, users - batch.num_rows), (0, 0))
        values = matrix(batch.column(name), name)
        rows[name] = np.pad(values, fill, constant_values=pad(name))
    return rows


def by_length(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The histories in the order of the shapes that they are encoded in, and there by user.

    So that neither the order in which rows come nor how they were padded changes a block.
    """
    shape_B2 = _shapes(matrix(batch.column("step"), "step"))
    keys = {
        "events": shape_B2[:, 0], "steps": shape_B2[:, 1], "user_id": batch.column("user_id"),
    }  # fmt: skip
    order = pc.sort_indices(pa.table(keys), [(name, "ascending") for name in keys])
    return batch.take(order)


def _shapes(step_BL: Ints) -> Ints:
    """Room for events and for steps that each history is encoded with [B, 2]."""
    events_B, steps_B = (step_BL >= 0).sum(axis=1), step_BL.max(axis=1, initial=-1) + 1
    return np.asarray(_SIZES[np.searchsorted(_SIZES, np.stack([events_B, steps_B], axis=1))])


def of_one_shape(rows: Rows, users: int) -> Iterator[tuple[npt.NDArray[np.intp], Rows]]:
    """The histories, each among those of its own shape alone, in blocks of always as many.

    So a user's last bits do not depend on who else is in the block (recsys.tiles), and thereby not
    on the partitions.

    Args:
        rows: of `read`
        users: that there are

    Yields:
        the rows of these users, and their arrays: they are the first of a block
    """
    shape_B2 = _shapes(rows["step"][:users])
    for events, steps in np.unique(shape_B2, axis=0):
        row = np.flatnonzero((shape_B2 == (events, steps)).all(axis=1))
        yield row, _block(rows, row, events, steps)


def _encoded(encoder: Encoder, rows: Rows, users: int) -> Encoded:
    """The histories; those with which the rows are filled up have vectors of zeros."""
    vectors, pairs = [], []
    for row, block in of_one_shape(rows, users):
        found = encoding.encode(encoder, block)
        is_own_P = found.pairs.row < len(row)
        own = [values[is_own_P] for values in (found.pairs.row, found.pairs.item)]
        vectors.append((row, found.vectors[: len(row)]))
        pairs.append(Pairs(row[own[0]].astype(np.int32), own[1], found.pairs.score[is_own_P]))
    vectors_BW = np.zeros((len(rows["step"]), vectors[0][1].shape[1]), np.float32)
    for row, vectors_NW in vectors:
        vectors_BW[row] = vectors_NW
    return Encoded(vectors_BW, Pairs.joined(pairs))


def _block(rows: Rows, row: npt.NDArray[np.intp], events: int, steps: int) -> Rows:
    """Some of the rows in arrays of one shape, which a last tile without meaning fills.

    What the model says of the items of histories is one list: its last ones are these rows'.
    """
    block = {}
    for name, values in rows.items():
        own = values[row][:, :events]
        block[name] = np.full((len(values) + TILE, events), pad(name), values.dtype)
        block[name][: len(row), : own.shape[1]] = own
    block["item"][-TILE:] = FIRST_ITEM
    block["step"][-TILE:] = np.minimum(np.arange(events), steps - 1)
    return block


def encode(
    encoder: Encoder, rows: Rows, names: pa.StringArray, rules: Rules | None = None
) -> Encoded:
    """The users' vectors, and what their own items add.

    Args:
        encoder: the model's
        rows: of `read`
        names: of the users, who may be fewer than the rows
        rules: what own items gain beyond what the model says; none is nothing

    Raises:
        DataError: the model says of a user what is no number
    """
    encoded = _encoded(encoder, rows, len(names))
    require_finite(encoded.vectors, names, "user")
    own = encoded.pairs
    is_of_user_P = own.row < len(names)
    of_pairs = names.take(pa.array(own.row[is_of_user_P]))
    require_finite(own.score[is_of_user_P], of_pairs, "user")
    if rules is None or not rules.own_items:
        return encoded
    gained = _own(rows, rules.own_items, rules.half_life_days)
    return Encoded(encoded.vectors, Pairs.joined([encoded.pairs, gained]))


def _own(rows: Rows, weight: float, half_life_days: float | None) -> Pairs:
    """What own items gain for each unit of log(1 + their events, recent ones more)."""
    row, place = np.nonzero(rows["item"] >= FIRST_ITEM)
    both, pair = np.unique(np.stack([row, rows["item"][row, place]]), axis=1, return_inverse=True)
    value = np.ones(len(row))
    if half_life_days is not None:
        latest = rows["timestamp"].max(axis=1)[row]
        days = (latest - rows["timestamp"][row, place]) / SECONDS_PER_DAY
        value = np.exp2(-days / half_life_days)
    count = np.bincount(pair, value)
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
