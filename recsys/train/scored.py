"""What a loss compares: the scores of a batch's targets and of the candidates against them.

Shapes: C cases, K candidates, P targets, O candidates whose scores differ, D width,
E = D + 1.
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
        state_CE = with_one(self.state_CD)
        scores_CK = biased_product(state_CE, self.biased_items(), self.precision)
        return tf.tensor_scatter_nd_add(scores_CK, self.place_O2, self.added_O)

    def biased_items(self) -> tf.Tensor:
        """The candidates' vectors with their biases behind them [K, E]."""
        return tf.concat([self.item_KD, self.bias_K[:, None]], axis=1)


def with_one(state_CD: tf.Tensor) -> tf.Tensor:
    """The states with a 1 behind them [C, E], which the items' biases are multiplied with."""
    return tf.concat([state_CD, tf.ones_like(state_CD[:, :1])], axis=1)


def biased_product(state_CE: tf.Tensor, item_KE: tf.Tensor, precision: Precision) -> tf.Tensor:
    """The states times the vectors, which alone are rounded, and the biases [C, K]."""
    # A pass over all scores less, where nothing is rounded: GPUs do, to TensorFloat-32.
    if precision == "float32" and not tf.config.list_logical_devices("GPU"):
        return tf.matmul(state_CE, item_KE, transpose_b=True)
    state_CD, item_KD = state_CE[:, :-1], item_KE[:, :-1]
    return tf.nn.bias_add(product(state_CD, item_KD, precision, transpose_b=True), item_KE[:, -1])
