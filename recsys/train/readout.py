"""What the states of a sequence say together, beside the last one.

Shapes: B rows, T steps, C cases, D width.
"""

from __future__ import annotations

import tensorflow as tf

from recsys.train.precision import in_tiles, one_by_one

# Of a step that has not happened yet.
_HIDDEN = -1e9


class Attention(tf.Module):
    """Attention from every state to itself and those before it (Luong et al., EMNLP 2015).

        share_ts = softmax over s <= t of (h_t A) . h_s        context_t = sum_s share_ts h_s

    A step's state, its context and its input are projected together to one vector: where the
    sequence stands, what it is about (as in NARM, Li et al., CIKM 2017), and what came last (as
    in STAMP, Liu et al., KDD 2018).

    Args:
        width: D
        seed: of the start
    """

    def __init__(self, width: int, seed: int) -> None:
        super().__init__(name="attention")
        bound = width**-0.5
        draws_DE = tf.random.stateless_uniform([width, 3 * width], [seed, 201], -bound, bound)
        query, *others = tf.split(draws_DE, 3, axis=1)
        self.query_kernel = tf.Variable(query, name="query_kernel")
        # The projection starts from the state, and little else.
        self.kernel = tf.Variable(tf.concat([tf.eye(width), *others], axis=0), name="kernel")

    def __call__(
        self, states_BTD: tf.Tensor, inputs_BTD: tf.Tensor, by_step: bool = False
    ) -> tf.Tensor:
        """State, context and input of every step [B, T, 3 D].

        Args:
            states_BTD: of every step
            inputs_BTD: of every step
            by_step: make the queries of each step for themselves, in products of B rows
        """
        steps = tf.shape(states_BTD)[1]
        if by_step:
            states_TBD = tf.transpose(states_BTD, [1, 0, 2])
            query_TBD = one_by_one(states_TBD, self.query_kernel, "float32")
            query_BTD = tf.transpose(query_TBD, [1, 0, 2])
        else:
            query_BTD = tf.tensordot(states_BTD, self.query_kernel, 1)
        scores_BTT = tf.matmul(query_BTD, states_BTD, transpose_b=True)
        is_past_TT = tf.linalg.band_part(tf.ones([steps, steps], tf.bool), -1, 0)
        shares_BTT = tf.nn.softmax(tf.where(is_past_TT, scores_BTT, _HIDDEN))
        context_BTD = tf.matmul(shares_BTT, states_BTD)
        return tf.concat([states_BTD, context_BTD, inputs_BTD], axis=2)

    def project(self, together_CE: tf.Tensor, tiled: bool = False) -> tf.Tensor:
        """State, context and input [C, 3 D] as one vector [C, D]; tiled as of in_tiles."""
        multiply = in_tiles if tiled else tf.matmul
        return multiply(together_CE, self.kernel)
