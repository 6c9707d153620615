"""Random numbers of one training step, the same whenever that step is done again."""

from __future__ import annotations

import copy

import tensorflow as tf


class Noise:
    """Draws that depend on the run's seed, the rank and the step, and on nothing before them.

    A run that was stopped and resumed therefore draws what it would have drawn.

    Args:
        seed: of the run
        step: number of the training step
        rank: whose draws they are
    """

    def __init__(self, seed: int, step: tf.Tensor, rank: int = 0) -> None:
        self._seed, self._shared = (
            tf.random.experimental.stateless_fold_in(
                tf.constant([seed, of], tf.int64), tf.cast(step, tf.int64)
            )
            for of in (rank, -1)
        )
        self._draws = 0

    def _next(self) -> tf.Tensor:
        self._draws += 1
        return tf.random.experimental.stateless_fold_in(
            self._seed, tf.constant(self._draws, tf.int64)
        )

    def drop(self, values: tf.Tensor, share: float) -> tf.Tensor:
        """Zeroes a share of the values and scales up the others (Srivastava et al., 2014)."""
        if share == 0:
            return values
        # Sixteen bits a value: uniform numbers in float32 took twice as long.
        least = min(round(share * 2**16), 2**16 - 1)
        kept = tf.cast(self._words(tf.shape(values)) >= tf.constant(least, tf.uint16), values.dtype)
        return values * (kept * (2**16 / (2**16 - least)))

    def _words(self, shape: tf.Tensor) -> tf.Tensor:
        """Sixteen random bits for each entry of a shape."""
        size = tf.reduce_prod(shape)
        pairs = tf.random.stateless_uniform([(size + 1) // 2], self._next(), None, None, tf.uint32)
        return tf.reshape(tf.reshape(tf.bitcast(pairs, tf.uint16), [-1])[:size], shape)

    def uniform(self, *shape: int | tf.Tensor) -> tf.Tensor:
        """Numbers from 0 to below 1 of the shape, in double precision."""
        return tf.random.stateless_uniform(shape, self._next(), dtype=tf.float64)

    def apart(self) -> Noise:
        """Draws of their own, which move none of the others'."""
        other = copy.copy(self)
        other._seed = tf.random.experimental.stateless_fold_in(self._seed, tf.constant(0, tf.int64))
        other._draws = 0
        return other

    def of_lane(self, lane: int) -> Noise:
        """The draws of one of a step's lanes, the first of which is 0; what ranks share, all do."""
        other = copy.copy(self)
        if lane:
            number = tf.constant(-lane, tf.int64)  # _next() takes those from 1 on, apart() 0
            other._seed = tf.random.experimental.stateless_fold_in(self._seed, number)
        return other

    def shared(self) -> Noise:
        """Draws that are the same on all ranks."""
        other = copy.copy(self)
        other._seed, other._draws = self._shared, 0
        return other
