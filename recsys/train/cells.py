"""Recurrent cells that read a whole batch of sequences.

Shapes: B rows, T steps, D inputs, U units.
"""

from __future__ import annotations

import tensorflow as tf


class GRU(tf.Module):
    """A gated recurrent unit (Cho et al., 2014), its reset gate after the product, as in cuDNN.

    The inputs of all steps are projected by one matrix product, which leaves only the recurrent
    half of the work to the loop over steps.
    """

    def __init__(self, inputs: int, units: int, seed: int) -> None:
        super().__init__(name="gru")
        glorot = tf.keras.initializers.GlorotUniform(seed=seed)
        orthogonal = tf.keras.initializers.Orthogonal(seed=seed)
        recurrent = tf.concat([orthogonal((units, units)) for _ in range(3)], axis=1)
        self.units = units
        self.input_kernel = tf.Variable(glorot((inputs, 3 * units)), name="input_kernel")
        self.recurrent_kernel = tf.Variable(recurrent, name="recurrent_kernel")
        self.input_bias = tf.Variable(tf.zeros([3 * units]), name="input_bias")
        self.recurrent_bias = tf.Variable(tf.zeros([3 * units]), name="recurrent_bias")

    def __call__(self, inputs_BTD: tf.Tensor) -> tf.Tensor:
        """The state after every step [B, T, U]; the state before the first is zero."""
        projected_TBG = tf.transpose(
            tf.tensordot(inputs_BTD, self.input_kernel, 1) + self.input_bias, [1, 0, 2]
        )
        first_BU = tf.zeros([tf.shape(inputs_BTD)[0], self.units])
        states_TBU = tf.scan(self._step, projected_TBG, initializer=first_BU)
        return tf.transpose(states_TBU, [1, 0, 2])

    def _step(self, state_BU: tf.Tensor, projected_BG: tf.Tensor) -> tf.Tensor:
        recurrent_BG = tf.matmul(state_BU, self.recurrent_kernel) + self.recurrent_bias
        update_in, reset_in, new_in = tf.split(projected_BG, 3, axis=1)
        update_state, reset_state, new_state = tf.split(recurrent_BG, 3, axis=1)
        update_BU = tf.sigmoid(update_in + update_state)
        reset_BU = tf.sigmoid(reset_in + reset_state)
        new_BU = tf.tanh(new_in + reset_BU * new_state)
        return update_BU * state_BU + (1 - update_BU) * new_BU
