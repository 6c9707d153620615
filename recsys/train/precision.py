"""Products of matrices in a chosen precision; weights, sums over steps and updates are float32."""

from __future__ import annotations

from typing import Literal

import tensorflow as tf

Precision = Literal["float32", "bfloat16", "float16"]


def product(
    left: tf.Tensor,
    right: tf.Tensor,
    precision: Precision,
    transpose_a: bool = False,
    transpose_b: bool = False,
) -> tf.Tensor:
    """A matrix product in float32, of operands rounded to the precision.

    With float16 and bfloat16 that is mixed precision (Micikevicius et al., ICLR 2018), backward,
    too. No scaling of the loss: it is a sum over the targets, whose gradients float16 can hold.
    """
    if precision == "float32":
        return tf.matmul(left, right, transpose_a, transpose_b)
    left, right = tf.cast(left, precision), tf.cast(right, precision)
    return tf.cast(tf.matmul(left, right, transpose_a, transpose_b), tf.float32)
