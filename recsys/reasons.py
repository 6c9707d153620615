"""Why an item was recommended: the past events without which its score would be lowest.

Shapes: B users, L and E events of a history, K length of a list, W width of a vector, M reasons.
"""

from __future__ import annotations

import numpy as np

from recsys.arrays import pad
from recsys.encoding import Encode, Encoded, Floats, Ints, Rows
from recsys.schemas import PADDING


def reasons(rows: Rows, item_BK: Ints, vectors_BKW: Floats, encode: Encode, most: int = 1) -> Ints:
    """The items of the events whose removal lowers the score most [B, K, most].

    Args:
        rows: the histories
        item_BK: the lists
        vectors_BKW: of their items
        encode: the model
        most: events

    Returns:
        indexes in the vocabulary, the strongest first, of equals the older; PADDING where the
        removal of no other event lowers the score
    """
    events = int((rows["step"] >= 0).sum(axis=1).max(initial=0))
    score_BK = _scores(encode(rows), item_BK, vectors_BKW)
    without_EBK = np.full((max(events, most), *item_BK.shape), np.inf, np.float32)
    for event in range(events):
        lowered_BK = _scores(encode(without(rows, event)), item_BK, vectors_BKW)
        is_reason_BK = (rows["step"][:, event : event + 1] >= 0) & (lowered_BK < score_BK)
        without_EBK[event] = np.where(is_reason_BK, lowered_BK, np.inf)
    event_BKM = np.argsort(without_EBK, axis=0, kind="stable")[:most].transpose(1, 2, 0)
    lowest_BKM = np.sort(without_EBK, axis=0)[:most].transpose(1, 2, 0)
    place_BKM = np.minimum(event_BKM, rows["item"].shape[1] - 1)
    item_BKM = np.take_along_axis(rows["item"][:, None, :], place_BKM, axis=2)
    return np.where(np.isfinite(lowest_BKM), item_BKM, PADDING).astype(np.int32)


def _scores(encoded: Encoded, item_BK: Ints, vectors_BKW: Floats) -> Floats:
    score_BK = np.einsum("bw,bkw->bk", encoded.vectors, vectors_BKW)
    pairs = encoded.pairs
    place = np.argsort(item_BK, axis=1)
    width = int(max(item_BK.max(initial=0), pairs.item.max(initial=0))) + 1
    key_BK = np.arange(len(item_BK))[:, None] * width + np.take_along_axis(item_BK, place, axis=1)
    key_P = pairs.row.astype(np.int64) * width + pairs.item
    found_P = np.searchsorted(key_BK.ravel(), key_P)
    is_listed = found_P < key_BK.size
    is_listed[is_listed] &= key_BK.ravel()[found_P[is_listed]] == key_P[is_listed]
    row, column = np.divmod(found_P[is_listed], item_BK.shape[1])
    np.add.at(score_BK, (row, place[row, column]), pairs.score[is_listed])
    return np.asarray(score_BK, np.float32)


def without(rows: Rows, event: int) -> Rows:
    """The histories without their event of this place; those that have no such event stay.

        item 7 3 9 | step 0 0 1 | gap 0 0 60     without event 2: item 7 3 | step 0 0 | gap 0 0

    A step goes with its last event: then later steps move up, the next step's gap takes in the one
    before, and it starts the session that the lost step started.
    """
    step_B1 = rows["step"][:, event : event + 1]
    is_lost_B1 = (step_B1 >= 0) & ((rows["step"] == step_B1).sum(axis=1, keepdims=True) == 1)
    is_next = is_lost_B1 & (rows["step"] == step_B1 + 1)
    gap_B1 = rows["gap_seconds"][:, event : event + 1]
    was_first_B1 = (step_B1 == 0) & (gap_B1 == 0)
    joined_gap = np.where(was_first_B1, 0, rows["gap_seconds"] + gap_B1)
    start = np.maximum(rows["session_start"], rows["session_start"][:, event : event + 1])
    changed = {
        **rows,
        "gap_seconds": np.where(is_next, joined_gap, rows["gap_seconds"]),
        "session_start": np.where(is_next, start, rows["session_start"]),
        "step": rows["step"] - (is_lost_B1 & (rows["step"] > step_B1)),
    }
    return {name: _deleted(values, event, pad(name)) for name, values in changed.items()}


def _deleted(values: Ints, event: int, pad: int) -> Ints:
    kept = np.delete(values, event, axis=1)
    return np.pad(kept, ((0, 0), (0, 1)), constant_values=pad).astype(values.dtype)
