from __future__ import annotations

import math

import numpy as np
import pytest

from recsys.evaluate import bootstrap, layout

USERS = np.random.default_rng(2).integers(-(2**63), 2**63 - 1, size=4000)


def test_weights_are_those_of_a_poisson_distribution() -> None:
    weights = bootstrap.weights(USERS, resamples=200, seed=1)
    assert (weights[:, 0] == 1).all()
    drawn = weights[:, 1:]
    for weight in range(6):
        expected = math.exp(-1) / math.factorial(weight)
        # 800,000 draws: three standard errors.
        assert abs((drawn == weight).mean() - expected) < 3 * math.sqrt(expected / drawn.size)
    # Users are drawn apart from each other, and so are resamples.
    assert abs(np.corrcoef(drawn[:2000].ravel(), drawn[2000:].ravel())[0, 1]) < 0.01
    assert abs(np.corrcoef(drawn[:, :100].ravel(), drawn[:, 100:].ravel())[0, 1]) < 0.01


def test_a_users_weights_depend_on_the_user_and_the_seed_alone() -> None:
    weights = bootstrap.weights(USERS, resamples=20, seed=1)
    order = np.random.default_rng(1).permutation(len(USERS))[:100]
    np.testing.assert_array_equal(bootstrap.weights(USERS[order], 20, 1), weights[order])
    np.testing.assert_array_equal(bootstrap.weights(USERS, 7, 1), weights[:, :8])
    assert (bootstrap.weights(USERS, 20, 2)[:, 1:] != weights[:, 1:]).mean() > 0.5


def test_intervals_cover_the_mean_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(5)
    covered = 0
    for trial in range(200):
        users = rng.integers(-(2**63), 2**63 - 1, size=150)
        values = rng.exponential(size=150)
        weights = bootstrap.weights(users, resamples=200, seed=trial)
        low, high = bootstrap.interval(weights.T @ values / weights.sum(axis=0))
        covered += low <= 1 <= high
    # Binomial, 200 trials at 95 %; percentile intervals of skewed values cover a little less.
    assert 176 <= covered <= 199


def test_the_p_value_is_small_where_systems_differ_and_else_not() -> None:
    rng = np.random.default_rng(6)
    weights = bootstrap.weights(USERS[:300], resamples=400, seed=3)
    small = 0
    for shift, expected in ((0.0, False), (0.3, True)):
        values = rng.normal(shift, 1, size=(40, 300))
        found = [bootstrap.p_value(weights.T @ own / weights.sum(axis=0)) < 0.05 for own in values]
        small = sum(found)
        assert small > 36 if expected else small <= 7, shift


def test_what_is_exactly_alike_is_not_different() -> None:
    assert bootstrap.p_value(np.zeros(401)) == 1
    assert bootstrap.interval(np.array([0.5])) is bootstrap.p_value(np.array([0.5])) is None
    assert bootstrap.interval(np.array([0.5, np.nan, 0.4, 0.4])) == pytest.approx((0.4, 0.4))


@pytest.mark.parametrize("users", [1, 2, 3, 29])
def test_of_few_users_nothing_is_sure(users: int) -> None:
    """Two that are equally good look different to draws of a few users: of one always."""
    apart = np.random.default_rng(7).normal(size=(40, users))
    weights = bootstrap.weights(USERS[:users], resamples=400, seed=3)
    counted = weights.sum(axis=0)
    values = np.divide(apart @ weights, counted, where=counted > 0, out=np.full((40, 401), np.nan))
    sure = [layout.verdict(bootstrap.difference(own, 0 * own)) != layout.CHANCE for own in values]
    assert users > 3 or sum(sure) > 4
    for own in values:
        few = bootstrap.of_enough(own, users)
        found = bootstrap.difference(few, 0 * few)
        assert found == {"difference": own[0], "low": None, "high": None, "p": None}
        assert layout.verdict(found) == layout.CHANCE
    enough = bootstrap.of_enough(values[0], bootstrap.LEAST_USERS)
    assert len(enough) == 401
