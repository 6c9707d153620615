import numpy as np
import pytest

from recsys.train.cells import CELLS, Cell, Stack


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
