"""What a block of histories says: vectors, and what single items gain or lose by it.

Shapes: B users, L events of a history, W width of a vector, P pairs of a user and an item.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.saved_model import Encoder, Ranker

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
Rows = dict[str, npt.NDArray[Any]]

# What every model takes of a history; Trained.inputs is all that one takes.
INPUTS = ("item", "event_type", "gap_seconds", "session_start", "step")


@dataclass(frozen=True)
class Pairs:
    """What pairs of a row and an item score beyond the product of their vectors.

    Args:
        row: [P]
        item: index in the vocabulary [P]
        score: what is added [P]; -inf leaves the item out of the row's list
    """

    row: Ints
    item: Ints
    score: Floats

    def of_rows(self, chosen: npt.NDArray[np.intp], rows: int) -> Pairs:
        """Those of some of so many rows, which are numbered from 0 in their new order."""
        number = np.full(rows, -1, np.int32)
        number[chosen] = np.arange(len(chosen))
        is_chosen = number[self.row] >= 0
        return Pairs(number[self.row[is_chosen]], self.item[is_chosen], self.score[is_chosen])

    def summed(self) -> Pairs:
        """One entry a pair, ordered by row and item."""
        pair_2Q, of_P = np.unique(np.stack([self.row, self.item]), axis=1, return_inverse=True)
        score_Q = np.zeros(pair_2Q.shape[1], np.float32)
        np.add.at(score_Q, of_P, self.score)
        return Pairs(pair_2Q[0], pair_2Q[1], score_Q)

    @staticmethod
    def joined(parts: Sequence[Pairs]) -> Pairs:
        """All of them."""
        return Pairs(
            np.concatenate([part.row for part in parts]).astype(np.int32),
            np.concatenate([part.item for part in parts]).astype(np.int32),
            np.concatenate([part.score for part in parts]).astype(np.float32),
        )


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


def encode(model: Ranker | Encoder, rows: Rows) -> Encoded:
    """The users' vectors, and what their own items add."""
    found = {name: values.numpy() for name, values in model.encode(rows).items()}
    return Encoded(found["vectors"], Pairs(found["row"], found["item"], found["added"]))
