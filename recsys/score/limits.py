"""At most so many items of a list may share a value.

Shapes: B lists, K length of a list, V vocabulary, C values that an item has of an attribute at
most, X values that there are, M candidates best first, N items, G groups of items with the same
values, P pairs.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from recsys.encoding import Pairs
from recsys.schemas import FIRST_ITEM
from recsys.score.arrange import Lists

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


class Limits:
    """Which items a list still has room for.

    Args:
        values: attribute to the values of each item [V, C]; one below FIRST_ITEM is none
        at_most: attribute to the most items of a list with the same value; an item that has several
            counts for each of them
    """

    def __init__(self, values: Mapping[str, Ints], at_most: Mapping[str, int]) -> None:
        self._limits = [(values[name], most) for name, most in at_most.items()]

    def fill(
        self,
        lists: Lists,
        score_BM: Floats,
        item_BM: Ints,
        source: str,
        up_to: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Goes through candidates in their order; the lists take what they have room for.

        Args:
            lists: to be filled from where they end
            score_BM: -inf where there is no candidate
            item_BM: indexes in the vocabulary
            source: of schemas.SOURCES
            up_to: fill each list to this size [B]; none fills them
        """
        full = lists.length if up_to is None else up_to
        may_repeat = bool(lists.size.any())
        of_values = self._counted(lists)
        for score_B, item_B in zip(score_BM.T, item_BM.T, strict=True):
            fits_B = (score_B > -np.inf) & (lists.size < full)
            if may_repeat:
                fits_B &= ~(lists.item == item_B[:, None]).any(axis=1)
            for counted in of_values:
                fits_B &= counted.fits(item_B)
            row = np.flatnonzero(fits_B)
            if len(row) == 0 and (lists.size >= full).all():
                return
            lists.append(row, item_B[row], score_B[row], source)
            for counted in of_values:
                counted.add(row, item_B[row])

    def fitting(self, lists: Lists, item_N: Ints) -> Bools:
        """Which items each list has room for, were they not in it [B, N]."""
        fits_BN = np.ones((len(lists.size), len(item_N)), np.bool_)
        for counted in self._counted(lists):
            counted.narrow(fits_BN, item_N)
        return fits_BN

    def _counted(self, lists: Lists) -> list[_Counted]:
        return [_Counted(value_VC, most, lists) for value_VC, most in self._limits]

    def alike(self, item_N: Ints) -> tuple[Ints, Ints]:
        """Numbers of the groups of items that have the same values [N], and one of each [G]."""
        group_N, first_G = np.zeros(len(item_N), np.int64), np.zeros(1, np.int64)
        for value_VC, _ in self._limits:
            for value_N in value_VC[item_N].T:
                key_N = group_N * (int(value_N.max(initial=0)) + 1) + value_N
                _, first_G, group_N = np.unique(key_N, return_index=True, return_inverse=True)
        return group_N.astype(np.int32), item_N[first_G]


class _Counted:
    """How many items of each list have each value of an attribute.

    Args:
        value_VC: the values of each item
        most: items of a list with the same value
        lists: as they are
    """

    def __init__(self, value_VC: Ints, most: int, lists: Lists) -> None:
        self._value_VC, self._most = value_VC, most
        self._count_BX = np.zeros((len(lists.size), int(value_VC.max(initial=0)) + 1), np.int32)
        row, place = np.nonzero(lists.is_there)
        np.add.at(self._count_BX, (row[:, None], value_VC[lists.item[row, place]]), 1)

    def add(self, row: npt.NDArray[np.intp], item: Ints) -> None:
        """Counts an item more of each of some lists."""
        self._count_BX[row[:, None], self._value_VC[item]] += 1

    def fits(self, item_B: Ints) -> Bools:
        """Whether each list has room for an item of its own [B]."""
        value_BC = self._value_VC[item_B]
        count_BC = np.take_along_axis(self._count_BX, value_BC, axis=1)
        return np.asarray(((count_BC < self._most) | (value_BC < FIRST_ITEM)).all(axis=1))

    def narrow(self, fits_BN: Bools, item_N: Ints) -> None:
        """Takes from what fits each list the items that it has no room for."""
        is_open_BX = self._count_BX < self._most
        is_open_BX[:, :FIRST_ITEM] = True
        for value_N in self._value_VC[item_N].T:
            fits_BN &= is_open_BX[:, value_N]


class Room:
    """What lists still have room for, of the items that may be recommended.

    Args:
        limits: of a list
        item_N: the items, rising
    """

    def __init__(self, limits: Limits, item_N: Ints) -> None:
        self._limits = limits
        self.item_N = item_N
        self.group_N, self._first_G = limits.alike(item_N)
        self._items_G = np.bincount(self.group_N, minlength=len(self._first_G))

    def of(self, lists: Lists, left_out: Pairs) -> tuple[Bools, Bools]:
        """Whether any item would still be taken [B], and of which groups [B, G].

        Args:
            lists: as they are
            left_out: of these lists; those that score -inf are in none
        """
        is_open_BG = self._limits.fitting(lists, self._first_G)
        gone = Pairs.joined([lists.as_left_out(), left_out])
        is_gone = gone.score == -np.inf
        row, item = gone.row[is_gone], gone.item[is_gone]
        place_P = np.minimum(np.searchsorted(self.item_N, item), len(self.item_N) - 1)
        is_here = self.item_N[place_P] == item
        key_P = np.unique(row[is_here].astype(np.int64) * len(self.item_N) + place_P[is_here])
        row, place_P = np.divmod(key_P, len(self.item_N))
        gone_P = is_open_BG[row, self.group_N[place_P]]
        gone_B = np.bincount(row, gone_P, minlength=len(is_open_BG))
        open_B = np.array([self._items_G[is_open_G].sum() for is_open_G in is_open_BG])
        return open_B > gone_B, is_open_BG


def most_possible(allowed: Ints, values: Mapping[str, Ints], at_most: Mapping[str, int]) -> int:
    """How many items a list under these limits can have at most.

    Of an item with several values the one that most items have is looked at: no bound is lower
    where values are nested, as those of a path are; elsewhere a list may end before.

    Args:
        allowed: items that may be recommended [N]
        values: as for Limits
        at_most: as for Limits
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
