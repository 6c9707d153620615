import numpy as np
import pytest

from recsys.train.losses import cross_entropy_sum, target_weights


def test_cross_entropy_of_several_targets_equals_a_loop() -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(3, 7)).astype(np.float32)
    case, item = [0, 0, 2, 2, 2], [1, 4, 0, 3, 6]
    weight = [1.0, 0.5, 2.0, 1.0, 0.25]
    expected = 0.0
    for row, target, factor in zip(case, item, weight, strict=True):
        shares = np.exp(scores[row]) / np.exp(scores[row]).sum()
        expected -= factor * np.log(shares[target])
    found = cross_entropy_sum(scores, np.array(case), np.array(item), np.float32(weight))
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("power", "expected"),
    [(0.0, [1, 1, 1, 1]), (1.0, [1 / 3] * 3 + [1]), (0.5, [3**-0.5] * 3 + [1])],
)
def test_weights_share_a_basket(power: float, expected: list[float]) -> None:
    found = target_weights(np.array([0, 0, 0, 2]), 3, power).numpy()
    assert found == pytest.approx(expected)
