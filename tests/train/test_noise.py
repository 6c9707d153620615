import numpy as np
import pytest
import tensorflow as tf

from recsys.train.noise import Noise


def _noise(step: int = 3) -> Noise:
    return Noise(1, tf.constant(step))


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9])
def test_a_share_is_dropped_and_the_rest_scaled_up(share: float) -> None:
    values = tf.fill([333, 7, 101], 2.0)  # an odd number of entries
    found = _noise().drop(values, share).numpy()
    # Five deviations of the mean of so many draws.
    near = 5 * (share * (1 - share) / found.size) ** 0.5
    assert np.mean(found == 0) == pytest.approx(share, abs=near)
    assert np.unique(found)[1:] == pytest.approx([2 / (1 - share)], rel=1e-4)


def test_entries_are_dropped_without_regard_to_their_neighbours() -> None:
    dropped = _noise().drop(tf.ones([200, 1000]), 0.5).numpy() == 0
    for axis in (0, 1):
        pairs = np.diff(dropped.astype(int), axis=axis) != 0
        assert pairs.mean() == pytest.approx(0.5, abs=0.01)


def test_a_step_that_is_done_again_drops_the_same_and_others_do_not() -> None:
    values = tf.ones([50, 8])
    first, again, other = (_noise(step).drop(values, 0.5).numpy() for step in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_two_draws_of_a_step_differ() -> None:
    noise, values = _noise(), tf.ones([50, 8])
    assert (noise.drop(values, 0.5).numpy() != noise.drop(values, 0.5).numpy()).any()


@pytest.mark.parametrize("share", [0.0, 1 - 1e-9])
def test_the_least_and_the_largest_share(share: float) -> None:
    found = _noise().drop(tf.ones([20, 20]), share).numpy()
    assert np.isfinite(found).all()
    assert (found == 1).all() == (share == 0)
    assert _noise().drop(tf.ones([0, 20]), share).shape == (0, 20)
