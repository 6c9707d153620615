"""A set of items with their vectors, from which the best for each user are taken.

Shapes: B users, W width of a vector, V vocabulary, N items of the shelf, M best, P pairs.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from recsys import ranking
from recsys.encoding import Pairs
from recsys.ranking import Among
from recsys.score import vectors

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]


class Shelf(Protocol):
    """Finds the best items of a set."""

    items: Ints

    def __len__(self) -> int:
        """How many items there are."""

    def best(
        self, vectors_BW: Floats, pairs: Pairs, count: int, among: Among | None = None
    ) -> tuple[Floats, Ints]:
        """Scores [B, M] and indexes in the vocabulary [B, M], best first; -inf where none is."""

    def vectors(self, item_BM: Ints) -> Floats:
        """The vectors of items of the shelf [B, M, W]."""


class ExactShelf:
    """Compares a user with every item, block by block.

    Args:
        items: indexes in the vocabulary [N], rising
        vectors_NW: of these items
        block_items: items that are scored at once
        size: of the vocabulary
    """

    def __init__(self, items: Ints, vectors_NW: Floats, block_items: int, size: int) -> None:
        self.items = items
        self.vectors_NW = vectors_NW
        self._blocks = vectors.blocks(vectors_NW, block_items)
        self.place_V = np.full(size, -1, np.int32)
        self.place_V[items] = np.arange(len(items), dtype=np.int32)

    def __len__(self) -> int:
        return len(self.items)

    def best(
        self, vectors_BW: Floats, pairs: Pairs, count: int, among: Among | None = None
    ) -> tuple[Floats, Ints]:
        """As Shelf.best."""
        place_P = self.place_V[pairs.item]
        is_here = place_P >= 0
        added = ranking.Added(pairs.row[is_here], place_P[is_here], pairs.score[is_here])
        score_BM, place_BM = ranking.best_of_blocks(vectors_BW, self._blocks, added, count, among)
        return score_BM, self.items[place_BM]

    def vectors(self, item_BM: Ints) -> Floats:
        """As Shelf.vectors."""
        return np.asarray(self.vectors_NW[self.place_V[item_BM]])
