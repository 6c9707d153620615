import numpy as np
import pytest
import tensorflow as tf

from recsys.train.losses import LOSSES, single_cross_entropy_sum, target_weights


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def _cross_entropy(scores: np.ndarray, target: int) -> float:
    return -np.log(np.exp(scores[target]) / np.exp(scores).sum())


def _negatives(scores: np.ndarray, target: int) -> tuple[np.ndarray, np.ndarray]:
    others = np.delete(scores, target)
    return others, np.exp(others) / np.exp(others).sum()


def _bpr_max(scores: np.ndarray, target: int) -> float:
    others, shares = _negatives(scores, target)
    won = sum(s * _sigmoid(scores[target] - r) for s, r in zip(shares, others, strict=True))
    return -np.log(won) + sum(s * r**2 for s, r in zip(shares, others, strict=True))


def _top1_max(scores: np.ndarray, target: int) -> float:
    others, shares = _negatives(scores, target)
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
    expected = sum(
        factor * LOOPS[name](scores[row].astype(float), target)
        for row, target, factor in zip(case, column, weight, strict=True)
    )
    found = LOSSES[name](
        tf.constant(scores), tf.constant(case), tf.constant(column), tf.constant(weight)
    )
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_the_fused_loss_is_the_same() -> None:
    rng = np.random.default_rng(2)
    scores = tf.constant(rng.normal(size=(4, 9)), tf.float32)
    given = (tf.range(4), tf.constant([8, 0, 3, 3]), tf.constant([1.0, 2.0, 0.5, 1.0]))
    found = single_cross_entropy_sum(scores, *given)
    assert float(found) == pytest.approx(float(LOSSES["cross_entropy"](scores, *given)), rel=1e-6)


@pytest.mark.parametrize(
    ("power", "expected"),
    [(0.0, [1, 1, 1, 1]), (1.0, [1 / 3] * 3 + [1]), (0.5, [3**-0.5] * 3 + [1])],
)
def test_weights_share_a_basket(power: float, expected: list[float]) -> None:
    found = target_weights(np.array([0, 0, 0, 2]), 3, power).numpy()
    assert found == pytest.approx(expected)
