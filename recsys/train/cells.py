"""The kinds of recurrent cells, and stacks of them.

Shapes: B rows, T steps, D inputs, U units.
"""

from __future__ import annotations

from typing import Literal

import tensorflow as tf

from recsys.train.precision import Precision
from recsys.train.recurrence import Cell, Derivatives, State


class SimpleRNN(Cell):
    """The network of Elman (1990)."""

    def _step(self, before: State, projected: tf.Tensor, recurrent: tf.Tensor) -> State:
        return (tf.tanh(projected + recurrent),)


class GRU(Cell):
    """A gated recurrent unit (Cho et al., 2014), its reset gate after the product, as in cuDNN."""

    starts = (0.0, 0.0, 0.0)

    def _step(self, before: State, projected: tf.Tensor, recurrent: tf.Tensor) -> State:
        update_in, reset_in, new_in = tf.split(projected, 3, axis=-1)
        update_state, reset_state, new_state = tf.split(recurrent, 3, axis=-1)
        update = tf.sigmoid(update_in + update_state)
        reset = tf.sigmoid(reset_in + reset_state)
        new = tf.tanh(new_in + reset * new_state)
        return (new + update * (before[0] - new),)

    def _derivatives(
        self, before: State, projected: tf.Tensor, recurrent: tf.Tensor
    ) -> Derivatives:
        """By hand, in fewer operations than a tape finds."""
        gates_in, new_in = tf.split(projected, [2 * self.units, self.units], axis=-1)
        gates_state, new_state = tf.split(recurrent, [2 * self.units, self.units], axis=-1)
        update, reset = tf.split(tf.sigmoid(gates_in + gates_state), 2, axis=-1)
        new = tf.tanh(new_in + reset * new_state)
        by_new = (1 - update) * (1 - new * new)
        through_reset = by_new * reset
        by_update = (before[0] - new) * update * (1 - update)
        by_reset = through_reset * new_state * (1 - reset)
        by_projected = tf.concat([by_update, by_reset, by_new], axis=-1)
        by_recurrent = tf.concat([by_update, by_reset, through_reset], axis=-1)
        return [by_projected], [by_recurrent], [[update]]


class LSTM(Cell):
    """Long short-term memory (Hochreiter & Schmidhuber, 1997) with forget gates (Gers, 2000)."""

    states = 2
    starts = (0.0, 1.0, 0.0, 0.0)  # the forget gate remembers, to start with

    def _step(self, before: State, projected: tf.Tensor, recurrent: tf.Tensor) -> State:
        enter, forget, new, leave = tf.split(projected + recurrent, 4, axis=-1)
        memory = tf.sigmoid(forget) * before[1] + tf.sigmoid(enter) * tf.tanh(new)
        return tf.sigmoid(leave) * tf.tanh(memory), memory


CELLS: dict[str, type[Cell]] = {"rnn": SimpleRNN, "gru": GRU, "lstm": LSTM}


class Stack(tf.Module):
    """Layers of cells, each reading the states of the one below.

    Args:
        kind: of the cells
        inputs: D
        units: U of every layer
        layers: how many
        seed: of the start
        precision: of the products
    """

    def __init__(
        self,
        kind: Literal["rnn", "gru", "lstm"],
        inputs: int,
        units: int,
        layers: int,
        seed: int,
        precision: Precision = "float32",
    ) -> None:
        super().__init__(name="stack")
        widths = [inputs] + [units] * (layers - 1)
        self.layers = [
            CELLS[kind](width, units, seed, precision, layer) for layer, width in enumerate(widths)
        ]

    def __call__(self, inputs_BTD: tf.Tensor, by_step: bool = False) -> tf.Tensor:
        """The top layer's state after every step [B, T, U]; by_step as of a Cell."""
        for layer in self.layers:
            inputs_BTD = layer(inputs_BTD, by_step)
        return inputs_BTD
