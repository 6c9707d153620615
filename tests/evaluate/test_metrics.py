from __future__ import annotations

import math

import numpy as np
import pytest

from recsys.evaluate import metrics
from recsys.schemas import PADDING

LENGTH = 10
ITEMS = 30


def by_hand(
    name: str, ranks: list[int], recommended: list[int], counts: list[int], k: int
) -> float:
    """Each metric of one case, written out."""
    hits = [rank for rank in ranks if 0 < rank <= k]
    share_found, share_right = len(hits) / len(ranks), len(hits) / k
    if name == "recall":
        return share_found
    if name == "precision":
        return share_right
    if name == "f1":
        both = share_found + share_right
        return 2 * share_found * share_right / both if both else 0.0
    if name == "hit_rate":
        return 1.0 if hits else 0.0
    if name == "mrr":
        return 1 / min(hits) if hits else 0.0
    if name == "ndcg":
        best = sum(1 / math.log2(place + 1) for place in range(1, min(k, len(ranks)) + 1))
        return sum(1 / math.log2(rank + 1) for rank in hits) / best
    known = [item for item in recommended[:k] if item != PADDING]
    total = sum(count + 1 for count in counts[2:])
    bits = [-math.log2((counts[item] + 1) / total) for item in known]
    return sum(bits) / len(bits) if bits else 0.0


def random_cases(seed: int, cases: int) -> list[tuple[list[int], list[int]]]:
    """Ranks of the targets, and the list; some targets are in no list, some lists are short."""
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(cases):
        places = rng.permutation(np.arange(1, 3 * LENGTH))[: rng.integers(1, 2 * LENGTH)]
        ranks = [int(place) if place <= LENGTH else 0 for place in places]
        filled = int(rng.integers(0, LENGTH + 1))
        items = [int(item) for item in rng.permutation(np.arange(2, ITEMS))[:filled]]
        drawn.append((ranks, items + [PADDING] * (LENGTH - filled)))
    return drawn


def lists_of(cases: list[tuple[list[int], list[int]]], counts: list[int]) -> metrics.Lists:
    return metrics.Lists(
        rank=np.array([rank for ranks, _ in cases for rank in ranks], np.int32),
        case=np.repeat(np.arange(len(cases)), [len(ranks) for ranks, _ in cases]),
        targets=np.array([len(ranks) for ranks, _ in cases]),
        recommended=np.array([items for _, items in cases], np.int32),
        self_information=metrics.self_information(np.array(counts)),
    )


@pytest.mark.parametrize("k", [1, 3, 5, LENGTH])
@pytest.mark.parametrize("name", list(metrics.PER_CASE))
def test_equals_a_plain_loop(name: str, k: int) -> None:
    counts = [0, 0, *range(ITEMS - 2, 0, -1)]
    cases = random_cases(seed=k, cases=50)
    expected = [by_hand(name, ranks, items, counts, k) for ranks, items in cases]
    found = metrics.PER_CASE[name](lists_of(cases, counts), k)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert np.mean(expected) > 0, "the cases must tell something"


def test_known_values() -> None:
    # Three targets at places 1 and 3 and nowhere, in a list of five.
    counts = [0, 0, 3, 1, 0, 0, 0]
    lists = lists_of([([1, 0, 3], [2, 3, 4, 5, 6])], counts)
    assert metrics.recall(lists, 5)[0] == pytest.approx(2 / 3)
    assert metrics.precision(lists, 5)[0] == pytest.approx(2 / 5)
    assert metrics.f1(lists, 5)[0] == pytest.approx(1 / 2)
    assert metrics.mrr(lists, 5)[0] == 1
    # (1 + 1/2) / (1 + 1/log2(3) + 1/2)
    assert metrics.ndcg(lists, 5)[0] == pytest.approx(1.5 / (1.5 + 1 / math.log2(3)))
    # Shares (3 + 1) / 9 and (1 + 1) / 9.
    assert metrics.novelty(lists, 2)[0] == pytest.approx((math.log2(9 / 4) + math.log2(9 / 2)) / 2)


def test_an_unknown_target_counts_as_a_target() -> None:
    with_unknown = lists_of([([1, 0], [2, 3])], [0, 0, 1, 1])
    without = lists_of([([1], [2, 3])], [0, 0, 1, 1])
    assert metrics.recall(with_unknown, 2)[0] == 0.5
    assert metrics.recall(without, 2)[0] == 1


def test_a_perfect_list_has_ndcg_1_whatever_its_length() -> None:
    lists = lists_of([([1, 2, 3, 4, 5, 6], [2, 3, 4, 5, 6, 7])], [0, 0] + [1] * 6)
    for k in range(1, 7):
        assert metrics.ndcg(lists, k)[0] == pytest.approx(1)
