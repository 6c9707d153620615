"""From the best items of each user to its list: order, limits, shares.

Shapes: B users, M candidates best first, K length of a list, D width, V vocabulary, C values that
an item has of an attribute at most, X values that there are, R lists that go on, N items.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from recsys.schemas import FIRST_ITEM, PADDING, SOURCES
from recsys.score.vectors import normalised

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

# Below all that a candidate can be worth.
_LAST = -1e30


class Lists:
    """Lists that are filled from the front, one candidate of every user at a time.

    Args:
        users: how many lists
        length: of a list
        values: attribute to the values of each item [V, C]; one below FIRST_ITEM is none
        at_most: attribute to the most items of a list with the same value; an item that has several
            counts for each of them

    Attributes:
        item: indexes in the vocabulary [B, K]; PADDING where a list has ended
        score: [B, K]
        source: places in schemas.SOURCES [B, K]
        size: of each list so far [B]
    """

    def __init__(
        self, users: int, length: int, values: Mapping[str, Ints], at_most: Mapping[str, int]
    ) -> None:
        self.item = np.full((users, length), PADDING, np.int32)
        self.score = np.zeros((users, length), np.float32)
        self.source = np.zeros((users, length), np.int8)
        self.size = np.zeros(users, np.int64)
        self._limits = [(values[name], most) for name, most in at_most.items()]
        self._counts = [
            np.zeros((users, int(value_VC.max(initial=0)) + 1), np.int32)
            for value_VC, _ in self._limits
        ]

    @property
    def length(self) -> int:
        """Of a full list."""
        return self.item.shape[1]

    def first(self, users: int) -> Lists:
        """The first of the lists."""
        return self._copy(slice(0, users))

    def repeated(self, times: int) -> Lists:
        """The first list so many times."""
        return self._copy(np.zeros(times, np.int64))

    def _copy(self, rows: slice | npt.NDArray[np.int64]) -> Lists:
        result = copy.copy(self)
        for name in ("item", "score", "source", "size"):
            setattr(result, name, getattr(self, name)[rows])
        return result

    def is_from(self, source: str) -> npt.NDArray[np.bool_]:
        """Where an item of the source stands [B, K]."""
        is_there = np.arange(self.length) < self.size[:, None]
        return np.asarray(is_there & (self.source == SOURCES.index(source)))

    def take(
        self,
        score_BM: Floats,
        item_BM: Ints,
        source: str,
        up_to: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Goes through the candidates in their order and takes what the limits allow.

        Args:
            score_BM: -inf where there is no candidate
            item_BM: indexes in the vocabulary
            source: of schemas.SOURCES
            up_to: fill each list to this size [B]; none fills them
        """
        full = self.length if up_to is None else up_to
        may_repeat = bool(self.size.any())
        for score_B, item_B in zip(score_BM.T, item_BM.T, strict=True):
            fits_B = (score_B > -np.inf) & (self.size < full)
            if may_repeat:
                fits_B &= ~(self.item == item_B[:, None]).any(axis=1)
            for (value_VC, most), count_BX in zip(self._limits, self._counts, strict=True):
                value_BC = value_VC[item_B]
                count_BC = np.take_along_axis(count_BX, value_BC, axis=1)
                fits_B &= ((count_BC < most) | (value_BC < FIRST_ITEM)).all(axis=1)
            row = np.flatnonzero(fits_B)
            if len(row) == 0 and (self.size >= full).all():
                return
            self._append(row, item_B[row], score_B[row], SOURCES.index(source))

    def replace(self, rows: npt.NDArray[np.intp], others: Lists) -> None:
        """Puts the first of other lists in the place of some rows."""
        for name in ("item", "score", "source", "size"):
            getattr(self, name)[rows] = getattr(others, name)[: len(rows)]

    def spread(self, source: str) -> None:
        """Spreads the items of a source evenly over each list: each ends one of equal parts."""
        is_there = np.arange(self.length) < self.size[:, None]
        is_spread = self.is_from(source)
        others = is_there & ~is_spread
        share = np.cumsum(is_spread, axis=1) / np.maximum(is_spread.sum(axis=1, keepdims=True), 1)
        middle = np.cumsum(others, axis=1) - 0.5
        middle /= np.maximum(others.sum(axis=1, keepdims=True), 1)
        place = np.where(is_spread, share, middle)
        order = np.argsort(np.where(is_there, place, 2), axis=1, kind="stable")
        for name in ("item", "score", "source"):
            setattr(self, name, np.take_along_axis(getattr(self, name), order, axis=1))

    def _append(self, row: npt.NDArray[np.intp], item: Ints, score: Floats, source: int) -> None:
        place = self.size[row]
        self.item[row, place] = item
        self.score[row, place] = score
        self.source[row, place] = source
        self.size[row] += 1
        for (value_VC, _), count_BX in zip(self._limits, self._counts, strict=True):
            count_BX[row[:, None], value_VC[item]] += 1


def most_possible(allowed: Ints, values: Mapping[str, Ints], at_most: Mapping[str, int]) -> int:
    """How many items a list under these limits can have at most.

    Of an item with several values the one that most items have is looked at: no bound is lower
    where values are nested, as those of a path are; elsewhere a list may end before.

    Args:
        allowed: items that may be recommended [N]
        values: as for Lists
        at_most: as for Lists
    """
    possible = len(allowed)
    for name, most in at_most.items():
        value_NC = values[name][allowed]
        items_X = np.bincount(value_NC.ravel(), minlength=FIRST_ITEM)
        items_X[:FIRST_ITEM] = 0
        widest_N1 = items_X[value_NC].argmax(axis=1)[:, None]
        items_X = np.bincount(np.take_along_axis(value_NC, widest_N1, axis=1)[:, 0])
        known = np.minimum(items_X[FIRST_ITEM:], most).sum()
        possible = min(possible, int(known + items_X[:FIRST_ITEM].sum()))
    return possible


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
