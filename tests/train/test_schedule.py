import numpy as np
import pytest
import tensorflow as tf

from recsys.config import Train
from recsys.train.schedule import learning_rate, length_factor


def test_the_rate_rises_and_falls() -> None:
    train = Train(learning_rate=0.1, warmup_steps=4, decay="linear")
    rates = [learning_rate(train, step, 10, ranks=8) for step in range(10)]
    expected = [0.1 * min(1, (step + 1) / 4) * (1 - step / 10) for step in range(10)]
    np.testing.assert_allclose(rates, expected)


def test_the_linear_rule_multiplies_by_the_ranks() -> None:
    plain = Train(learning_rate=0.1, warmup_steps=4, decay="cosine")
    ruled = Train(learning_rate=0.1, warmup_steps=4, decay="cosine", learning_rate_by_ranks=True)
    for step in range(10):
        one = learning_rate(plain, step, 10, ranks=1)
        assert learning_rate(ruled, step, 10, ranks=8) == pytest.approx(8 * one)
        assert learning_rate(plain, step, 10, ranks=8) == one


@pytest.mark.parametrize("power", [-1.0, 0.5])
def test_the_rate_follows_the_length_of_the_sequences(power: float) -> None:
    # 1,000 targets each: 100 sequences of 10, and 20 of 50; the mean is 20.
    of_short = length_factor(tf.constant(1000), tf.constant(100), 20.0, power)
    of_long = length_factor(tf.constant(1000), tf.constant(20), 20.0, power)
    assert float(of_short) == pytest.approx((10 / 20) ** power)
    assert float(of_long) == pytest.approx((50 / 20) ** power)


def test_a_step_without_rows_keeps_its_rate() -> None:
    assert float(length_factor(tf.constant(0), tf.constant(0), 20.0, -1.0)) == 1.0
