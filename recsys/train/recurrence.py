"""One recurrent layer over all steps of a batch of sequences, and its gradient.

Shapes: B rows, T steps, D inputs, U units, G units of all gates together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from recsys.train.precision import Precision, one_by_one, product

# Parts of a state, or their gradients.
State = tuple[tf.Tensor, ...]
# Of each part of the state after a step: by both products, and by each part before.
Derivatives = tuple[list[tf.Tensor], list[tf.Tensor], list[list[tf.Tensor]]]
_Arrays = tuple[tf.TensorArray, ...]

# Of the run's seed; other parts of the model have other draws.
_FIRST_DRAW = 1001


class Cell(tf.Module):
    """A layer of units, in which every step reads the state after the one before.

    In training the inputs of all steps are projected by one matrix product, which leaves only the
    recurrent half of the work to the loop over steps. Both have a few gates times the units.

    What a step does after the two products is elementwise in the units. So its derivatives can be
    had for all steps at once when the states are known; back through the steps goes one product a
    step, and the recurrent kernel's gradient is one product for all of them.

    Args:
        inputs: D
        units: U
        seed: of the start
        precision: of the products
        layer: which of the layers it is, whose starts differ
    """

    # How many parts a state has, the first of which is read.
    states = 1
    # Where the input bias of each gate starts; a gate is as wide as the units.
    starts: tuple[float, ...] = (0.0,)

    def __init__(
        self,
        inputs: int,
        units: int,
        seed: int,
        precision: Precision = "float32",
        layer: int = 0,
    ) -> None:
        super().__init__(name=type(self).__name__.lower())
        self.units, self.precision, gates = units, precision, len(self.starts)
        draw = _FIRST_DRAW + layer * (1 + gates)
        recurrent = [_orthogonal(units, [seed, draw + 1 + gate]) for gate in range(gates)]
        given = _glorot(inputs, gates * units, [seed, draw])
        self.input_kernel = tf.Variable(given, name="input_kernel")
        self.recurrent_kernel = tf.Variable(tf.concat(recurrent, axis=1), name="recurrent_kernel")
        self.input_bias = tf.Variable(tf.repeat(self.starts, units), name="input_bias")
        self.recurrent_bias = tf.Variable(tf.zeros([gates * units]), name="recurrent_bias")

    def __call__(self, inputs_BTD: tf.Tensor, by_step: bool = False) -> tf.Tensor:
        """The state after every step [B, T, U]; the state before the first is zero.

        Args:
            inputs_BTD: of every step
            by_step: project those of each step for themselves, in products of B rows, so that a
                row's last bits are its own (recsys.tiles)
        """
        inputs_TBD = tf.transpose(inputs_BTD, [1, 0, 2])
        projected_TBG = self._affine(inputs_TBD, self.input_kernel, self.input_bias, by_step)
        kernel_UG = tf.convert_to_tensor(self.recurrent_kernel)
        states_TBU = self._run(projected_TBG, kernel_UG, tf.convert_to_tensor(self.recurrent_bias))
        return tf.transpose(states_TBU, [1, 0, 2])

    def _step(self, before: State, projected: tf.Tensor, recurrent: tf.Tensor) -> State:
        """The state after a step, elementwise in U, from that before and both products [..., G]."""
        raise NotImplementedError

    def _run(self, projected_TBG: tf.Tensor, kernel_UG: tf.Tensor, bias_G: tf.Tensor) -> tf.Tensor:
        @tf.custom_gradient
        def run(*given: tf.Tensor) -> tuple[tf.Tensor, Any]:
            after_TBU = self._forward(*given)
            return after_TBU[0], lambda grad_TBU: self._backward(grad_TBU, after_TBU, *given)

        return run(projected_TBG, kernel_UG, bias_G)

    def _forward(self, projected_TBG: tf.Tensor, kernel_UG: tf.Tensor, bias_G: tf.Tensor) -> State:
        """Every part of the state after every step [T, B, U]."""

        def step(at: tf.Tensor, state: State, seen: _Arrays) -> tuple[tf.Tensor, State, _Arrays]:
            recurrent_BG = tf.nn.bias_add(product(state[0], kernel_UG, self.precision), bias_G)
            state = self._step(state, projected_TBG[at], recurrent_BG)
            return at + 1, state, _write(seen, at, state)

        steps, rows = tf.shape(projected_TBG)[0], _rows(projected_TBG)
        # The state before the first step is zero, and needs no product.
        first = self._step(self._none(rows), projected_TBG[0], bias_G[None])
        seen = _write(self._arrays(steps, projected_TBG.shape[1]), 0, first)
        *_, seen = tf.while_loop(lambda at, *_: at < steps, step, (1, first, seen))
        return tuple(part.stack() for part in seen)

    def _backward(
        self,
        grad_TBU: tf.Tensor,
        after_TBU: State,
        projected_TBG: tf.Tensor,
        kernel_UG: tf.Tensor,
        bias_G: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The gradients of what _forward was given, from that of the state's first part."""
        steps, rows = tf.unstack(tf.shape(projected_TBG)[:2])
        recurrent_TBG = self._affine(after_TBU[0][:-1], kernel_UG, bias_G)
        first_1BG = tf.broadcast_to(bias_G, [1, rows, bias_G.shape[0]])
        by_projected, by_recurrent, by_before = self._derivatives(
            tuple(tf.pad(part[:-1], [[1, 0], [0, 0], [0, 0]]) for part in after_TBU),
            projected_TBG,
            tf.concat([first_1BG, recurrent_TBG], axis=0),
        )

        def grad_at(at: tf.Tensor, carried: State) -> State:
            return carried[0] + grad_TBU[at], *carried[1:]

        def step(at: tf.Tensor, carried: State, seen: _Arrays) -> tuple[tf.Tensor, State, _Arrays]:
            grad = grad_at(at, carried)
            grad_BG = self._chain(grad, [part[at] for part in by_recurrent])
            through_BU = product(grad_BG, kernel_UG, self.precision, transpose_b=True)
            carried = tuple(self._chain(grad, [part[at] for part in parts]) for parts in by_before)
            return at - 1, (carried[0] + through_BU, *carried[1:]), _write(seen, at, grad)

        loop = (steps - 1, self._none(rows), self._arrays(steps, None))
        _, carried, seen = tf.while_loop(lambda at, *_: at > 0, step, loop)
        grads_TBU = tuple(part.stack() for part in _write(seen, 0, grad_at(0, carried)))
        grad_TBG = self._chain(grads_TBU, by_recurrent)
        grad_UG = product(
            _flat(after_TBU[0][:-1]), _flat(grad_TBG[1:]), self.precision, transpose_a=True
        )
        grad_G = tf.reduce_sum(grad_TBG, axis=[0, 1])
        return self._chain(grads_TBU, by_projected), grad_UG, grad_G

    def _derivatives(
        self, before: State, projected: tf.Tensor, recurrent: tf.Tensor
    ) -> Derivatives:
        """Of a step."""
        with tf.GradientTape(persistent=True) as tape:
            given = [projected, recurrent, *before]
            tape.watch(given)
            after = self._step(before, projected, recurrent)
        by = [tape.gradient(part, given, unconnected_gradients="zero") for part in after]
        by_projected, by_recurrent, *by_before = map(list, zip(*by, strict=True))
        return by_projected, by_recurrent, by_before

    @staticmethod
    def _chain(grads: State, derivatives: Sequence[tf.Tensor]) -> tf.Tensor:
        """The chain rule, elementwise: the gradient of a state's parts counts for every gate."""
        times = derivatives[0].shape[-1] // grads[0].shape[-1]
        products = [
            tf.concat([grad] * times, -1) * by for grad, by in zip(grads, derivatives, strict=True)
        ]
        return products[0] if len(products) == 1 else tf.add_n(products)

    def _affine(
        self, values_TBU: tf.Tensor, kernel_UG: tf.Tensor, bias_G: tf.Tensor, by_step: bool = False
    ) -> tf.Tensor:
        """All steps times a kernel, plus a bias [T, B, G], in one product or one a step."""
        if by_step:
            found = one_by_one(values_TBU, kernel_UG, self.precision)
        else:
            found = product(_flat(values_TBU), kernel_UG, self.precision)
        shape = [tf.shape(values_TBU)[0], _rows(values_TBU), bias_G.shape[0]]
        return tf.reshape(tf.nn.bias_add(found, bias_G), shape)

    def _none(self, rows: tf.Tensor) -> State:
        return (tf.zeros([rows, self.units]),) * self.states

    def _arrays(self, steps: tf.Tensor, rows: int | None) -> _Arrays:
        shape = [rows, self.units]
        return tuple(
            tf.TensorArray(tf.float32, steps, element_shape=shape) for _ in range(self.states)
        )


def _glorot(rows: int, columns: int, draw: list[int]) -> tf.Tensor:
    """Uniform numbers whose variance keeps that of signals (Glorot & Bengio, 2010)."""
    bound = (6 / (rows + columns)) ** 0.5
    return tf.random.stateless_uniform([rows, columns], draw, -bound, bound)


def _orthogonal(units: int, draw: list[int]) -> tf.Tensor:
    """A random rotation, under which a state keeps its length (Saxe et al., 2014)."""
    q, r = tf.linalg.qr(tf.random.stateless_normal([units, units], draw))
    return q * tf.sign(tf.linalg.diag_part(r))


def _rows(values_TBU: tf.Tensor) -> tf.Tensor | int:
    """B, as a number where it is known before: TFLite has loops over such states alone."""
    rows = values_TBU.shape[1]
    return tf.shape(values_TBU)[1] if rows is None else rows


def _write(seen: _Arrays, at: tf.Tensor, state: State) -> _Arrays:
    return tuple(part.write(at, now) for part, now in zip(seen, state, strict=True))


def _flat(values_TBU: tf.Tensor) -> tf.Tensor:
    return tf.reshape(values_TBU, [-1, values_TBU.shape[-1]])
