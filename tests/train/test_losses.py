from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from recsys.train import cross_entropy
from recsys.train.losses import LOSSES, bpr_max_sum, target_weights
from recsys.train.precision import Precision, product
from recsys.train.scored import NO_NEGATIVE, Scored


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def _cross_entropy(scores: np.ndarray, target: int, targets: list[int]) -> float:
    others, _ = _negatives(scores, targets)
    return -np.log(np.exp(scores[target]) / (np.exp(scores[target]) + np.exp(others).sum()))


def _negatives(scores: np.ndarray, targets: list[int]) -> tuple[np.ndarray, np.ndarray]:
    others = np.delete(scores, targets)
    return others, np.exp(others) / np.exp(others).sum()


def _bpr_max(scores: np.ndarray, target: int, targets: list[int]) -> float:
    others, shares = _negatives(scores, targets)
    won = sum(s * _sigmoid(scores[target] - r) for s, r in zip(shares, others, strict=True))
    return -np.log(won) + sum(s * r**2 for s, r in zip(shares, others, strict=True))


def _top1_max(scores: np.ndarray, target: int, targets: list[int]) -> float:
    others, shares = _negatives(scores, targets)
    return sum(
        s * (_sigmoid(r - scores[target]) + _sigmoid(r**2))
        for s, r in zip(shares, others, strict=True)
    )


def scored(target: np.ndarray, case: list[int], candidates: np.ndarray) -> Scored:
    """Given scores [P] and [C, K], as states times the items of a unit matrix."""
    size = candidates.shape[1]
    return Scored(
        target_P=tf.constant(target), case_P=tf.constant(case), state_CD=tf.constant(candidates),
        item_KD=tf.eye(size), bias_K=tf.zeros(size), place_O2=tf.zeros([0, 2], tf.int32),
        added_O=tf.zeros(0),
    )  # fmt: skip


LOOPS = {"cross_entropy": _cross_entropy, "bpr_max": _bpr_max, "top1_max": _top1_max}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_with_several_targets_equal_a_loop(name: str) -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(3, 7)).astype(np.float32)
    case, column = [0, 0, 2, 2, 2], [1, 4, 0, 3, 6]
    weight = [1.0, 0.5, 2.0, 1.0, 0.25]
    others = {row: [c for r, c in zip(case, column, strict=True) if r == row] for row in range(3)}
    expected = sum(
        factor * LOOPS[name](scores[row].astype(float), target, others[row])
        for row, target, factor in zip(case, column, weight, strict=True)
    )
    candidates = scores.copy()
    candidates[case, column] = NO_NEGATIVE
    found = LOSSES[name](scored(scores[case, column], case, candidates), tf.constant(weight))
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("lone", [[0], [2], [0, 1, 2]])
def test_a_target_without_negatives_has_no_loss_and_no_gradient(name: str, lone: list[int]) -> None:
    """Of cases some have all candidates for targets: they add nothing to those of the others."""
    rng = np.random.default_rng(3)
    scores = rng.normal(size=(3, 4)).astype(np.float32)
    targets = {case: list(range(4)) if case in lone else [1, 3] for case in range(3)}
    pairs = [(case, target) for case in range(3) for target in targets[case]]
    case, column = (list(part) for part in zip(*pairs, strict=True))
    weight = rng.uniform(0.5, 2.0, size=len(pairs)).astype(np.float32)
    expected = sum(
        factor * LOOPS[name](scores[row].astype(float), target, targets[row])
        for (row, target), factor in zip(pairs, weight, strict=True)
        if row not in lone
    )
    given = scored(scores[case, column], case, scores)
    added = tf.fill([len(pairs)], NO_NEGATIVE)
    given = replace(given, place_O2=tf.constant(pairs), added_O=added)
    watched = [given.target_P, given.state_CD, given.item_KD, given.bias_K]
    with tf.GradientTape() as tape:
        tape.watch(watched)
        found = LOSSES[name](given, tf.constant(weight))
    by_target_P, by_state_CD, *others = (part.numpy() for part in tape.gradient(found, watched))
    assert float(found) == pytest.approx(expected, rel=1e-5, abs=1e-12)
    is_lone_P = np.isin(case, lone)
    assert not by_target_P[is_lone_P].any()
    assert by_target_P[~is_lone_P].all()
    assert not by_state_CD[lone].any()
    assert all(np.isfinite(part).all() for part in (by_target_P, by_state_CD, *others))
    assert len(lone) < 3 or not any(part.any() for part in others)


@pytest.mark.parametrize("name", ["bpr_max", "top1_max"])
def test_scores_that_are_no_numbers_are_not_taken_for_no_negatives(name: str) -> None:
    given = scored(np.ones(1, np.float32), [0], np.full((1, 3), np.nan, np.float32))
    assert np.isnan(float(LOSSES[name](given, tf.ones([1]))))


def test_the_regularization_of_bpr_max_weighs_the_squared_scores_of_the_negatives() -> None:
    scores = np.random.default_rng(1).normal(size=(1, 5)).astype(np.float32)
    candidates = scores.copy()
    candidates[0, 2] = NO_NEGATIVE
    given = scored(scores[0, [2]], [0], candidates)
    found = [float(bpr_max_sum(given, tf.ones([1]), factor)) for factor in (0.0, 0.5)]
    others, shares = _negatives(scores[0].astype(float), [2])
    assert found[1] - found[0] == pytest.approx(0.5 * (shares * others**2).sum(), rel=1e-4)


@pytest.mark.parametrize("at_once", [1, 3, 256])
@pytest.mark.parametrize("cases", [0, 7])
@pytest.mark.parametrize(
    ("precision", "error"), [("float32", 1e-5), ("float16", 0.01), ("bfloat16", 0.1)]
)
def test_the_gradients_of_the_fused_cross_entropy_are_those_of_the_whole_one(
    monkeypatch: pytest.MonkeyPatch, at_once: int, cases: int, precision: Precision, error: float
) -> None:
    """Of baskets of none to two targets, where some candidates are targets and gain by repeats."""
    monkeypatch.setattr(cross_entropy, "CASES_AT_ONCE", at_once)
    rng = np.random.default_rng(2)
    case_P = np.sort(rng.integers(0, cases, size=9)) if cases else np.zeros(0, int)
    place_O2 = np.column_stack([case_P, rng.integers(0, 5, size=len(case_P))])
    place_O2 = np.concatenate([place_O2, place_O2[::-1]])  # each gains, and again, or is none
    added_O = rng.normal(size=len(place_O2))
    added_O[: len(case_P) // 2] = NO_NEGATIVE
    shapes = ((cases, 4), (5, 4), (5,), (len(case_P),))
    state, item, bias, target = (tf.constant(rng.normal(size=s), tf.float32) for s in shapes)
    given = [state, item, bias, target, tf.constant(added_O, tf.float32)]
    weight_P = tf.constant(rng.uniform(size=len(case_P)), tf.float32)
    case_P, place_O2 = tf.constant(case_P, tf.int32), tf.constant(place_O2, tf.int32)

    def both(loss: Callable[[Scored], tf.Tensor]) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(given)
            parts = (target, case_P, state, item, bias, place_O2, given[-1])
            found = 3.0 * loss(Scored(*parts, precision))
        return [found, *tape.gradient(found, given)]

    def whole(scored: Scored) -> tf.Tensor:
        normalizer_C = tf.reduce_logsumexp(scored.candidates(), axis=1)
        margin_P = tf.gather(normalizer_C, scored.case_P) - scored.target_P
        return tf.reduce_sum(weight_P * tf.nn.softplus(margin_P))

    def fused() -> list[tf.Tensor]:
        return both(lambda scored: LOSSES["cross_entropy"](scored, weight_P))

    expected = both(whole)
    for found in (fused(), tf.function(fused, autograph=False)()):
        for own, wanted in zip(found, expected, strict=True):
            np.testing.assert_allclose(own, wanted, atol=error)


def test_few_bits_hold_the_gradient_of_very_many_candidates() -> None:
    """Whose powers together are more than the largest number of float16."""
    state, item = tf.zeros([1, 2]), tf.fill([200_000, 2], 0.5)
    parts = (tf.zeros([1]), tf.constant([0]), state, item, tf.zeros([200_000]))
    given = Scored(*parts, tf.zeros([0, 2], tf.int32), tf.zeros([0]), "float16")
    with tf.GradientTape() as tape:
        tape.watch(state)
        loss = LOSSES["cross_entropy"](given, tf.ones([1]))
    assert float(loss) == pytest.approx(np.log1p(200_000), rel=1e-6)
    np.testing.assert_allclose(tape.gradient(loss, state), [[0.5, 0.5]], rtol=0.02)


@pytest.mark.parametrize(
    ("power", "expected"),
    [(0.0, [1, 1, 1, 1]), (1.0, [1 / 3] * 3 + [1]), (0.5, [3**-0.5] * 3 + [1])],
)
def test_weights_share_a_basket(power: float, expected: list[float]) -> None:
    found = target_weights(np.array([0, 0, 0, 2]), 3, power).numpy()
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_rounds_the_operands_alone(precision: str) -> None:
    rng = np.random.default_rng(8)
    left, right = (rng.normal(size=shape).astype(np.float32) for shape in ((4, 30), (5, 30)))
    found = product(left, right, precision, transpose_b=True)  # type: ignore[arg-type]
    rounded = [tf.cast(tf.cast(part, precision), tf.float64).numpy() for part in (left, right)]
    assert found.dtype == tf.float32
    assert not np.allclose(found, left @ right.T, rtol=1e-6)
    error = 2.0**-8 if precision == "bfloat16" else 2.0**-11  # of rounding the result
    np.testing.assert_allclose(found, rounded[0] @ rounded[1].T, rtol=2 * error, atol=1e-3)
