"""Losses over the targets of a batch, as weighted sums: dividing by a global sum comes later.

Every loss takes the scores of all candidates and tells a target from its negatives by its column.
Shapes: C cases, K candidates, P targets.
"""

from __future__ import annotations

from typing import Protocol

import tensorflow as tf

# Of the scores of the negatives, in BPR-max (Hidasi & Karatzoglou, 2018, section 3.3.1).
BPR_MAX_REGULARIZATION = 1.0


class Loss(Protocol):
    """From scores [C, K], case [P], column [P] and weight [P] of each target to a weighted sum."""

    def __call__(
        self, scores_CK: tf.Tensor, case_P: tf.Tensor, column_P: tf.Tensor, weight_P: tf.Tensor
    ) -> tf.Tensor:
        """The weighted sum."""


def cross_entropy_sum(
    scores_CK: tf.Tensor, case_P: tf.Tensor, column_P: tf.Tensor, weight_P: tf.Tensor
) -> tf.Tensor:
    """Sum over targets of weight * -log softmax(scores of the target's case)[target].

    A case with several targets counts once a target, all against all candidates: the likelihood
    of a basket whose items are drawn independently from one distribution.
    """
    normalizer_C = tf.reduce_logsumexp(scores_CK, axis=1)
    target_P = tf.gather_nd(scores_CK, tf.stack([case_P, column_P], axis=1))
    return tf.reduce_sum(weight_P * (tf.gather(normalizer_C, case_P) - target_P))


def single_cross_entropy_sum(
    scores_CK: tf.Tensor, case_P: tf.Tensor, column_P: tf.Tensor, weight_P: tf.Tensor
) -> tf.Tensor:
    """The same where every case has exactly one target, in one fused kernel, in case order."""
    del case_P
    losses_P = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=column_P, logits=scores_CK)
    return tf.reduce_sum(weight_P * losses_P)


def bpr_max_sum(
    scores_CK: tf.Tensor, case_P: tf.Tensor, column_P: tf.Tensor, weight_P: tf.Tensor
) -> tf.Tensor:
    """BPR-max of Hidasi & Karatzoglou (CIKM 2018), equation 12, with score regularization.

    -log(sum_j s_j sigmoid(r_target - r_j)) + lambda sum_j s_j r_j^2, where s is the softmax over
    the negatives j: all candidates but the target.
    """
    target_P1, negative_PK, share_PK = _against_negatives(scores_CK, case_P, column_P)
    won_P = tf.reduce_sum(share_PK * tf.sigmoid(target_P1 - negative_PK), axis=1)
    penalty_P = tf.reduce_sum(share_PK * tf.square(negative_PK), axis=1)
    losses_P = -tf.math.log(won_P + 1e-24) + BPR_MAX_REGULARIZATION * penalty_P
    return tf.reduce_sum(weight_P * losses_P)


def top1_max_sum(
    scores_CK: tf.Tensor, case_P: tf.Tensor, column_P: tf.Tensor, weight_P: tf.Tensor
) -> tf.Tensor:
    """TOP1-max of Hidasi & Karatzoglou (CIKM 2018), equation 10.

    sum_j s_j (sigmoid(r_j - r_target) + sigmoid(r_j^2)), s being the softmax over the negatives.
    """
    target_P1, negative_PK, share_PK = _against_negatives(scores_CK, case_P, column_P)
    terms_PK = tf.sigmoid(negative_PK - target_P1) + tf.sigmoid(tf.square(negative_PK))
    return tf.reduce_sum(weight_P * tf.reduce_sum(share_PK * terms_PK, axis=1))


def _against_negatives(
    scores_CK: tf.Tensor, case_P: tf.Tensor, column_P: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The target's score [P, 1], all scores [P, K], and the softmax over the negatives [P, K]."""
    scores_PK = tf.gather(scores_CK, case_P)
    target_P1 = tf.gather(scores_PK, column_P, axis=1, batch_dims=1)[:, None]
    is_target_PK = tf.one_hot(column_P, tf.shape(scores_PK)[1], on_value=True, off_value=False)
    masked_PK = tf.where(is_target_PK, scores_PK.dtype.min, scores_PK)
    return target_P1, scores_PK, tf.nn.softmax(masked_PK)


def target_weights(case_P: tf.Tensor, cases: tf.Tensor, power: float) -> tf.Tensor:
    """The weight of each target [P]: (number of targets of its case) ** -power.

    With 0 every target counts the same, and the largest baskets decide; with 1 every basket does.
    """
    ones_P = tf.ones_like(case_P, tf.float32)
    size_C = tf.math.unsorted_segment_sum(ones_P, case_P, cases)
    return tf.pow(tf.gather(size_C, case_P), -power)


LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy_sum,
    "bpr_max": bpr_max_sum,
    "top1_max": top1_max_sum,
}
