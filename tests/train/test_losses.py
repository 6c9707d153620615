import numpy as np
import pytest
import tensorflow as tf

from recsys.train.losses import LOSSES, NO_NEGATIVE, Scored, bpr_max_sum, target_weights
from recsys.train.precision import product


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
    scored = Scored(tf.constant(scores[case, column]), tf.constant(case), tf.constant(candidates))
    found = LOSSES[name](scored, tf.constant(weight))
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_the_regularization_of_bpr_max_weighs_the_squared_scores_of_the_negatives() -> None:
    scores = np.random.default_rng(1).normal(size=(1, 5)).astype(np.float32)
    candidates = scores.copy()
    candidates[0, 2] = NO_NEGATIVE
    scored = Scored(tf.constant(scores[0, [2]]), tf.constant([0]), tf.constant(candidates))
    found = [float(bpr_max_sum(scored, tf.ones([1]), factor)) for factor in (0.0, 0.5)]
    others, shares = _negatives(scores[0].astype(float), [2])
    assert found[1] - found[0] == pytest.approx(0.5 * (shares * others**2).sum(), rel=1e-4)


def test_the_gradient_of_the_fused_cross_entropy_is_the_softmax() -> None:
    rng = np.random.default_rng(2)
    target, candidates = (rng.normal(size=shape).astype(np.float32) for shape in ((4,), (4, 9)))
    given = tf.constant(target), tf.constant(candidates)
    with tf.GradientTape() as tape:
        tape.watch(given)
        loss = LOSSES["cross_entropy"](Scored(given[0], tf.range(4), given[1]), tf.ones([4]))
    exponentials = np.exp(np.column_stack([target, candidates]).astype(float))
    shares = exponentials / exponentials.sum(axis=1, keepdims=True)
    found = np.column_stack([value.numpy() for value in tape.gradient(loss, given)])
    np.testing.assert_allclose(found, shares - _first(shares), atol=1e-6)


def _first(shares: np.ndarray) -> np.ndarray:
    return np.eye(1, shares.shape[1]).repeat(len(shares), axis=0)


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
