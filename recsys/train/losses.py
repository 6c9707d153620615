"""Losses over the targets of a batch, as sums: the division by a global count comes later.

Shapes: C cases, V vocabulary, P targets.
"""

from __future__ import annotations

import tensorflow as tf


def cross_entropy_sum(
    scores_CV: tf.Tensor, case_P: tf.Tensor, item_P: tf.Tensor, weight_P: tf.Tensor
) -> tf.Tensor:
    """Sum over targets of weight * -log softmax(scores of the target's case)[target].

    A case with several targets counts once a target, all against the whole catalogue: the
    likelihood of a basket whose items are drawn independently from one distribution.
    """
    normalizer_C = tf.reduce_logsumexp(scores_CV, axis=1)
    target_P = tf.gather_nd(scores_CV, tf.stack([case_P, item_P], axis=1))
    return tf.reduce_sum(weight_P * (tf.gather(normalizer_C, case_P) - target_P))


def target_weights(case_P: tf.Tensor, cases: tf.Tensor, power: float) -> tf.Tensor:
    """The weight of each target [P]: (number of targets of its case) ** -power.

    With 0 every target counts the same, and the largest baskets decide; with 1 every basket does.
    """
    ones_P = tf.ones_like(case_P, tf.float32)
    size_C = tf.math.unsorted_segment_sum(ones_P, case_P, cases)
    return tf.pow(tf.gather(size_C, case_P), -power)
