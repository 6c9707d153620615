"""Probabilities of a purchase for pairs of a user and an item, from the users' histories.

Shapes: B users, P pairs.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys import tiles
from recsys.encoding import Ints, Rows
from recsys.saved_model import Encoder
from recsys.schemas import FIRST_ITEM, PAIR_SOURCES
from recsys.score import histories, mapped
from recsys.score.plan import Plan
from recsys.score.vectors import require_finite

_MODEL, _NO_HISTORY, _UNKNOWN_ITEM = range(len(PAIR_SOURCES))
_PAIRS_AT_ONCE = 4096


class Purchases:
    """How probable it is that users who see given items next buy them in that session."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        wanted = {"reads": mapped.reads(plan), "pair_reads": mapped.pair_reads(plan)}
        found = mapped.made(plan, wanted)
        self._encoder = Encoder(plan.encoder, found["reads"], found["pair_reads"])

    @staticmethod
    def in_order(batch: pa.RecordBatch) -> pa.RecordBatch:
        """By length, so that short histories are not padded to long ones."""
        return histories.by_length(batch)

    def lists(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """One row a pair of a block of at most batch_users.

        Args:
            batch: user_id, the arrays of a history, candidate_id and candidate
        """
        plan = self._plan
        rows = histories.read(batch, plan.block_rows, plan.inputs)
        candidates = batch.column("candidate")
        row_P = np.repeat(np.arange(batch.num_rows), np.diff(np.asarray(candidates.offsets)))
        item_P = np.asarray(candidates.flatten())
        source_P = np.where(plan.is_known(item_P), _MODEL, _UNKNOWN_ITEM)
        has_history_B = plan.is_known(rows["item"]).any(axis=1)
        source_P[~has_history_B[row_P]] = _NO_HISTORY
        is_asked_P = source_P == _MODEL
        probability_P = np.zeros(len(item_P), np.float32)
        subject = batch.column("user_id").take(pa.array(row_P))
        asked_P = probability(self._encoder, rows, row_P[is_asked_P], item_P[is_asked_P])
        require_finite(asked_P, subject.filter(pa.array(is_asked_P)), "user")
        probability_P[is_asked_P] = asked_P
        columns = [
            pa.array(["pairs"]).take(pa.array(np.zeros(len(row_P), np.int32))),
            subject,
            batch.column("candidate_id").flatten(),
            pa.array(probability_P, mask=~is_asked_P),
            pa.array(PAIR_SOURCES).take(pa.array(source_P)),
        ]
        return pa.RecordBatch.from_arrays(columns, list(plan.schema))


def probability(
    encoder: Encoder, rows: Rows, row_P: npt.NDArray[np.intp], item_P: Ints
) -> npt.NDArray[np.float32]:
    """The probability that an item which comes next is bought [P].

    Args:
        encoder: the model's
        rows: of histories.read
        row_P: of each pair
        item_P: index in the vocabulary
    """
    found_P = np.zeros(len(row_P), np.float32)
    for users, block in histories.of_one_shape(rows, int(row_P.max(initial=-1)) + 1):
        step_N = block["step"].max(axis=1) + 1
        own = np.flatnonzero(np.isin(row_P, users))
        for start in range(0, len(own), _PAIRS_AT_ONCE):
            here = own[start : start + _PAIRS_AT_ONCE]
            row = np.searchsorted(users, row_P[here])
            # Filled up with a pair at the end of the longest history that there can be, at least
            # one: further steps than any pair asks for are not looked at.
            fill = (0, tiles.whole(len(here) + 1) - len(here))
            row = np.pad(row, fill, constant_values=len(step_N) - 1)
            item = np.pad(item_P[here], fill, constant_values=FIRST_ITEM)
            found_P[here] = encoder.purchases(block, row, step_N[row], item).numpy()[: len(here)]
    return found_P
