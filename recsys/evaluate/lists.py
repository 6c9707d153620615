"""The ranked lists of many cases, as metrics read them, and what metrics know of the items.

Shapes: N cases, P targets of all cases, K length of the lists, V vocabulary, D width of a vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.schemas import FIRST_ITEM, PADDING

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Catalogue:
    """What metrics know of the items.

    Args:
        train_count: events of train of each item [V]
        category: of each item, an index of the attribute that tells kinds apart; none without [V]
        direction: of each item's vector, of length 1 [V, D]; none without
        known_size: indexes from here on the model cannot know; none: it knows all
    """

    train_count: Longs
    category: Ints | None = None
    direction: npt.NDArray[np.float32] | None = None
    known_size: int | None = None

    def is_known(self, item_P: Ints) -> Bools:
        """Whether the vocabulary has an item and the model can know it [P]."""
        is_item_P = item_P >= FIRST_ITEM
        return is_item_P if self.known_size is None else is_item_P & (item_P < self.known_size)

    @cached_property
    def frequency_rank(self) -> Longs:
        """Each item's place by falling events of train, from 0 on, ties by index [V].

        Of all kinds of events, where the reference `popular` goes by what was bought in all that it
        learnt from. Not its index: where days were added, items keep the index that they had
        before. What is no item stands behind all.
        """
        size = len(self.train_count)
        rank_V = np.full(size, size)
        by_count = np.argsort(-self.train_count[FIRST_ITEM:], kind="stable")
        rank_V[FIRST_ITEM + by_count] = np.arange(size - FIRST_ITEM)
        return rank_V

    @cached_property
    def self_information(self) -> Floats:
        """-log2 of each item's share of the events of train, one event added to each item [V].

        -log2((count + 1) / (all counts + items)), so that an item without an event has a value.
        """
        smoothed = self.train_count[FIRST_ITEM:] + 1.0
        bits = -np.log2(smoothed / smoothed.sum())
        return np.concatenate([np.zeros(FIRST_ITEM), bits])

    @cached_property
    def relative_count(self) -> Floats:
        """Events of train of each item over those of an average item [V]; 0 without any event."""
        counts = self.train_count[FIRST_ITEM:].astype(float)
        relative = counts / max(counts.mean(), np.finfo(float).tiny)
        return np.concatenate([np.zeros(FIRST_ITEM), relative])


@dataclass(frozen=True)
class Lists:
    """What the metrics of N cases are computed from.

    Args:
        rank: of each target, from 1; 0 where it is in no list [P]
        case: of each target, rising [P]
        target: the item of each target [P]
        targets: number of targets of each case, at least 1 [N]
        recommended: item indexes, best first, then PADDING [N, K]
        is_new: whether the user's history lacks the item [N, K]
        catalogue: of the items
    """

    rank: Ints
    case: Longs
    target: Ints
    targets: Longs
    recommended: Ints
    is_new: Bools
    catalogue: Catalogue

    def hits(self, k: int, gain_P: Floats | None = None) -> Floats:
        """Targets among the first k of each list, or the sum of their gains [N]."""
        found = self.found(k)
        weights = None if gain_P is None else gain_P[found]
        return np.bincount(self.case[found], weights, minlength=len(self.targets)).astype(float)

    def best_rank(self, k: int) -> Floats:
        """The best rank of a target among the first k; infinity where there is none [N]."""
        found = self.found(k)
        best = np.full(len(self.targets), np.inf)
        np.minimum.at(best, self.case[found], self.rank[found])
        return best

    def found(self, k: int) -> Bools:
        """Whether a target is among the first k [P]."""
        return (self.rank > 0) & (self.rank <= k)

    def mean_of_items(self, value_V: Floats, k: int) -> Floats:
        """The mean of the first k recommended items' values [N].

        A list shorter than k counts as it is; an empty one has 0.
        """
        first_NK = self.recommended[:, :k]
        is_item_NK = first_NK != PADDING
        total_N = np.where(is_item_NK, value_V[first_NK], 0.0).sum(axis=1)
        return np.asarray(total_N / np.maximum(is_item_NK.sum(axis=1), 1))


def read_lists(cases: pa.RecordBatch, length: int, catalogue: Catalogue) -> Lists:
    """Rows of one system, as metrics read them.

    Args:
        cases: targets, ranks, recommended and is_new of schemas.CASES
        length: K, of the longest list
        catalogue: of the items
    """
    case_P, _ = _places(cases.column("targets"))
    case_n, place_n = _places(cases.column("recommended"))
    recommended_NK = np.full((cases.num_rows, length), PADDING, np.int32)
    is_new_NK = np.zeros((cases.num_rows, length), bool)
    is_first_n = place_n < length
    where = case_n[is_first_n], place_n[is_first_n]
    recommended_NK[where] = cases.column("recommended").flatten().to_numpy()[is_first_n]
    is_new = cases.column("is_new").flatten().to_numpy(zero_copy_only=False)
    is_new_NK[where] = is_new[is_first_n]
    return Lists(
        rank=cases.column("ranks").flatten().to_numpy(),
        case=case_P,
        target=cases.column("targets").flatten().to_numpy(),
        targets=np.bincount(case_P, minlength=cases.num_rows),
        recommended=recommended_NK,
        is_new=is_new_NK,
        catalogue=catalogue,
    )


def _places(lists: pa.ListArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The list of each entry, and its place in that list."""
    length = lists.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
    start = np.cumsum(length) - length
    place = np.arange(length.sum()) - np.repeat(start, length)
    return np.repeat(np.arange(len(length)), length), place
