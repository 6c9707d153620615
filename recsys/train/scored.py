"""What a loss compares: the scores of a batch's targets and of the candidates against them.

Shapes: C cases, K candidates, P targets, O candidates whose scores differ, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from recsys.train.precision import Precision, product

# Stands for a score that no softmax sees; its exponential is zero, and so is its gradient.
NO_NEGATIVE = -1e9


@dataclass(frozen=True)
class Scored:
    """The scores of the targets, and what those of the candidates are made of.

    Of all candidates together they are the largest thing of a step, and made when they are needed.

    Args:
        target_P: score of each target
        case_P: the case of each target, not falling, int32
        state_CD: of each case
        item_KD: vector of each candidate
        bias_K: of each candidate
        place_O2: case and candidate whose score more is added to, int32; the same may come again
        added_O: what is added, NO_NEGATIVE where a candidate is a target of the case
        precision: of the products
    """

    target_P: tf.Tensor
    case_P: tf.Tensor
    state_CD: tf.Tensor
    item_KD: tf.Tensor
    bias_K: tf.Tensor
    place_O2: tf.Tensor
    added_O: tf.Tensor
    precision: Precision = "float32"

    def candidates(self) -> tf.Tensor:
        """Their scores for each case [C, K]."""
        product_CK = product(self.state_CD, self.item_KD, self.precision, transpose_b=True)
        scores_CK = tf.nn.bias_add(product_CK, self.bias_K)
        return tf.tensor_scatter_nd_add(scores_CK, self.place_O2, self.added_O)
