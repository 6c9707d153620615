"""What the states of a sequence say together, beside the last one.

Shapes: B rows, T steps, C cases, D width.
"""

from __future__ import annotations

import tensorflow as tf

# Of a step that has not happened yet.
_HIDDEN = -1e9


class Attention(tf.Module):
    """Attention from every state to itself and those before it (Luong et al., EMNLP 2015).

        share_ts = softmax over s <= t of (h_t A) . h_s        context_t = sum_s share_ts h_s

    A step's state and context are projected together to one vector, as NARM does (Li et al., CIKM
    2017): the state says what came last, the context what the sequence is about.

    Args:
        width: D
        seed: of the start
    """

    def __init__(self, width: int, seed: int) -> None:
        super().__init__(name="attention")
        bound = width**-0.5
        draws = tf.random.stateless_uniform([2, width, width], [seed, 201], -bound, bound)
        self.query_kernel = tf.Variable(draws[0], name="query_kernel")
        # The projection starts from the state alone.
        self.kernel = tf.Variable(tf.concat([tf.eye(width), draws[1]], axis=0), name="kernel")

    def __call__(self, states_BTD: tf.Tensor) -> tf.Tensor:
        """State and context of every step [B, T, 2 D]."""
        steps = tf.shape(states_BTD)[1]
        query_BTD = tf.tensordot(states_BTD, self.query_kernel, 1)
        scores_BTT = tf.matmul(query_BTD, states_BTD, transpose_b=True)
        is_past_TT = tf.linalg.band_part(tf.ones([steps, steps], tf.bool), -1, 0)
        shares_BTT = tf.nn.softmax(tf.where(is_past_TT, scores_BTT, _HIDDEN))
        return tf.concat([states_BTD, tf.matmul(shares_BTT, states_BTD)], axis=2)

    def project(self, both_CE: tf.Tensor) -> tf.Tensor:
        """State and context [C, 2 D] as one vector [C, D]."""
        return tf.matmul(both_CE, self.kernel)
