"""How sure a mean is: the Poisson bootstrap over users.

Cases of one user are alike, so that users are drawn again and not cases (Poisson bootstrap:
Chamandy et al., 2012). A user's weights come from a hash of the user's id: they are the same in
every partition and for every system, so that differences of systems are paired.

Shapes: U users, R resamples and, before them, the sample itself with all weights 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Of the draws of every report, whatever the seed of its configuration: two reports can be compared
# resample by resample only where both drew the same users.
SEED = 1
# Of fewer users draws tell nothing: of two, systems that are equally good look different in half of
# all cases, of five in one of seven, and of one always.
LEAST_USERS = 30

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
# Where a uniform draw of 32 bits passes each weight of the Poisson distribution with mean 1.
_THRESHOLDS = [
    np.uint32(min(round(below * 2.0**32), 2**32 - 1))
    for below in np.cumsum([math.exp(-1) / math.factorial(weight) for weight in range(10)])
]


def weights(user_U: npt.NDArray[np.int64], resamples: int, seed: int) -> Floats:
    """How often each user is in each sample [U, 1 + R]: once, then as drawn.

    Args:
        user_U: a hash of each user's id
        resamples: R
        seed: another one draws others
    """
    result = np.ones((len(user_U), 1 + resamples))
    result[:, 1:] = drawn(user_U, range(1, resamples + 1), seed)
    return result


def drawn(
    user_U: npt.NDArray[np.int64], numbers: Sequence[int], seed: int
) -> npt.NDArray[np.uint8]:
    """The weights in the resamples of these numbers, from 1 on [U, R], as of `weights`."""
    with np.errstate(over="ignore"):
        start_U = _mixed(user_U.astype(np.uint64) ^ _mixed(np.uint64(seed) + _GOLDEN))
        step_R = np.asarray(numbers, np.uint64) * _GOLDEN
        draw_UR = (_mixed(start_U[:, None] + step_R) >> np.uint64(32)).astype(np.uint32)
    drawn_UR = np.zeros(draw_UR.shape, np.uint8)
    for threshold in _THRESHOLDS:
        drawn_UR += draw_UR >= threshold
    return drawn_UR


def _mixed(value: npt.NDArray[np.uint64] | np.uint64) -> npt.NDArray[np.uint64]:
    """The finalizer of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014)."""
    value = (value ^ (value >> np.uint64(30))) * _MIX[0]
    value = (value ^ (value >> np.uint64(27))) * _MIX[1]
    return np.asarray(value ^ (value >> np.uint64(31)))


def of_enough(estimates: Floats, users: int) -> Floats:
    """The estimate with its resamples [1 + R], or alone where they are of too few users [1].

    Args:
        estimates: of the sample and its resamples [1 + R]
        users: different ones who have a case
    """
    return estimates if users >= LEAST_USERS else estimates[:1]


def interval(estimates: Floats) -> tuple[float, float] | None:
    """The 95 % interval of an estimate: the 2.5th and 97.5th percentile of its resamples [1 + R].

    A resample that has no case is none; without any there is no interval.
    """
    drawn = estimates[1:][~np.isnan(estimates[1:])]
    if len(drawn) == 0:
        return None
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(low), float(high)


def p_value(differences: Floats) -> float | None:
    """Of no difference, two-sided, from a paired difference and its resamples [1 + R].

    Twice the smaller share of resamples on one side of zero, both counted with one more
    (Davison & Hinkley, 1997, 4.2); at most 1. None without resamples.
    """
    drawn = differences[1:][~np.isnan(differences[1:])]
    if len(drawn) == 0:
        return None
    one_side = min((drawn <= 0).sum(), (drawn >= 0).sum())
    return float(min(1.0, 2 * (one_side + 1) / (len(drawn) + 1)))


def difference(first: Floats, second: Floats) -> dict[str, float | None]:
    """How far the first is above the second, in the sample and on the same resamples [1 + R].

    Returns:
        difference; low, high and p, which are none without resamples
    """
    apart = first - second
    low, high = interval(apart) or (None, None)
    return {
        "difference": float(apart[0]), "low": low, "high": high,
        "p": p_value(apart),
    }  # fmt: skip
