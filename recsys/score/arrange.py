"""Lists, and the order of what goes into them.

Shapes: B users, M candidates best first, K length of a list, D width.
"""

from __future__ import annotations

import copy

import numpy as np
import numpy.typing as npt

from recsys.encoding import Pairs
from recsys.schemas import PADDING, SOURCES
from recsys.score.vectors import normalised

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

# Below all that a candidate can be worth.
_LAST = -1e30


class Lists:
    """Lists that are filled from the front.

    Args:
        users: how many lists
        length: of a list

    Attributes:
        item: indexes in the vocabulary [B, K]; PADDING where a list has ended
        score: [B, K]
        source: places in schemas.SOURCES [B, K]
        size: of each list so far [B]
    """

    def __init__(self, users: int, length: int) -> None:
        self.item = np.full((users, length), PADDING, np.int32)
        self.score = np.zeros((users, length), np.float32)
        self.source = np.zeros((users, length), np.int8)
        self.size = np.zeros(users, np.int64)

    @property
    def length(self) -> int:
        """Of a full list."""
        return self.item.shape[1]

    @property
    def is_there(self) -> npt.NDArray[np.bool_]:
        """Where an item stands [B, K]."""
        return np.asarray(np.arange(self.length) < self.size[:, None])

    def first(self, users: int) -> Lists:
        """The first of the lists."""
        return self.of(slice(0, users))

    def repeated(self, times: int) -> Lists:
        """The first list so many times."""
        return self.of(np.zeros(times, np.intp))

    def of(self, rows: slice | npt.NDArray[np.intp]) -> Lists:
        """Some of the lists."""
        result = copy.copy(self)
        for name in ("item", "score", "source", "size"):
            setattr(result, name, getattr(self, name)[rows])
        return result

    def is_from(self, source: str) -> npt.NDArray[np.bool_]:
        """Where an item of the source stands [B, K]."""
        return np.asarray(self.is_there & (self.source == SOURCES.index(source)))

    def as_left_out(self) -> Pairs:
        """What leaves the items out that stand in the lists."""
        row, place = np.nonzero(self.is_there)
        never = np.full(len(row), -np.inf, np.float32)
        return Pairs(row.astype(np.int32), self.item[row, place], never)

    def append(self, row: npt.NDArray[np.intp], item: Ints, score: Floats, source: str) -> None:
        """Puts an item at the end of each of some lists."""
        place = self.size[row]
        self.item[row, place] = item
        self.score[row, place] = score
        self.source[row, place] = SOURCES.index(source)
        self.size[row] += 1

    def replace(self, rows: npt.NDArray[np.intp], others: Lists) -> None:
        """Puts the first of other lists in the place of some rows."""
        for name in ("item", "score", "source", "size"):
            getattr(self, name)[rows] = getattr(others, name)[: len(rows)]

    def spread(self, source: str) -> None:
        """Spreads the items of a source evenly over each list: each ends one of equal parts."""
        is_there = self.is_there
        is_spread = self.is_from(source)
        others = is_there & ~is_spread
        share = np.cumsum(is_spread, axis=1) / np.maximum(is_spread.sum(axis=1, keepdims=True), 1)
        middle = np.cumsum(others, axis=1) - 0.5
        middle /= np.maximum(others.sum(axis=1, keepdims=True), 1)
        place = np.where(is_spread, share, middle)
        order = np.argsort(np.where(is_there, place, 2), axis=1, kind="stable")
        for name in ("item", "score", "source"):
            setattr(self, name, np.take_along_axis(getattr(self, name), order, axis=1))


def diverse_order(score_BM: Floats, vectors_BMD: Floats, weight: float) -> Ints:
    """The order of maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998) [B, M].

    Next comes the candidate with the highest (1 - weight) * relevance - weight * similarity, where
    relevance is the score scaled to 0..1 over the user's candidates, and similarity the greatest
    cosine to a candidate that came before. Of equal ones the better scored comes first.

    Args:
        score_BM: best first; -inf where there is no candidate, which stays at the end
        vectors_BMD: of the candidates
        weight: of similarity, 0 to 1
    """
    is_one_BM = score_BM > -np.inf
    relevance_BM = (1 - weight) * _scaled(score_BM, is_one_BM)
    directions_BMD = normalised(vectors_BMD)
    cosine_BMM = directions_BMD @ directions_BMD.transpose(0, 2, 1)
    row_B = np.arange(len(score_BM))
    order_BM = np.zeros(score_BM.shape, np.int32)
    is_used_BM = np.zeros(score_BM.shape, np.bool_)
    nearest_BM = np.zeros(score_BM.shape, np.float32)
    for place in range(score_BM.shape[1]):
        value_BM = np.where(is_one_BM, relevance_BM - weight * nearest_BM, _LAST)
        best_B = np.where(is_used_BM, -np.inf, value_BM).argmax(axis=1)
        order_BM[:, place] = best_B
        is_used_BM[row_B, best_B] = True
        chosen_BM = cosine_BMM[row_B, best_B]
        nearest_BM = chosen_BM if place == 0 else np.maximum(nearest_BM, chosen_BM)
    return order_BM


def _scaled(score_BM: Floats, is_one_BM: npt.NDArray[np.bool_]) -> Floats:
    """The scores from 0, the lowest of a row, to 1, its highest; 0 where there is none."""
    low_B1 = np.where(is_one_BM, score_BM, np.inf).min(axis=1, keepdims=True)
    high_B1 = np.where(is_one_BM, score_BM, -np.inf).max(axis=1, keepdims=True)
    above_BM = np.where(is_one_BM, score_BM, 0) - np.where(np.isfinite(low_B1), low_B1, 0)
    span_B1 = np.where(high_B1 > low_B1, high_B1 - low_B1, 1)
    return np.where(is_one_BM, above_BM / span_B1, 0).astype(np.float32)
