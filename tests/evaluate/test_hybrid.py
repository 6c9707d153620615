from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from recsys.evaluate.references.hybrid import Choices, Hybrid, choices, learn
from recsys.evaluate.references.system import _LEVELS
from recsys.schemas import PADDING, UNKNOWN

POPULARITY = np.array([0, 0, 0.6, 0.4, 0.2, 0.0])


def test_scores_are_weighted_logarithms_of_ranks() -> None:
    hybrid = Hybrid({"one": 2.0, "other": 0.5}, length=3, popularity=POPULARITY)
    lists = {
        "one": np.array([[4, 5, PADDING], [PADDING] * 3], np.int32),
        "other": np.array([[3, 4, 2], [PADDING] * 3], np.int32),
    }
    scores = hybrid.blended(lists)
    by_hand = {
        2: 0.5 * math.log(4 / 3),
        3: 0.5 * math.log(4),
        4: 2 * math.log(4) + 0.5 * math.log(4 / 2),
        5: 2 * math.log(4 / 2),
    }
    assert (
        np.argsort(-scores[0, 2:]).tolist()
        == np.argsort([-by_hand[i] for i in range(2, 6)]).tolist()
    )
    levels = scores[0, 2:] - POPULARITY[2:]
    np.testing.assert_allclose(
        levels / levels.max(),
        [by_hand[i] / by_hand[4] for i in range(2, 6)],
        rtol=0,
        atol=0.5 / _LEVELS,  # to which scores are rounded
    )
    assert np.argsort(-scores[1, 2:]).tolist() == [0, 1, 2, 3], "without lists by popularity"


def table(rows: list[tuple[str, str, list[int], list[int]]]) -> pa.Table:
    user, system, targets, recommended = zip(*rows, strict=True)
    return pa.table(
        {
            "user_id": list(user), "step": [1] * len(rows), "system": list(system),
            "targets": pa.array(targets, pa.list_(pa.int32())),
            "recommended": pa.array(recommended, pa.list_(pa.int32())),
        }
    )  # fmt: skip


def test_choices_are_all_items_that_some_system_names() -> None:
    rows = [
        ("b", "one", [4, UNKNOWN], [4, 5]),
        ("a", "other", [2], [3, 2]),
        ("b", "other", [4, UNKNOWN], [5, 2]),
        ("a", "one", [2], []),
    ]
    found = choices(table(rows), ["one", "other"], length=2)
    assert found.case.tolist() == [0, 0, 1, 1, 1]
    first, second = math.log(3), math.log(1.5)
    np.testing.assert_allclose(
        found.said, [[0, second], [0, first], [0, second], [first, 0], [second, first]]
    )
    assert found.is_target.tolist() == [True, False, False, True, False]


def test_learnt_weights_make_the_targets_most_likely() -> None:
    """Cases are drawn from known weights; the third system says nothing true, the fourth lies."""
    rng = np.random.default_rng(3)
    cases, items = 4000, 8
    said = rng.exponential(size=(cases, items, 4))
    true = np.array([1.5, 0.5, 0.0, -1.0])
    utility = said @ true + rng.gumbel(size=(cases, items))
    is_target = np.zeros((cases, items), bool)
    is_target[np.arange(cases), utility.argmax(axis=1)] = True
    seen = Choices(np.repeat(np.arange(cases), items), said.reshape(-1, 4), is_target.ravel())
    weights = learn(seen)
    assert weights[3] == 0, "nothing that speaks against an item"
    np.testing.assert_allclose(
        learn(Choices(seen.case, seen.said[:, :3], seen.is_target)), weights[:3]
    )
    alone = likelihood(seen, weights)
    for place in range(3):
        for step in (-0.02, 0.02):
            other = weights.copy()
            other[place] = max(0.0, other[place] + step)
            assert likelihood(seen, other) <= alone + 1e-3


@pytest.mark.parametrize("seed", range(8))
def test_learnt_weights_are_as_likely_as_those_that_drew_the_targets(seed: int) -> None:
    """Long lists of many items, as systems give them: Newton's whole steps lead astray."""
    rng = np.random.default_rng(seed)
    cases, items, length = 10, 500, 100
    liked = rng.normal(size=(cases, items))
    said = np.zeros((cases, items, 3))
    for system, noise in enumerate((0.1, 0.3, 2)):
        heard = liked + rng.normal(scale=noise, size=liked.shape)
        rank = (-heard).argsort(axis=1).argsort(axis=1) + 1
        said[:, :, system] = np.where(rank <= length, np.log((length + 1) / rank), 0)
    true = np.array([1.0, 0.5, 0.0])
    drawn = (said @ true + rng.gumbel(size=liked.shape)).argmax(axis=1)
    is_target = drawn[:, None] == np.arange(items)
    seen = Choices(np.repeat(np.arange(cases), items), said.reshape(-1, 3), is_target.ravel())
    assert likelihood(seen, learn(seen), items) >= likelihood(seen, true, items)


def likelihood(seen: Choices, weights: np.ndarray, items: int = 8) -> float:
    score = (seen.said @ weights).reshape(-1, items)
    total = np.log(np.exp(score).sum(axis=1, keepdims=True))
    return float((score - total)[seen.is_target.reshape(-1, items)].sum())


def test_nothing_to_learn_from_gives_no_weight() -> None:
    rows = [("a", "one", [5], [2, 3])]
    assert learn(choices(table(rows), ["one"], 2)) == pytest.approx([0.0])
