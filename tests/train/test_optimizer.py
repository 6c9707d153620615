import numpy as np
import pytest
import tensorflow as tf

from recsys.train.objective import penalized
from recsys.train.optimizer import Adagrad, Adam, sum_duplicates


def _adam(value: np.ndarray, gradients: np.ndarray, rates: list[float]) -> np.ndarray:
    mean, square = np.zeros_like(value), np.zeros_like(value)
    for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        scale = rate * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        value = value - scale * mean / (np.sqrt(square) + 1e-7)
    return value


def _adagrad(value: np.ndarray, gradients: np.ndarray, rates: list[float]) -> np.ndarray:
    total = np.full_like(value, 1e-6)
    for gradient, rate in zip(gradients, rates, strict=True):
        total = total + gradient**2
        value = value - rate * gradient / (np.sqrt(total) + 1e-6)
    return value


@pytest.mark.parametrize(("made", "loop"), [(Adam, _adam), (Adagrad, _adagrad)])
@pytest.mark.parametrize("sparse", [False, True])
def test_updates_equal_the_formula(made: type, loop: object, sparse: bool) -> None:
    rng = np.random.default_rng(4)
    start = rng.normal(size=(3, 2)).astype(np.float32)
    gradients = rng.normal(size=(5, 3, 2)).astype(np.float32)
    rates = [0.1, 0.2, 0.1, 0.05, 0.1]
    variable = tf.Variable(start)
    optimizer = made([variable])
    order = tf.constant([2, 0, 1])
    for gradient, rate in zip(gradients, rates, strict=True):
        given = tf.constant(gradient)
        if sparse:
            given = tf.IndexedSlices(tf.gather(given, order), order, tf.constant([3, 2]))
        optimizer.apply([given], tf.constant(rate))
    expected = loop(start.astype(float), gradients, rates)  # type: ignore[operator]
    np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("made", [Adam, Adagrad])
def test_a_sparse_gradient_moves_the_rows_that_it_names(made: type) -> None:
    variable = tf.Variable(tf.ones([4, 2]))
    optimizer = made([variable])
    for _ in range(2):
        slices = tf.IndexedSlices(tf.ones([2, 2]), tf.constant([3, 1]), tf.constant([4, 2]))
        optimizer.apply([slices], tf.constant(0.1))
    moved = np.any(variable.numpy() != 1, axis=1)
    assert moved.tolist() == [False, True, False, True]


def test_duplicates_are_summed() -> None:
    values = tf.constant([[1.0], [2.0], [4.0], [8.0]])
    slices = tf.IndexedSlices(values, tf.constant([5, 2, 5, 2]), tf.constant([9, 1]))
    summed = sum_duplicates(slices)
    found = dict(zip(summed.indices.numpy().tolist(), summed.values.numpy()[:, 0], strict=True))
    assert found == {5: 5.0, 2: 10.0}
    dense = tf.ones([2])
    assert sum_duplicates(dense) is dense


@pytest.mark.parametrize("made", [Adam, Adagrad])
def test_each_row_of_a_lazy_update_equals_the_formula_over_its_own_steps(made: type) -> None:
    rng = np.random.default_rng(8)
    start = rng.normal(size=(6, 2)).astype(np.float32)
    variable = tf.Variable(start)
    optimizer = made([variable])
    touched = [rng.choice(6, size=3, replace=False) for _ in range(8)]
    gradients = rng.normal(size=(8, 3, 2)).astype(np.float32)
    for rows, gradient in zip(touched, gradients, strict=True):
        optimizer.apply([tf.IndexedSlices(gradient, rows, [6, 2])], tf.constant(0.1))
    # The moments of a row wait while it is not touched; the step that corrects them does not.
    expected, slots = start.astype(float), np.zeros((2, 6, 2))
    for step, (rows, gradient) in enumerate(zip(touched, gradients, strict=True), start=1):
        for row, value in zip(rows, gradient.astype(float), strict=True):
            if made is Adagrad:
                slots[0, row] += value**2
                expected[row] -= 0.1 * value / (np.sqrt(1e-6 + slots[0, row]) + 1e-6)
                continue
            slots[0, row] = 0.9 * slots[0, row] + 0.1 * value
            slots[1, row] = 0.999 * slots[1, row] + 0.001 * value**2
            scale = 0.1 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
            expected[row] -= scale * slots[0, row] / (np.sqrt(slots[1, row]) + 1e-7)
    np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("l1", "l2"), [(0.3, 0.0), (0.0, 0.2), (0.3, 0.2)])
def test_l1_and_l2_are_those_of_the_loss_and_sparse_ones_stay_sparse(l1: float, l2: float) -> None:
    rng = np.random.default_rng(5)
    weights = tf.Variable(rng.normal(size=(4, 2)).astype(np.float32))
    factors = tf.constant(rng.normal(size=(4, 2)).astype(np.float32))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(factors * weights)
        loss += l1 * tf.reduce_sum(tf.abs(weights)) + l2 / 2 * tf.reduce_sum(weights**2)
    (found,) = penalized([factors], [weights], l1, l2)
    expected = tape.gradient(loss, weights).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    rows = [3, 1]
    slices = tf.IndexedSlices(tf.gather(factors, rows), tf.constant(rows), tf.constant([4, 2]))
    (sparse,) = penalized([slices], [weights], l1, l2)
    assert sparse.indices.numpy().tolist() == rows
    np.testing.assert_allclose(sparse.values, expected[rows], rtol=1e-6)
