import numpy as np

from recsys.schemas import FIRST_ITEM
from recsys.train.repeat import RepeatScores, Seen


def test_scores_equal_a_loop_over_the_formula() -> None:
    rng = np.random.default_rng(2)
    item = rng.integers(0, 6, size=(4, 9))
    steps = rng.integers(-1, 5, size=(4, 9))
    days = rng.uniform(0, 90, size=(4, 9)).astype(np.float32)
    state = rng.normal(size=(4, 5)).astype(np.float32)
    module = RepeatScores(vocabulary_size=6, width=5)
    for variable in module.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    places, scores = module(Seen(item, steps, days), state)
    found = {
        tuple(place): score for place, score in zip(places.numpy(), scores.numpy(), strict=True)
    }

    of_state = state / np.linalg.norm(state, axis=1)[:, None] @ module.state_kernel.numpy()
    lives = np.exp(module.log_half_lives.numpy())
    expected = {}
    for case in range(4):
        for index in range(FIRST_ITEM, 6):
            events = np.flatnonzero((item[case] == index) & (steps[case] >= 0))
            if len(events) == 0:
                continue
            counts = [sum(2.0 ** (-steps[case, e] / life) for e in events) for life in lives[:3]]
            counts += [sum(2.0 ** (-days[case, e] / life) for e in events) for life in lives[3:]]
            logs = np.log(0.05 + np.array(counts))
            weights = module.weights.numpy() + module.item_weight.numpy()[index]
            weights += of_state[case, 1:]
            bias = module.bias.numpy() + module.item_bias.numpy()[index] + of_state[case, 0]
            expected[case, index] = bias + (weights * logs).sum()

    assert found.keys() == expected.keys()
    assert len(found) > 8
    for key, score in expected.items():
        np.testing.assert_allclose(found[key], score, rtol=1e-4, atol=1e-5)
