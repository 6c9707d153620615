"""Metrics of one ranked list each, for many cases at once.

A case has targets (the distinct items of the step to predict) and a ranked list. A target that
is unknown to the vocabulary cannot be found: it has rank 0 and still counts as a target.

Shapes: N cases, P targets of all cases, K length of the lists, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.schemas import FIRST_ITEM, PADDING

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Lists:
    """What the metrics of N cases are computed from.

    Args:
        rank: of each target, from 1; 0 where it is in no list [P]
        case: of each target [P]
        targets: number of targets of each case, at least 1 [N]
        recommended: item indexes, best first, then PADDING [N, K]
        self_information: of each item, from `self_information` [V]
    """

    rank: Ints
    case: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]
    recommended: Ints
    self_information: Floats

    def hits(self, k: int, gain_P: Floats | None = None) -> Floats:
        """Targets among the first k of each list, or the sum of their gains [N]."""
        found = self._found(k)
        weights = None if gain_P is None else gain_P[found]
        return np.bincount(self.case[found], weights, minlength=len(self.targets)).astype(float)

    def best_rank(self, k: int) -> Floats:
        """The best rank of a target among the first k; infinity where there is none [N]."""
        found = self._found(k)
        best = np.full(len(self.targets), np.inf)
        np.minimum.at(best, self.case[found], self.rank[found])
        return best

    def _found(self, k: int) -> npt.NDArray[np.bool_]:
        return (self.rank > 0) & (self.rank <= k)


def recall(lists: Lists, k: int) -> Floats:
    """Share of the targets that are among the first k: hits / targets [N]."""
    return lists.hits(k) / lists.targets


def precision(lists: Lists, k: int) -> Floats:
    """Share of the first k places that hold a target: hits / k [N]."""
    return lists.hits(k) / k


def f1(lists: Lists, k: int) -> Floats:
    """Harmonic mean of a case's precision and recall [N].

    2 P R / (P + R) = 2 hits / (k + targets); 0 without a hit (van Rijsbergen, 1979).
    """
    return 2 * lists.hits(k) / (k + lists.targets)


def hit_rate(lists: Lists, k: int) -> Floats:
    """1 where any target is among the first k [N]."""
    return (lists.hits(k) > 0).astype(float)


def mrr(lists: Lists, k: int) -> Floats:
    """1 / the rank of the first target, 0 beyond k [N] (Voorhees, TREC-8, 1999)."""
    return 1 / lists.best_rank(k)


def ndcg(lists: Lists, k: int) -> Floats:
    """Discounted gain over that of the best list possible [N] (Järvelin & Kekäläinen, 2002).

    DCG = sum over the targets found of 1 / log2(rank + 1). The best list has the targets at its
    first min(k, targets) places.
    """
    gain_P = 1 / np.log2(np.maximum(lists.rank, 1) + 1)
    best_k = np.cumsum(1 / np.log2(np.arange(2, k + 2)))
    best_N = best_k[np.minimum(lists.targets, k) - 1]
    return np.asarray(lists.hits(k, gain_P) / best_N)


def novelty(lists: Lists, k: int) -> Floats:
    """Mean self-information of the first k recommended items, in bits [N].

    Zhou et al., PNAS 2010. Higher: less known items. A list shorter than k counts as it is; an
    empty one has 0.
    """
    first_NK = lists.recommended[:, :k]
    is_item_NK = first_NK != PADDING
    bits_N = np.where(is_item_NK, lists.self_information[first_NK], 0.0).sum(axis=1)
    return np.asarray(bits_N / np.maximum(is_item_NK.sum(axis=1), 1))


def self_information(train_counts_V: npt.NDArray[np.int64]) -> Floats:
    """-log2 of each item's share of the events of train, one event added to each item [V].

    -log2((count + 1) / (all counts + items)), so that an item without an event has a value.
    """
    smoothed = train_counts_V[FIRST_ITEM:] + 1.0
    bits = -np.log2(smoothed / smoothed.sum())
    return np.concatenate([np.zeros(FIRST_ITEM), bits])


# The means of these over all cases are the figures of a system.
PER_CASE: Mapping[str, Callable[[Lists, int], Floats]] = {
    "recall": recall,
    "precision": precision,
    "f1": f1,
    "hit_rate": hit_rate,
    "mrr": mrr,
    "ndcg": ndcg,
    "novelty": novelty,
}
