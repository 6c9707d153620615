import numpy as np

from recsys.train.cells import GRU


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def test_gru_equals_a_loop_over_rows_and_steps() -> None:
    rng = np.random.default_rng(3)
    gru = GRU(inputs=4, units=5, seed=1)
    for variable in gru.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    inputs = rng.normal(size=(3, 6, 4)).astype(np.float32)
    found = gru(inputs).numpy()

    kernel, recurrent = gru.input_kernel.numpy(), gru.recurrent_kernel.numpy()
    for row in range(3):
        state = np.zeros(5)
        for step in range(6):
            given = np.split(inputs[row, step] @ kernel + gru.input_bias.numpy(), 3)
            kept = np.split(state @ recurrent + gru.recurrent_bias.numpy(), 3)
            update, reset = _sigmoid(given[0] + kept[0]), _sigmoid(given[1] + kept[1])
            new = np.tanh(given[2] + reset * kept[2])
            state = update * state + (1 - update) * new
            np.testing.assert_allclose(found[row, step], state, atol=1e-5)
