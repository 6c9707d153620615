import itertools

import numpy as np
import pytest
import tensorflow as tf

from recsys.train.cells import CELLS, GRU, Stack
from recsys.train.recurrence import Cell


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def _rnn(given: np.ndarray, kept: np.ndarray, states: list[np.ndarray]) -> list[np.ndarray]:
    return [np.tanh(given + kept)]


def _gru(given: np.ndarray, kept: np.ndarray, states: list[np.ndarray]) -> list[np.ndarray]:
    (update_in, reset_in, new_in), (update, reset, new) = np.split(given, 3), np.split(kept, 3)
    share = _sigmoid(update_in + update)
    fresh = np.tanh(new_in + _sigmoid(reset_in + reset) * new)
    return [share * states[0] + (1 - share) * fresh]


def _lstm(given: np.ndarray, kept: np.ndarray, states: list[np.ndarray]) -> list[np.ndarray]:
    enter, forget, new, leave = np.split(given + kept, 4)
    memory = _sigmoid(forget) * states[1] + _sigmoid(enter) * np.tanh(new)
    return [_sigmoid(leave) * np.tanh(memory), memory]


LOOPS = {"rnn": _rnn, "gru": _gru, "lstm": _lstm}


def _run(kind: str, cell: Cell, inputs: np.ndarray) -> np.ndarray:
    rows, steps, _ = inputs.shape
    output = np.zeros((rows, steps, cell.units))
    for row in range(rows):
        states = [np.zeros(cell.units)] * 2
        for step in range(steps):
            given = inputs[row, step] @ cell.input_kernel.numpy() + cell.input_bias.numpy()
            kept = states[0] @ cell.recurrent_kernel.numpy() + cell.recurrent_bias.numpy()
            states = LOOPS[kind](given, kept, states)
            output[row, step] = states[0]
    return output


@pytest.mark.parametrize("kind", CELLS)
def test_gates_layers_and_seeds_start_apart(kind: str) -> None:
    kernels = {
        name: [
            gate
            for seed in (1, 2)
            for cell in Stack(kind, inputs=4, units=4, layers=3, seed=seed).layers  # type: ignore[arg-type]
            for gate in np.split(getattr(cell, name).numpy(), len(cell.starts), axis=1)
        ]
        for name in ("input_kernel", "recurrent_kernel")
    }
    for gates in kernels.values():
        for one, other in itertools.combinations(gates, 2):
            assert np.abs(one - other).max() > 0.1
    for gate in kernels["recurrent_kernel"]:
        np.testing.assert_allclose(gate @ gate.T, np.eye(4), atol=1e-5)


@pytest.mark.parametrize("kind", CELLS)
def test_a_stack_equals_a_loop_over_rows_and_steps(kind: str) -> None:
    rng = np.random.default_rng(3)
    stack = Stack(kind, inputs=4, units=5, layers=2, seed=1)  # type: ignore[arg-type]
    for variable in stack.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    inputs = rng.normal(size=(3, 6, 4)).astype(np.float32)
    expected = inputs
    for cell in stack.layers:
        expected = _run(kind, cell, expected)
    np.testing.assert_allclose(stack(inputs).numpy(), expected, atol=1e-5)


def test_the_derivatives_by_hand_are_those_of_a_tape() -> None:
    rng = np.random.default_rng(6)
    cell = GRU(inputs=3, units=4, seed=1)
    shapes = ((2, 5, 4), (2, 5, 12), (2, 5, 12))
    before, projected, recurrent = (tf.constant(rng.normal(size=s), tf.float32) for s in shapes)
    found = cell._derivatives((before,), projected, recurrent)
    expected = Cell._derivatives(cell, (before,), projected, recurrent)
    for own, wanted in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(own, wanted, atol=1e-6)


@pytest.mark.parametrize("kind", CELLS)
def test_the_gradient_equals_differences_of_the_output(kind: str) -> None:
    rng = np.random.default_rng(4)
    stack = Stack(kind, inputs=3, units=4, layers=2, seed=1)  # type: ignore[arg-type]
    for variable in stack.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    inputs = tf.Variable(rng.normal(size=(2, 5, 3)).astype(np.float32))
    weights = rng.normal(size=(2, 5, 4)).astype(np.float32)
    changed = [inputs, *stack.trainable_variables]
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(stack(inputs) * weights)
    for variable, gradient in zip(changed, tape.gradient(total, changed), strict=True):
        direction = rng.normal(size=variable.shape).astype(np.float32)
        start, sums = variable.numpy(), []
        for side in (0.01, -0.01):
            variable.assign(start + side * direction)
            sums.append(float(tf.reduce_sum(stack(inputs) * weights)))
        variable.assign(start)
        slope = (sums[0] - sums[1]) / 0.02
        found = float(tf.reduce_sum(gradient * direction))
        assert found == pytest.approx(slope, rel=5e-3, abs=5e-3)
