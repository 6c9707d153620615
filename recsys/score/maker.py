"""Makes the lists of a block: the best items, a merchant's order, limits and shares.

Shapes: B users, W width of a vector, M candidates, P pairs of a user and an item.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recsys.encoding import Pairs
from recsys.score.arrange import Lists, diverse_order
from recsys.score.plan import Plan
from recsys.score.shelf import Shelf
from recsys.score.vectors import Floats

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]

# Scores of candidates that are in memory at once when a list needs many of them.
_CANDIDATES_AT_ONCE = 1 << 22
_GROWTH = 4


class ListMaker:
    """Makes lists by a plan.

    Args:
        plan: what the lists shall be
        shelf: the items that may be recommended
        explored: those of them that have a share of their own; none where there is no share
        width: entries of an item's vector that say what it is like; after them comes its bias
    """

    def __init__(self, plan: Plan, shelf: Shelf, explored: Shelf | None, width: int) -> None:
        self._plan = plan
        self._shelf = shelf
        self._explored = explored
        self._width = width
        rules = plan.score.rules
        wanted = plan.list_length * (_GROWTH if rules.at_most else 1)
        pool = rules.diversity_pool if rules.diversity else 0
        self._first_count = min(len(shelf), max(wanted, pool))

    def make(self, vectors_BW: Floats, pairs: Pairs, explored_B: Longs | None = None) -> Lists:
        """The lists of users with these vectors.

        Limits may use up all candidates of a user before its list is full: then more of them are
        looked at, of this user alone, until the list is full or there is no more.

        Args:
            vectors_BW: of the users
            pairs: what theirs score more or less
            explored_B: places of each list that are for the explored items; none gives them none
        """
        count = self._first_count
        if explored_B is None:
            explored_B = np.zeros(len(vectors_BW), np.int64)
        lists, is_short_B = self._filled(vectors_BW, pairs, explored_B, count)
        users = len(vectors_BW)
        while count < len(self._shelf) and is_short_B.any():
            count = min(count * _GROWTH, len(self._shelf))
            at_once = max(1, min(users, _CANDIDATES_AT_ONCE // count))
            short = np.flatnonzero(is_short_B)
            for start in range(0, len(short), at_once):
                row = short[start : start + at_once]
                padded = np.resize(row, at_once)  # one shape, so that all get the same last bits
                own = pairs.of_rows(row, users)
                filled = self._filled(vectors_BW[padded], own, explored_B[padded], count)
                again, is_short_B[row] = _first(filled, row)
                lists.replace(row, again)
        if self._explored is not None:
            lists.spread("exploration")
        return lists

    def _filled(
        self, vectors_BW: Floats, pairs: Pairs, explored_B: Longs, count: int
    ) -> tuple[Lists, npt.NDArray[np.bool_]]:
        """Lists out of so many candidates, and which of them more candidates would change [B]."""
        plan = self._plan
        score_BM, item_BM = self._shelf.best(vectors_BW, pairs, count)
        may_go_on_B = (score_BM[:, -1] > -np.inf) & (count < len(self._shelf))
        if plan.score.rules.diversity:
            score_BM, item_BM = self._diverse(score_BM, item_BM)
        lists = plan.lists(len(vectors_BW))
        is_short_B = np.zeros(len(vectors_BW), np.bool_)
        if self._explored is not None:
            model_places_B = plan.list_length - explored_B
            lists.take(score_BM, item_BM, "model", model_places_B)
            lacks_B = lists.size < model_places_B  # what is new would take these places, too
            few = min(len(self._explored), count)
            rare_BM, rare_item_BM = self._explored.best(vectors_BW, pairs, few)
            lists.take(rare_BM, rare_item_BM, "exploration")
            is_short_B = (rare_BM[:, -1] > -np.inf) & (few < len(self._explored))
            is_short_B &= lists.size < lists.length
            is_short_B |= may_go_on_B & lacks_B
        lists.take(score_BM, item_BM, "model")
        return lists, is_short_B | (may_go_on_B & (lists.size < lists.length))

    def _diverse(self, score_BM: Floats, item_BM: Ints) -> tuple[Floats, Ints]:
        """The candidates with the pool of the best in a diverse order."""
        rules = self._plan.score.rules
        pool = min(rules.diversity_pool, score_BM.shape[1])
        vectors_BMD = self._shelf.vectors(item_BM[:, :pool])[..., : self._width]
        order = np.tile(np.arange(score_BM.shape[1]), (len(score_BM), 1))
        order[:, :pool] = diverse_order(score_BM[:, :pool], vectors_BMD, rules.diversity)
        score_BM = np.take_along_axis(score_BM, order, axis=1)
        return score_BM, np.take_along_axis(item_BM, order, axis=1)


def _first(
    filled: tuple[Lists, npt.NDArray[np.bool_]], row: npt.NDArray[np.intp]
) -> tuple[Lists, npt.NDArray[np.bool_]]:
    lists, is_short = filled
    return lists, is_short[: len(row)]
