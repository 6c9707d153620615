"""Metrics of one ranked list each, for many cases at once.

A case has targets (the distinct items of the step to predict) and a ranked list. A target that
is unknown to the vocabulary cannot be found: it has rank 0 and still counts as a target. So has,
in the model's lists, one that the model cannot know (of the vocabulary's tail). No two targets
of a case have the same rank: of what is tied they have the last places (ranking.target_ranks), with
which every metric of ranks is as low as any arrangement of the tie can make it.

Shapes: N cases, P targets of all cases, K length of the lists, D width of a vector.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from recsys.evaluate.lists import Catalogue, Floats, Lists
from recsys.schemas import FIRST_ITEM, PADDING


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


def average_precision(lists: Lists, k: int) -> Floats:
    """Mean precision at the places of the targets [N]; its mean over cases is MAP.

    The sum over the targets found of (targets found up to its rank) / rank, over min(k, targets)
    (Manning, Raghavan & Schütze, 2008, 8.4; cut at k).
    """
    key_P = lists.case * (int(lists.rank.max(initial=0)) + 1) + lists.rank
    found = lists.found(k)
    sorted_key = np.sort(key_P[found])
    case = lists.case[found]
    first = np.searchsorted(lists.case[found], case)  # targets found in the cases before
    up_to_rank = np.searchsorted(sorted_key, key_P[found], side="right") - first
    gain_P = np.zeros(len(key_P))
    gain_P[found] = up_to_rank / lists.rank[found]
    return np.asarray(lists.hits(k, gain_P) / np.minimum(lists.targets, k))


def novelty(lists: Lists, k: int) -> Floats:
    """Mean self-information of the first k recommended items, in bits [N].

    Zhou et al., PNAS 2010. Higher: less known items.
    """
    return lists.mean_of_items(lists.catalogue.self_information, k)


def new_items(lists: Lists, k: int) -> Floats:
    """Share of the first k recommended items that the user's history lacks [N]; 0 if empty."""
    is_item_NK = lists.recommended[:, :k] != PADDING
    new_N = (lists.is_new[:, :k] & is_item_NK).sum(axis=1)
    return np.asarray(new_N / np.maximum(is_item_NK.sum(axis=1), 1))


def serendipity(lists: Lists, k: int) -> Floats:
    """Share of the k places that hold a target which frequency alone would not have named [N].

    Ge, Delgado-Battenfeld & Jannach (RecSys 2010), with the k most frequent items of train as
    what a primitive method names.
    """
    is_unexpected_P = lists.catalogue.frequency_rank[lists.target] >= k
    return lists.hits(k, is_unexpected_P.astype(float)) / k


def popularity_bias(lists: Lists, k: int) -> Floats:
    """How many times as frequent in train the first k recommended items are as an average item [N].

    The average recommendation popularity of Yin et al. (VLDB 2012), over the catalogue's mean.
    """
    return lists.mean_of_items(lists.catalogue.relative_count, k)


def category_diversity(lists: Lists, k: int) -> Floats:
    """Share of the pairs of the first k recommended items that differ in category [N].

    Intra-list diversity (Ziegler et al., WWW 2005) with the distance 0 or 1; a list of fewer than
    two items has 0. Of items without a known category each is of one of its own.
    """
    if lists.catalogue.category is None:
        raise ValueError("expected items with a category, found none")
    first_NK = lists.recommended[:, :k]
    place_K = -1 - np.arange(first_NK.shape[1], dtype=np.int32)
    kind_NK = lists.catalogue.category[first_NK]
    is_known_NK = (first_NK != PADDING) & (kind_NK >= FIRST_ITEM)
    kind_NK = np.sort(np.where(is_known_NK, kind_NK, place_K), axis=1)
    # Of a sorted row: how many equal ones stand before each, so their sum is the alike pairs.
    place = np.broadcast_to(np.arange(kind_NK.shape[1]), kind_NK.shape)
    starts = np.ones(kind_NK.shape, bool)
    starts[:, 1:] = kind_NK[:, 1:] != kind_NK[:, :-1]
    start_NK = np.maximum.accumulate(np.where(starts, place, 0), axis=1)
    alike_N = (place - start_NK).sum(axis=1)
    return _share_of_pairs(lists, k, alike_N.astype(float))


def vector_diversity(lists: Lists, k: int) -> Floats:
    """One minus the mean cosine of the pairs of the first k recommended items' vectors [N].

    Intra-list diversity (Ziegler et al., WWW 2005) by the model's item vectors; a list of fewer
    than two items has 0. The cosines of all pairs sum up to (|sum of directions|² - items) / 2.
    """
    if lists.catalogue.direction is None:
        raise ValueError("expected items with vectors, found none")
    first_NK = lists.recommended[:, :k]
    is_item_NK = first_NK != PADDING
    directions_NKD = lists.catalogue.direction[first_NK].astype(float) * is_item_NK[:, :, None]
    total_ND = directions_NKD.sum(axis=1)
    own_N = np.square(directions_NKD).sum(axis=(1, 2))
    return _share_of_pairs(lists, k, (np.square(total_ND).sum(axis=1) - own_N) / 2)


def _share_of_pairs(lists: Lists, k: int, alike_N: Floats) -> Floats:
    items_N = (lists.recommended[:, :k] != PADDING).sum(axis=1)
    pairs_N = items_N * (items_N - 1) / 2
    return np.where(pairs_N > 0, 1 - alike_N / np.maximum(pairs_N, 1), 0.0)


Metric = Callable[[Lists, int], Floats]

# The means of these over all cases are the figures of a system.
PER_CASE: Mapping[str, Metric] = {
    "recall": recall,
    "precision": precision,
    "f1": f1,
    "hit_rate": hit_rate,
    "mrr": mrr,
    "ndcg": ndcg,
    "map": average_precision,
    "novelty": novelty,
    "new_items": new_items,
    "serendipity": serendipity,
    "popularity_bias": popularity_bias,
    "category_diversity": category_diversity,
    "vector_diversity": vector_diversity,
}


# Those that need nothing of the items.
OF_RANKS = ("recall", "precision", "f1", "hit_rate", "mrr", "ndcg", "map")


def available(catalogue: Catalogue, has_vectors: bool) -> list[str]:
    """The names of those that can be computed with what is known of the items."""
    lacks = set()
    if catalogue.category is None:
        lacks.add("category_diversity")
    if not has_vectors:
        lacks.add("vector_diversity")
    return [name for name in PER_CASE if name not in lacks]
