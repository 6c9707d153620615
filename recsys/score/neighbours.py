"""A shelf that looks only where a user's best items probably are (faiss).

Shapes: B users, W width of a vector, N items, M best, C candidates, Q pairs of a user and an item.
"""

from __future__ import annotations

import sys
from pathlib import Path
from socket import gethostname
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys import ranking
from recsys.config import Neighbours
from recsys.encoding import Pairs
from recsys.errors import DataError
from recsys.ranking import Among
from recsys.score.shelf import ExactShelf
from recsys.score.vectors import Floats

Ints = npt.NDArray[np.int32]

# Vectors for each centre that is learnt, as faiss recommends.
_VECTORS_PER_CELL = 64


def build(path: Path, vectors_NW: Floats, settings: Neighbours, threads: int) -> None:
    """Writes an index of the vectors, by their inner product."""
    faiss = _faiss()
    faiss.omp_set_num_threads(threads)
    items, width = vectors_NW.shape
    cells = min(settings.cells or round(4 * items**0.5), items)
    centres = faiss.IndexFlatIP(width)
    index = faiss.IndexIVFFlat(centres, width, cells, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed = 1
    index.cp.max_points_per_centroid = _VECTORS_PER_CELL
    index.cp.min_points_per_centroid = 1
    index.train(np.ascontiguousarray(vectors_NW))
    index.add(np.ascontiguousarray(vectors_NW))
    faiss.write_index(index, str(path))


def _faiss() -> Any:
    """The package, in a worker.

    Raises:
        DataError: this node does not have it
    """
    try:
        import faiss
    except ImportError as error:
        raise DataError(
            "score.neighbours.above_items: expected the package faiss-cpu on every executor "
            f"(pip install recsys[neighbours] before make package), found on {gethostname()} in "
            f"{sys.prefix}: {error}"
        ) from None
    return faiss


class NeighbourShelf:
    """Compares a user with the items of the cells that are nearest.

    What pairs score beyond the product is exact: their items are looked at in any case. A user for
    whom these cells do not hold enough items is compared with all.

    Args:
        exact: the same items
        index: the file of `build`
        settings: how many cells a search looks into
        threads: of a search
    """

    def __init__(self, exact: ExactShelf, index: Path, settings: Neighbours, threads: int) -> None:
        faiss = _faiss()
        faiss.omp_set_num_threads(threads)
        self._exact = exact
        self.items = exact.items
        self._index = faiss.read_index(str(index), faiss.IO_FLAG_MMAP)
        self._few = faiss.SearchParametersIVF(nprobe=settings.probes)
        self._all = faiss.SearchParametersIVF(nprobe=self._index.nlist)

    def __len__(self) -> int:
        return len(self.items)

    def best(
        self, vectors_BW: Floats, pairs: Pairs, count: int, among: Among | None = None
    ) -> tuple[Floats, Ints]:
        """As Shelf.best, save that an item of a cell not looked into is not found.

        Among some items of each user's own it is exact: no cell tells where these are.
        """
        if among is not None:
            return self._exact.best(vectors_BW, pairs, count, among)
        is_here = self._exact.place_V[pairs.item] >= 0
        pairs = Pairs(pairs.row[is_here], pairs.item[is_here], pairs.score[is_here]).summed()
        pairs_of_B = np.bincount(pairs.row, minlength=len(vectors_BW))
        vectors_BW = np.ascontiguousarray(vectors_BW)
        score_BC, place_BC = self._search(vectors_BW, np.minimum(count + pairs_of_B, len(self)))
        item_BC = self.items[np.maximum(place_BC, 0)]
        score_BC = np.where(place_BC >= 0, score_BC, -np.inf)
        size = len(self._exact.place_V)
        key_BC = np.arange(len(vectors_BW))[:, None] * size + item_BC
        score_BC[np.isin(key_BC, pairs.row.astype(np.int64) * size + pairs.item)] = -np.inf
        own_score, own_item = self._own(vectors_BW, pairs, pairs_of_B)
        return _best(
            np.concatenate([score_BC, own_score], axis=1),
            np.concatenate([item_BC, own_item], axis=1),
            count,
        )

    def _search(
        self, vectors_BW: Floats, wanted_B: npt.NDArray[np.int64]
    ) -> tuple[Floats, npt.NDArray[np.int64]]:
        """Scores and places of at least so many items of each user; -inf and -1 behind them.

        Each user is searched for alike, whoever is in the block.
        """
        size_B = np.minimum(2 ** np.ceil(np.log2(wanted_B)).astype(np.int64), len(self))
        shape = (len(vectors_BW), int(size_B.max(initial=0)))
        score_BC, place_BC = np.full(shape, -np.inf, np.float32), np.full(shape, -1, np.int64)
        for size in np.unique(size_B):
            row = np.flatnonzero(size_B == size)
            score, place = self._index.search(vectors_BW[row], int(size), params=self._few)
            lacks = (place >= 0).sum(axis=1) < wanted_B[row]
            if lacks.any():
                found = self._index.search(vectors_BW[row[lacks]], int(size), params=self._all)
                score[lacks], place[lacks] = found
            score_BC[row, :size], place_BC[row, :size] = score, place
        return score_BC, place_BC

    def _own(
        self, vectors_BW: Floats, pairs: Pairs, pairs_of_B: npt.NDArray[np.int64]
    ) -> tuple[Floats, Ints]:
        """Scores and items of the pairs, a row a user; -inf where a user has fewer than others."""
        vectors_QW = self.vectors(pairs.item)
        score_Q = np.einsum("qw,qw->q", vectors_BW[pairs.row], vectors_QW) + pairs.score
        shape = (len(vectors_BW), int(pairs_of_B.max(initial=0)))
        score, item = np.full(shape, -np.inf, np.float32), np.zeros(shape, np.int32)
        first_B = np.cumsum(pairs_of_B) - pairs_of_B
        column_Q = np.arange(len(pairs.row)) - first_B[pairs.row]
        score[pairs.row, column_Q] = score_Q
        item[pairs.row, column_Q] = pairs.item
        return score, item

    def vectors(self, item_BM: Ints) -> Floats:
        """As Shelf.vectors."""
        return self._exact.vectors(item_BM)


def _best(score_BC: Floats, item_BC: Ints, count: int) -> tuple[Floats, Ints]:
    """The best of the candidates; of equal ones the lower item, as everywhere."""
    by_item = np.argsort(item_BC, axis=1, kind="stable")
    score_BC = np.take_along_axis(score_BC, by_item, axis=1)
    item_BC = np.take_along_axis(item_BC, by_item, axis=1)
    score_BM, place_BM = (part.numpy() for part in ranking.top_k(score_BC, count))
    return score_BM, np.take_along_axis(item_BC, place_BM, axis=1)
