"""Recurrent cells, and stacks of them that read a whole batch of sequences.

Shapes: B rows, T steps, D inputs, U units, G units of all gates together.
"""

from __future__ import annotations

from typing import Literal

import tensorflow as tf

State = tuple[tf.Tensor, ...]


class Cell(tf.Module):
    """One layer. The inputs of all steps are projected by one matrix product, which leaves only
    the recurrent half of the work to the loop over steps.

    Args:
        inputs: D
        units: U
        gates: how many times the units the projections have
        seed: of the start
    """

    states = 1

    def __init__(self, inputs: int, units: int, gates: int, seed: int) -> None:
        super().__init__(name=type(self).__name__.lower())
        glorot = tf.keras.initializers.GlorotUniform(seed=seed)
        orthogonal = tf.keras.initializers.Orthogonal(seed=seed)
        recurrent = tf.concat([orthogonal((units, units)) for _ in range(gates)], axis=1)
        self.units = units
        self.input_kernel = tf.Variable(glorot((inputs, gates * units)), name="input_kernel")
        self.recurrent_kernel = tf.Variable(recurrent, name="recurrent_kernel")
        self.input_bias = tf.Variable(tf.zeros([gates * units]), name="input_bias")
        self.recurrent_bias = tf.Variable(tf.zeros([gates * units]), name="recurrent_bias")

    def __call__(self, inputs_BTD: tf.Tensor) -> tf.Tensor:
        """The state after every step [B, T, U]; the state before the first is zero."""
        projected_BTG = tf.tensordot(inputs_BTD, self.input_kernel, 1) + self.input_bias
        first_BU = tf.zeros([tf.shape(inputs_BTD)[0], self.units])
        states = tf.scan(
            self._step, tf.transpose(projected_BTG, [1, 0, 2]), (first_BU,) * self.states
        )
        return tf.transpose(states[0], [1, 0, 2])

    def _recurrent(self, state_BU: tf.Tensor) -> tf.Tensor:
        return tf.matmul(state_BU, self.recurrent_kernel) + self.recurrent_bias

    def _step(self, state: State, projected_BG: tf.Tensor) -> State:
        raise NotImplementedError


class SimpleRNN(Cell):
    """The network of Elman (1990)."""

    def __init__(self, inputs: int, units: int, seed: int) -> None:
        super().__init__(inputs, units, 1, seed)

    def _step(self, state: State, projected_BG: tf.Tensor) -> State:
        return (tf.tanh(projected_BG + self._recurrent(state[0])),)


class GRU(Cell):
    """A gated recurrent unit (Cho et al., 2014), its reset gate after the product, as in cuDNN."""

    def __init__(self, inputs: int, units: int, seed: int) -> None:
        super().__init__(inputs, units, 3, seed)

    def _step(self, state: State, projected_BG: tf.Tensor) -> State:
        update_in, reset_in, new_in = tf.split(projected_BG, 3, axis=1)
        update_state, reset_state, new_state = tf.split(self._recurrent(state[0]), 3, axis=1)
        update_BU = tf.sigmoid(update_in + update_state)
        reset_BU = tf.sigmoid(reset_in + reset_state)
        new_BU = tf.tanh(new_in + reset_BU * new_state)
        return (new_BU + update_BU * (state[0] - new_BU),)


class LSTM(Cell):
    """Long short-term memory (Hochreiter & Schmidhuber, 1997) with forget gates (Gers, 2000)."""

    states = 2

    def __init__(self, inputs: int, units: int, seed: int) -> None:
        super().__init__(inputs, units, 4, seed)
        ones = tf.ones([units])  # remember, to start with
        self.input_bias.assign(tf.concat([0 * ones, ones, 0 * ones, 0 * ones], axis=0))

    def _step(self, state: State, projected_BG: tf.Tensor) -> State:
        enter, forget, new, leave = tf.split(projected_BG + self._recurrent(state[0]), 4, axis=1)
        memory_BU = tf.sigmoid(forget) * state[1] + tf.sigmoid(enter) * tf.tanh(new)
        return tf.sigmoid(leave) * tf.tanh(memory_BU), memory_BU


CELLS: dict[str, type[SimpleRNN | GRU | LSTM]] = {"rnn": SimpleRNN, "gru": GRU, "lstm": LSTM}


class Stack(tf.Module):
    """Layers of cells, each reading the states of the one below.

    Args:
        kind: of the cells
        inputs: D
        units: U of every layer
        layers: how many
        seed: of the start
    """

    def __init__(
        self, kind: Literal["rnn", "gru", "lstm"], inputs: int, units: int, layers: int, seed: int
    ) -> None:
        super().__init__(name="stack")
        widths = [inputs] + [units] * (layers - 1)
        self.layers = [CELLS[kind](width, units, seed + at) for at, width in enumerate(widths)]

    def __call__(self, inputs_BTD: tf.Tensor) -> tf.Tensor:
        """The top layer's state after every step [B, T, U]."""
        for layer in self.layers:
            inputs_BTD = layer(inputs_BTD)
        return inputs_BTD
