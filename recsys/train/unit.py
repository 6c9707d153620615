"""Vectors of length 1."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

_LEAST_SQUARE = 1e-12
# Items start with a length of about 0.6. What is as good as nothing has no direction to keep, and
# its gradient, which goes with 1 / length, would be all that is left of a step when it is clipped.
_SHORTEST = 0.1


@tf.custom_gradient
def unit(values: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """The vectors along the last axis with length 1, or 0 where they have none [..., D].

    Their gradients are those of this, but of a short vector no longer than of one of length 0.1.
    """
    square = tf.reduce_sum(values * values, axis=-1, keepdims=True)
    inverse = tf.math.rsqrt(tf.maximum(square, _LEAST_SQUARE))
    found = values * inverse

    def gradient(by_found: tf.Tensor) -> tf.Tensor:
        along = tf.reduce_sum(by_found * found, axis=-1, keepdims=True)
        return (by_found - along * found) * tf.minimum(inverse, 1 / _SHORTEST)

    return found, gradient
