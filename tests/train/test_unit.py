import numpy as np
import tensorflow as tf

from recsys.train.unit import unit


def _with_gradient(values: np.ndarray, by_found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    given = tf.constant(values, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(given)
        found = unit(given)
    return found.numpy(), tape.gradient(found, given, by_found.astype(np.float32)).numpy()


def test_vectors_get_length_1_and_keep_their_direction() -> None:
    rng = np.random.default_rng(1)
    values, by_found = rng.normal(size=(2, 3, 4, 5))
    found, gradient = _with_gradient(values, by_found)
    length = np.linalg.norm(values, axis=-1, keepdims=True)
    np.testing.assert_allclose(found, values / length, rtol=1e-5)
    # By hand: what lies along a vector moves nothing.
    along = (by_found * values / length).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(
        gradient, (by_found - along * values / length) / length, rtol=1e-4, atol=1e-6
    )


def test_what_is_as_good_as_nothing_has_the_gradient_of_a_short_vector() -> None:
    values = np.array([[0.0, 0.0], [1e-4, 0.0], [0.2, 0.0]])
    by_found = np.array([[3.0, -1.0], [3.0, -1.0], [3.0, -1.0]])
    found, gradient = _with_gradient(values, by_found)
    np.testing.assert_allclose(found, [[0, 0], [1, 0], [1, 0]], atol=1e-6)
    np.testing.assert_allclose(gradient, [[30, -10], [0, -10], [0, -5]], atol=1e-4)
