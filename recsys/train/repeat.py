"""What a history alone says about buying the same again.

Shapes: C cases, L events, P events of the histories, Q distinct items of them, K half-lives,
G = K + 1, D width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import tensorflow as tf

from recsys.schemas import FIRST_ITEM
from recsys.train.batch import Batch, Cases, step_days
from recsys.train.precision import in_tiles
from recsys.train.unit import unit

# Keeps the logarithm of a count that has decayed to nothing finite.
_LEAST_COUNT = 0.05
# Where learning starts: what was just looked at, and what is bought every week or every quarter.
_HALF_LIVES_STEPS = (1.0, 5.0, 25.0)
_HALF_LIVES_DAYS = (14.0, 60.0, 240.0)


@dataclass(frozen=True)
class Seen:
    """The events of rows, as cases see them.

    Args:
        item_CL: their items; below FIRST_ITEM they are left out
        steps_CL: age of each event in steps, 0 in the latest; a negative one is not in the history
        days_CL: age of each event in days
        own_CL2: of_items of the items, where somebody looked them up already
    """

    item_CL: tf.Tensor
    steps_CL: tf.Tensor
    days_CL: tf.Tensor
    own_CL2: tf.Tensor | None = None


def seen(
    batch: Batch, row_C: tf.Tensor, step_C: tf.Tensor, own_BL2: tf.Tensor | None = None
) -> Seen:
    """What comes before the given steps of the given rows."""
    step_CL, days_CL = (tf.gather(own, row_C) for own in (batch["step"], step_days(batch)))
    latest_C1 = step_C[:, None] - 1
    age_CL = tf.where(step_CL >= 0, latest_C1 - step_CL, -1)
    # Step 0 has nothing before it; its cases have no events either.
    now_C1 = tf.reduce_max(tf.where(step_CL == latest_C1, days_CL, 0.0), axis=1, keepdims=True)
    own_CL2 = None if own_BL2 is None else tf.gather(own_BL2, row_C)
    return Seen(tf.gather(batch["item"], row_C), age_CL, now_C1 - days_CL, own_CL2)


class RepeatScores(tf.Module):
    """Scores for the items of a history, by how often and how lately each occurs in it.

    A recurrent network of some dozen units cannot count tens of thousands of items, yet how often
    somebody bought a thing is the best single predictor of the next basket (Hu et al., SIGIR
    2020, whose decayed frequencies these are). For item i of a case:

        score_i = b + b_i + b_s
            + sum_k (w_k + w_i + w_sk) log(0.05 + sum over events e of i of 2^(-age_e / h_k))

    where age is counted back from the latest step, for some k in steps and for others in days,
    and b, w, their parts that belong to an item, and the half-lives h are learnt. The parts b_s and
    w_s are linear in the network's state: whether somebody is about to do the same again depends
    on what was done (as in RepeatNet, Ren et al., AAAI 2019). An item that the history lacks
    scores 0.

    Args:
        vocabulary_size: of the items
        width: D, of the states
    """

    def __init__(self, vocabulary_size: int, width: int) -> None:
        super().__init__(name="repeat")
        self.vocabulary_size = vocabulary_size
        half_lives = _HALF_LIVES_STEPS + _HALF_LIVES_DAYS
        lives = len(half_lives)
        self.log_half_lives = tf.Variable(
            [math.log(life) for life in half_lives], name="log_half_lives"
        )
        self.bias = tf.Variable(1.0, name="bias")
        self.weights = tf.Variable([1.0 / lives] * lives, name="weights")
        self.state_kernel = tf.Variable(tf.zeros([width, 1 + lives]), name="state_kernel")
        self.item_bias = tf.Variable(tf.zeros([vocabulary_size]), name="item_bias")
        self.item_weight = tf.Variable(tf.zeros([vocabulary_size]), name="item_weight")

    def __call__(
        self, history: Seen, state_CD: tf.Tensor, tiled: bool = True
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores of the distinct items of each case.

        Args:
            history: of the cases
            state_CD: of the network; its length does not count
            tiled: multiply in_tiles, so that a case's last bits are its own

        Returns:
            places [Q, 2] as (case, item), int64, and their scores [Q]
        """
        where_P2 = tf.where((history.item_CL >= FIRST_ITEM) & (history.steps_CL >= 0))
        case_Q, item_Q, of_P = self._distinct(where_P2, history.item_CL)
        log_QK = self._log_counts(history, where_P2, of_P, tf.size(item_Q))
        if history.own_CL2 is None:
            own_Q2 = self.of_items(item_Q)
        else:
            own_P2 = tf.gather_nd(history.own_CL2, where_P2)  # the same for all events of an item
            own_Q2 = tf.math.unsorted_segment_max(own_P2, of_P, tf.size(item_Q))
        multiply = in_tiles if tiled else tf.matmul
        of_state_CG = multiply(unit(state_CD), self.state_kernel)
        of_state_QG = tf.gather(of_state_CG, case_Q)
        score_Q = self.bias + own_Q2[:, 0] + of_state_QG[:, 0]
        score_Q += tf.reduce_sum(log_QK * (self.weights + of_state_QG[:, 1:]), axis=1)
        score_Q += own_Q2[:, 1] * tf.reduce_sum(log_QK, axis=1)
        return tf.stack([tf.cast(case_Q, tf.int64), item_Q], axis=1), score_Q

    def _distinct(
        self, where_P2: tf.Tensor, item_CL: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Case [Q] and item [Q] of each distinct item of a case, and which of them an event is [P].

        Args:
            where_P2: case and place of the events
            item_CL: their items
        """
        item_P = tf.cast(tf.gather_nd(item_CL, where_P2), tf.int64)
        key_Q, of_P = tf.unique(where_P2[:, 0] * self.vocabulary_size + item_P)
        case_P = tf.cast(where_P2[:, 0], tf.int32)  # TFLite cannot divide 64-bit integers
        case_Q = tf.math.unsorted_segment_max(case_P, of_P, tf.size(key_Q))
        return case_Q, key_Q % self.vocabulary_size, of_P

    def _log_counts(
        self, history: Seen, where_P2: tf.Tensor, of_P: tf.Tensor, items: tf.Tensor
    ) -> tf.Tensor:
        """The logarithms of the decayed counts [Q, K]."""
        steps_P = tf.cast(tf.gather_nd(history.steps_CL, where_P2), tf.float32)
        days_P = tf.maximum(tf.gather_nd(history.days_CL, where_P2), 0.0)
        age_PK = tf.concat(
            [
                tf.repeat(steps_P[:, None], len(_HALF_LIVES_STEPS), axis=1),
                tf.repeat(days_P[:, None], len(_HALF_LIVES_DAYS), axis=1),
            ],
            axis=1,
        )
        decayed_PK = tf.exp(-math.log(2.0) * age_PK / tf.exp(self.log_half_lives))
        return tf.math.log(_LEAST_COUNT + tf.math.unsorted_segment_sum(decayed_PK, of_P, items))

    def of_items(self, item_N: tf.Tensor) -> tf.Tensor:
        """The parts of b and w that belong to items [N, 2]."""
        parts = [tf.gather(own, item_N) for own in (self.item_bias, self.item_weight)]
        return tf.stack(parts, axis=1)


def value_at(
    place_Q2: tf.Tensor, value_Q: tf.Tensor, cases: Cases, vocabulary_size: int
) -> tf.Tensor:
    """The values of the cases' targets [P], 0 where no place (case, item) is that of the target."""
    key_Q = place_Q2[:, 0] * vocabulary_size + place_Q2[:, 1]
    item_P = tf.cast(cases.item_P, tf.int64)
    key_P = tf.cast(cases.case_P, tf.int64) * vocabulary_size + item_P
    order_Q = tf.argsort(key_Q)
    # What lies behind the last key is found there, and is nobody's.
    sorted_key_R = tf.concat([tf.gather(key_Q, order_Q), [tf.int64.max]], axis=0)
    sorted_value_R = tf.concat([tf.gather(value_Q, order_Q), [0.0]], axis=0)
    found_P = tf.searchsorted(sorted_key_R, key_P)
    value_P = tf.gather(sorted_value_R, found_P)
    return tf.where(tf.gather(sorted_key_R, found_P) == key_P, value_P, 0.0)
