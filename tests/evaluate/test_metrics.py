from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import rectools.metrics as rectools
from pyspark.ml.evaluation import RankingEvaluator
from pyspark.mllib.evaluation import MultilabelMetrics
from pyspark.sql import DataFrame, SparkSession
from rectools.metrics.distances import (
    PairwiseDistanceCalculator,
    PairwiseHammingDistanceCalculator,
)

from recsys import ranking
from recsys.evaluate import metrics
from recsys.evaluate.lists import Catalogue, Lists
from recsys.schemas import FIRST_ITEM, PADDING

LENGTH = 10
ITEMS = 30


@dataclass(frozen=True)
class Case:
    """Of the targets: ranks and items; of the list: items, and which the history lacks."""

    ranks: list[int]
    targets: list[int]
    recommended: list[int]
    is_new: list[bool]


def catalogue(counts: list[int]) -> Catalogue:
    """Items of three categories, with vectors of length 1."""
    rng = np.random.default_rng(8)
    vectors = rng.normal(size=(len(counts), 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    category = np.arange(len(counts), dtype=np.int32) % 3 + 2
    return Catalogue(np.array(counts), category, vectors.astype(np.float32))


def by_hand(name: str, case: Case, known: Catalogue, k: int) -> float:
    """Each metric of one case, written out."""
    ranks, counts = case.ranks, [int(count) for count in known.train_count]
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
    if name == "map":
        precisions = [sum(other <= rank for other in hits) / rank for rank in hits]
        return sum(precisions) / min(k, len(ranks))
    if name == "serendipity":
        by_count = sorted(range(FIRST_ITEM, len(counts)), key=lambda item: (-counts[item], item))
        popular = set(by_count[:k])
        pairs = zip(ranks, case.targets, strict=True)
        return sum(0 < rank <= k and item not in popular for rank, item in pairs) / k
    items = [item for item in case.recommended[:k] if item != PADDING]
    if name == "new_items":
        new = [is_new for item, is_new in zip(items, case.is_new, strict=False) if item]
        return mean(new)
    if name == "popularity_bias":
        average = sum(counts[2:]) / len(counts[2:])
        return mean([counts[item] / average for item in items])
    if name == "novelty":
        total = sum(count + 1 for count in counts[2:])
        return mean([-math.log2((counts[item] + 1) / total) for item in items])
    pairs = list(itertools.combinations(items, 2))
    if name == "category_diversity":
        return mean([known.category[one] != known.category[other] for one, other in pairs])
    return mean([1 - float(known.direction[one] @ known.direction[other]) for one, other in pairs])


def mean(values: list) -> float:
    return sum(values) / len(values) if values else 0.0


def random_cases(seed: int, cases: int) -> list[Case]:
    """Some targets are in no list, some lists are short."""
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(cases):
        places = 1 + rng.permutation(3 * LENGTH)[: rng.integers(1, 2 * LENGTH)]
        ranks = [int(place) if place <= LENGTH else 0 for place in places]
        targets = [int(item) for item in rng.integers(FIRST_ITEM, ITEMS, size=len(ranks))]
        filled = int(rng.integers(0, LENGTH + 1))
        items = [int(item) for item in rng.permutation(np.arange(2, ITEMS))[:filled]]
        is_new = [bool(new) for new in rng.integers(0, 2, LENGTH)]
        drawn.append(Case(ranks, targets, items + [PADDING] * (LENGTH - filled), is_new))
    return drawn


def lists_of(cases: list[Case], known: Catalogue) -> Lists:
    return Lists(
        rank=np.array([rank for case in cases for rank in case.ranks], np.int32),
        case=np.repeat(np.arange(len(cases)), [len(case.ranks) for case in cases]),
        target=np.array([item for case in cases for item in case.targets], np.int32),
        targets=np.array([len(case.ranks) for case in cases]),
        recommended=np.array([case.recommended for case in cases], np.int32),
        is_new=np.array([case.is_new for case in cases]),
        catalogue=known,
    )


def one(ranks: list[int], recommended: list[int], counts: list[int]) -> Lists:
    """A single case whose targets are the items at their ranks, or the last item."""
    targets = [recommended[rank - 1] if rank else len(counts) - 1 for rank in ranks]
    return lists_of(
        [Case(ranks, targets, recommended, [True] * len(recommended))], catalogue(counts)
    )


@pytest.mark.parametrize("k", [1, 3, 5, LENGTH])
@pytest.mark.parametrize("name", list(metrics.PER_CASE))
def test_equals_a_plain_loop(name: str, k: int) -> None:
    known = catalogue([0, 0, *range(ITEMS - 2, 4, -1), 40, 30, 2, 1])
    cases = random_cases(seed=k, cases=50)
    expected = [by_hand(name, case, known, k) for case in cases]
    found = metrics.PER_CASE[name](lists_of(cases, known), k)
    tolerance = 1e-6 if name == "vector_diversity" else 1e-12
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
    if name.endswith("diversity") and k == 1:
        assert not any(expected), "one item has no pair"
    else:
        assert np.mean(expected) > 0, "the cases must tell something"


@pytest.mark.parametrize("k", [1, 2, 3, 4])
@pytest.mark.parametrize("name", metrics.OF_RANKS)
def test_of_what_is_tied_the_worst_arrangement_counts(name: str, k: int) -> None:
    """Each arrangement of the items that agrees with their scores is tried."""
    rng, items = np.random.default_rng(k), np.arange(FIRST_ITEM, FIRST_ITEM + 5)
    differ = 0
    for _ in range(25):
        drawn = rng.integers(0, 3, (1, FIRST_ITEM + len(items))).astype(np.float32)
        scores = ranking.without_reserved(drawn).numpy()
        targets = rng.permutation(items)[: rng.integers(1, len(items) + 1)].tolist()
        arranged = [
            order
            for order in itertools.permutations(items)
            if all(scores[0, one] >= scores[0, other] for one, other in itertools.pairwise(order))
        ]
        found = [of_flags(name, [item in targets for item in order], k) for order in arranged]
        case = np.zeros(len(targets), np.int64)
        top, _ = ranking.top_k(scores, k + len(targets))
        ranks = ranking.target_ranks(top, scores[case, targets], case).numpy().tolist()
        lists = lists_of([Case(ranks, targets, [], [])], catalogue([0] * drawn.shape[1]))
        assert metrics.PER_CASE[name](lists, k)[0] == pytest.approx(min(found)), (scores, targets)
        differ += min(found) < max(found)
    assert differ > 0


def of_flags(name: str, is_target: list[bool], k: int) -> float:
    """Each metric of ranks, read off a whole list from its first place on."""
    first, targets = is_target[:k], sum(is_target)
    hits = sum(first)
    if name == "recall":
        return hits / targets
    if name == "precision":
        return hits / k
    if name == "f1":
        return 2 * (hits / k) * (hits / targets) / (hits / k + hits / targets) if hits else 0.0
    if name == "hit_rate":
        return float(any(first))
    if name == "mrr":
        return 1 / (first.index(True) + 1) if hits else 0.0
    ideal = ([True] * targets + [False] * k)[:k]
    if name == "ndcg":
        gain, best = (
            sum(hit / math.log2(place + 2) for place, hit in enumerate(own))
            for own in (first, ideal)
        )
        return gain / best
    precisions = [sum(first[: place + 1]) / (place + 1) for place, hit in enumerate(first) if hit]
    return sum(precisions) / sum(ideal)


IN_SPARK = {
    "recall": "recallAtK",
    "precision": "precisionAtK",
    "ndcg": "ndcgAtK",
    "map": "meanAveragePrecisionAtK",
}


def filled_cases(seed: int, most_targets: int) -> list[Case]:
    """Full lists, with targets one after the other from the third place or one below on."""
    rng = np.random.default_rng(seed)
    cases = []
    for _ in range(30):
        items = [int(item) for item in rng.permutation(np.arange(FIRST_ITEM, ITEMS))]
        first = int(rng.integers(2, LENGTH + 3))
        targets = sorted(items[first : first + int(rng.integers(1, most_targets + 1))])
        recommended = items[:LENGTH]
        ranks = [recommended.index(item) + 1 if item in recommended else 0 for item in targets]
        cases.append(Case(ranks, targets, recommended, [True] * LENGTH))
    return cases


def for_spark(spark: SparkSession, cases: list[Case]) -> DataFrame:
    rows = [(list(map(float, own.recommended)), list(map(float, own.targets))) for own in cases]
    return spark.createDataFrame(rows, "prediction array<double>, label array<double>")


def check(name: str, lists: Lists, k: int, expected: float) -> None:
    found = metrics.PER_CASE[name](lists, k).mean()
    assert 0 < found < 1
    assert found == pytest.approx(expected, rel=1e-6), (name, k)


def test_those_that_spark_has_equal_sparks(spark: SparkSession) -> None:
    """Recall, precision, NDCG and MAP equal RankingEvaluator's, F1 MultilabelMetrics'."""
    cases = filled_cases(3, most_targets=20)
    table, lists = for_spark(spark, cases), lists_of(cases, catalogue([0] * ITEMS))
    for k in (5, LENGTH):
        for name, theirs in IN_SPARK.items():
            check(name, lists, k, RankingEvaluator(metricName=theirs, k=k).evaluate(table))
        pairs = table.rdd.map(lambda row, k=k: (row.prediction[:k], row.label))
        check("f1", lists, k, MultilabelMetrics(pairs).f1Measure())


class CosineDistance(PairwiseDistanceCalculator):  # type: ignore[misc]
    """RecTools has the Hamming distance alone."""

    def __init__(self, direction: np.ndarray) -> None:
        self.direction = direction

    def _get_distances_for_item_pairs(self, items_0: Sequence, items_1: Sequence) -> np.ndarray:
        return 1 - (self.direction[list(items_0)] * self.direction[list(items_1)]).sum(axis=1)


@pytest.mark.parametrize("most_targets", [1, 20])
def test_those_that_rectools_has_equal_rectools(most_targets: int) -> None:
    """It lacks new_items, defines serendipity by probabilities, and divides MAP by all targets."""
    known = catalogue([0, 0, *range(ITEMS - 2, 0, -1)])
    cases = filled_cases(5, most_targets)
    lists = lists_of(cases, known)
    recommended, interactions = (
        pd.DataFrame(
            [(user, item, place) for user, own in enumerate(cases)
             for place, item in enumerate(getattr(own, name), start=1)],
            columns=["user_id", "item_id", "rank"],
        )
        for name in ("recommended", "targets")
    )  # fmt: skip
    # Everybody had one item: as many as bought it, and one more (Laplace's rule of succession).
    counts = pd.Series(known.train_count, dtype=int)[FIRST_ITEM:]
    before, smoothed = (
        pd.DataFrame({"item_id": np.repeat(of.index, of)}).rename_axis("user_id").reset_index()
        for of in (counts, counts + 1)
    )
    category = pd.DataFrame({"category": known.category})
    for k in (5, LENGTH):
        of_targets = {
            "recall": rectools.Recall(k), "precision": rectools.Precision(k),
            "hit_rate": rectools.HitRate(k), "mrr": rectools.MRR(k),
        }  # fmt: skip
        for name, theirs in of_targets.items():
            check(name, lists, k, theirs.calc(recommended, interactions))
        novelty = rectools.MeanInvUserFreq(k).calc(recommended, smoothed)
        popularity = rectools.AvgRecPopularity(k).calc(recommended, before) / counts.mean()
        kinds = rectools.IntraListDiversity(k, PairwiseHammingDistanceCalculator(category))
        vectors = rectools.IntraListDiversity(k, CosineDistance(known.direction))
        for name, expected in {
            "novelty": novelty,
            "popularity_bias": popularity,
            "category_diversity": kinds.calc(recommended),
            "vector_diversity": vectors.calc(recommended),
        }.items():
            found = metrics.PER_CASE[name](lists, k).mean()
            assert found == pytest.approx(expected, rel=1e-5), (name, k)


def test_known_values() -> None:
    # Three targets at places 1 and 3 and nowhere, in a list of five.
    lists = one([1, 0, 3], [2, 3, 4, 5, 6], [0, 0, 3, 1, 0, 0, 0])
    assert metrics.recall(lists, 5)[0] == pytest.approx(2 / 3)
    assert metrics.precision(lists, 5)[0] == pytest.approx(2 / 5)
    assert metrics.f1(lists, 5)[0] == pytest.approx(1 / 2)
    assert metrics.mrr(lists, 5)[0] == 1
    # (1 + 1/2) / (1 + 1/log2(3) + 1/2)
    assert metrics.ndcg(lists, 5)[0] == pytest.approx(1.5 / (1.5 + 1 / math.log2(3)))
    # (1/1 + 2/3) / 3
    assert metrics.average_precision(lists, 5)[0] == pytest.approx(5 / 9)
    # Shares (3 + 1) / 9 and (1 + 1) / 9.
    assert metrics.novelty(lists, 2)[0] == pytest.approx((math.log2(9 / 4) + math.log2(9 / 2)) / 2)
    # 3 and 1 events, 4 / 5 of an average item.
    assert metrics.popularity_bias(lists, 2)[0] == pytest.approx(2 / (4 / 5))
    # Of the first three places one holds a target beyond the three most popular: none.
    assert metrics.serendipity(lists, 3)[0] == 0
    # Items 2 and 5 are of one category, 3 and 6 of another.
    assert metrics.category_diversity(lists, 5)[0] == pytest.approx(1 - 2 / 10)
    unknown = np.where(lists.catalogue.category == lists.catalogue.category[3], 1, 2)
    some = dataclasses.replace(lists.catalogue, category=unknown.astype(np.int32))
    found = metrics.category_diversity(dataclasses.replace(lists, catalogue=some), 5)[0]
    assert found == pytest.approx(1 - 3 / 10)  # three are of one, and two of none that is known


def test_an_unknown_target_counts_as_a_target() -> None:
    assert metrics.recall(one([1, 0], [2, 3], [0, 0, 1, 1]), 2)[0] == 0.5
    assert metrics.recall(one([1], [2, 3], [0, 0, 1, 1]), 2)[0] == 1


def test_a_perfect_list_has_ndcg_and_map_1_whatever_its_length() -> None:
    lists = one([1, 2, 3, 4, 5, 6], [2, 3, 4, 5, 6, 7], [0, 0] + [1] * 6)
    for k in range(1, 7):
        assert metrics.ndcg(lists, k)[0] == pytest.approx(1)
        assert metrics.average_precision(lists, k)[0] == pytest.approx(1)


def test_what_the_items_do_not_have_is_not_measured() -> None:
    counts = np.ones(4, np.int64)
    assert "category_diversity" not in metrics.available(Catalogue(counts), True)
    assert "vector_diversity" not in metrics.available(catalogue([0, 0, 1, 1]), False)
    assert metrics.available(catalogue([0, 0, 1, 1]), True) == list(metrics.PER_CASE)
