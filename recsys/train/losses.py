"""Losses over the targets of a batch, as weighted sums: dividing by a global sum comes later.

A target is set against the negatives of its case: the candidates that are no target of that case.
Shapes: C cases, K candidates, P targets.
"""

from __future__ import annotations

from typing import Protocol

import tensorflow as tf

from recsys.train.cross_entropy import cross_entropy_sum
from recsys.train.scored import NO_NEGATIVE, Scored


class Loss(Protocol):
    """From scores and the weight [P] of each target to a weighted sum."""

    def __call__(self, scored: Scored, weight_P: tf.Tensor) -> tf.Tensor:
        """The weighted sum."""


def bpr_max_sum(scored: Scored, weight_P: tf.Tensor, regularization: float = 1.0) -> tf.Tensor:
    """BPR-max of Hidasi & Karatzoglou (CIKM 2018), equation 12, with score regularization.

    -log(sum_j s_j sigmoid(r_target - r_j)) + lambda sum_j s_j r_j^2, where s is the softmax over
    the negatives j and lambda the regularization (section 3.3.1). 0 where there are no negatives.
    """
    target_P1, negative_PK, share_PK = _against_negatives(scored)
    won_P = tf.reduce_sum(share_PK * tf.sigmoid(target_P1 - negative_PK), axis=1)
    penalty_P = tf.reduce_sum(share_PK * tf.square(negative_PK), axis=1)
    # Where no negative has a share, the logarithm is of 1.
    least_P = tf.where(tf.reduce_sum(share_PK, axis=1) == 0.0, 1.0, 1e-24)
    losses_P = -tf.math.log(won_P + least_P) + regularization * penalty_P
    return tf.reduce_sum(weight_P * losses_P)


def top1_max_sum(scored: Scored, weight_P: tf.Tensor) -> tf.Tensor:
    """TOP1-max of Hidasi & Karatzoglou (CIKM 2018), equation 10.

    sum_j s_j (sigmoid(r_j - r_target) + sigmoid(r_j^2)), s being the softmax over the negatives;
    0 where there are none.
    """
    target_P1, negative_PK, share_PK = _against_negatives(scored)
    terms_PK = tf.sigmoid(negative_PK - target_P1) + tf.sigmoid(tf.square(negative_PK))
    return tf.reduce_sum(weight_P * tf.reduce_sum(share_PK * terms_PK, axis=1))


def _against_negatives(scored: Scored) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The target's score [P, 1], the candidates' [P, K], and the softmax of the negatives [P, K].

    What is no negative has the score 0 and no share.
    """
    candidate_PK = tf.gather(scored.candidates(), scored.case_P)
    # A score that is no number counts as a negative's, and so is found in the loss.
    is_none_PK = candidate_PK <= NO_NEGATIVE / 2
    # Beside a negative the others' softmax is 0, but among themselves they would share the whole.
    share_PK = tf.where(is_none_PK, 0.0, tf.nn.softmax(candidate_PK))
    # Their scores must not overflow a square either.
    negative_PK = tf.where(is_none_PK, 0.0, candidate_PK)
    return scored.target_P[:, None], negative_PK, share_PK


def target_weights(case_P: tf.Tensor, cases: tf.Tensor, power: float) -> tf.Tensor:
    """The weight of each target [P]: (number of targets of its case) ** -power.

    With 0 every target counts the same, and the largest baskets decide; with 1 every basket does.
    """
    ones_P = tf.ones_like(case_P, tf.float32)
    size_C = tf.math.unsorted_segment_sum(ones_P, case_P, cases)
    return tf.pow(tf.gather(size_C, case_P), -power)


# What is drawn is corrected for in these, which are sums over the catalogue. In the others the
# scores themselves count, and a softmax over just the negatives of the step (Hidasi & Karatzoglou).
CORRECTED = ("cross_entropy",)
LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy_sum,
    "bpr_max": bpr_max_sum,
    "top1_max": top1_max_sum,
}
