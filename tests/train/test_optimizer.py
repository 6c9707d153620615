import numpy as np
import tensorflow as tf

from recsys.train.optimizer import Adam


def test_adam_with_warm_up_equals_its_formula() -> None:
    rng = np.random.default_rng(4)
    start = rng.normal(size=(3, 2)).astype(np.float32)
    gradients = rng.normal(size=(5, 3, 2)).astype(np.float32)
    variable = tf.Variable(start)
    adam = Adam([variable], learning_rate=0.1, warmup_steps=3)
    value, mean, square = start.astype(float), np.zeros((3, 2)), np.zeros((3, 2))
    for step, gradient in enumerate(gradients, start=1):
        adam.apply([tf.constant(gradient)])
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        rate = 0.1 * min(1, step / 3) * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        value -= rate * mean / (np.sqrt(square) + 1e-7)
        np.testing.assert_allclose(variable.numpy(), value, rtol=1e-4, atol=1e-5)
