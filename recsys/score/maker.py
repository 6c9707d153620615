"""Makes the lists of a block: the best items, a merchant's order, limits and shares.

Shapes: B users, W width of a vector, M candidates, P pairs of a user and an item.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.encoding import Pairs
from recsys.ranking import Among
from recsys.score.arrange import Lists, diverse_order
from recsys.score.limits import Room
from recsys.score.plan import Plan
from recsys.score.shelf import Shelf
from recsys.score.vectors import Floats
from recsys.tiles import TILE

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]

# So many times a list's length are looked at first where limits may use up the best items.
_GROWTH = 4
# Users whose lists go on together, always as many (recsys.tiles).
_GO_ON_TOGETHER = 3 * TILE


@dataclass(frozen=True)
class _Users:
    """Users of a block.

    Args:
        vectors_BW: theirs
        pairs: what theirs score more or less
    """

    vectors_BW: Floats
    pairs: Pairs

    def some(self, row: npt.NDArray[np.intp], together: int) -> _Users:
        """Some of them, the first ones again until there are so many."""
        pairs = self.pairs.of_rows(row, len(self.vectors_BW))
        return _Users(self.vectors_BW[np.resize(row, together)], pairs)


class _Source:
    """Items that places of a list are filled from.

    Args:
        name: of schemas.SOURCES
        shelf: the items
        plan: what the lists shall be
        count: of a user's best items that are looked at together
    """

    def __init__(self, name: str, shelf: Shelf, plan: Plan, count: int) -> None:
        self.name, self.shelf = name, shelf
        self.count = min(len(shelf), count)
        self._limits = plan.limits
        self._room = Room(plan.limits, shelf.items)

    def best(self, users: _Users) -> tuple[Floats, Ints]:
        """The best items of each user."""
        return self.shelf.best(users.vectors_BW, users.pairs, self.count)

    def fill(self, lists: Lists, users: _Users, best: tuple[Floats, Ints], up_to_B: Longs) -> None:
        """Fills the lists up to a size, with the best items, then with those that come next.

        Limits may use up the best items of a user before its list is full. Then the best of those
        are looked at that it has room for, of this user alone, until it is full or has no more.
        """
        score_BM, item_BM = best
        self._limits.fill(lists, score_BM, item_BM, self.name, up_to_B)
        if self.count == len(self.shelf):
            return
        # A user that is left with no candidate has none behind them.
        short = np.flatnonzero((lists.size < up_to_B) & (score_BM > -np.inf).all(axis=1))
        together = min(len(up_to_B), _GO_ON_TOGETHER)
        for start in range(0, len(short), together):
            row = short[start : start + together]
            own = lists.of(row)
            self._go_on(own, users.some(row, together), up_to_B[row])
            lists.replace(row, own)

    def _go_on(self, lists: Lists, users: _Users, up_to_B: Longs) -> None:
        size_B = np.full(len(lists.size), -1)
        while (lists.size > size_B).any():
            size_B = lists.size.copy()
            has_more_B, is_open_BG = self._room.of(lists, users.pairs)
            is_short_B = has_more_B & (lists.size < up_to_B)
            if not is_short_B.any():
                return
            padded_BG = np.zeros((len(users.vectors_BW), is_open_BG.shape[1]), np.bool_)
            padded_BG[: len(is_open_BG)] = is_open_BG & is_short_B[:, None]
            among = Among(padded_BG, self._room.group_N)
            pairs = Pairs.joined([users.pairs, lists.as_left_out()])
            score_BM, item_BM = self.shelf.best(users.vectors_BW, pairs, self.count, among)
            rows = len(lists.size)
            self._limits.fill(lists, score_BM[:rows], item_BM[:rows], self.name, up_to_B)


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
        self._width = width
        rules = plan.score.rules
        wanted = plan.list_length * (_GROWTH if rules.at_most else 1)
        pool = rules.diversity_pool if rules.diversity else 0
        self._model = _Source("model", shelf, plan, max(wanted, pool))
        self._explored = None
        if explored is not None:
            self._explored = _Source("exploration", explored, plan, max(wanted, pool))

    def make(self, vectors_BW: Floats, pairs: Pairs, explored_B: Longs | None = None) -> Lists:
        """The lists of users with these vectors.

        Args:
            vectors_BW: of the users
            pairs: what theirs score more or less
            explored_B: places of each list that are for the explored items; none gives them none
        """
        users = _Users(vectors_BW, pairs)
        lists = self._plan.lists(len(vectors_BW))
        full_B = np.full(len(vectors_BW), lists.length)
        best = self._model.best(users)
        if self._plan.score.rules.diversity:
            best = self._diverse(*best)
        if self._explored is not None and explored_B is not None:
            self._model.fill(lists, users, best, full_B - explored_B)
            self._explored.fill(lists, users, self._explored.best(users), full_B)
        self._model.fill(lists, users, best, full_B)
        if self._explored is not None:
            lists.spread("exploration")
        return lists

    def _diverse(self, score_BM: Floats, item_BM: Ints) -> tuple[Floats, Ints]:
        """The candidates with the pool of the best in a diverse order."""
        rules = self._plan.score.rules
        pool = min(rules.diversity_pool, score_BM.shape[1])
        vectors_BMD = self._model.shelf.vectors(item_BM[:, :pool])[..., : self._width]
        order = np.tile(np.arange(score_BM.shape[1]), (len(score_BM), 1))
        order[:, :pool] = diverse_order(score_BM[:, :pool], vectors_BMD, rules.diversity)
        score_BM = np.take_along_axis(score_BM, order, axis=1)
        return score_BM, np.take_along_axis(item_BM, order, axis=1)
