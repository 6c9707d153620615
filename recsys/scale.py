"""How numbers are normalized by those of train: once, for prepare and for whoever serves a model.

    price      null     1    10   100  5000    (log; train has 1, 10 and 100, and clips to these)
    logarithm        0.69  2.40  4.62  4.62    (mean 2.57, standard deviation 1.61)
    becomes       0 -1.17 -0.11  1.27  1.27

A number that is missing is NaN, null in tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Beyond so many standard deviations a number says no more.
MOST_DEVIATIONS = 5.0
# Of the largest number: numbers that spread less are all one.
_LEAST_SPREAD = 1e-12
# Of train's numbers, evenly by rank: so fine ranks are.
_PLACES = 200


def logarithm(values: Floats) -> Floats:
    """Of 1 and the size of each number, with its sign."""
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)))


def deviations(values: Floats, mean: float, deviation: float) -> Floats:
    """How many standard deviations from the mean, MOST_DEVIATIONS at most."""
    return np.clip((values - mean) / deviation, -MOST_DEVIATIONS, MOST_DEVIATIONS)


def spread(deviation: float, largest: float) -> float:
    """A standard deviation; 1 where it is nothing but rounding.

    Args:
        deviation: of some numbers
        largest: absolute one of them
    """
    return float(deviation) if deviation > _LEAST_SPREAD * largest else 1.0


def ranks(known: Floats, values: Floats) -> Floats:
    """The middle of each number's place among the known ones, which rise: from -1 to 1."""
    sides = [np.searchsorted(known, values, side) for side in ("left", "right")]
    return np.asarray((sides[0] + sides[1]) / len(known) - 1.0)


def at_shares(values: Floats, counts: Floats, shares: Floats) -> Floats:
    """The least numbers at or below which these shares of all of them lie.

    Args:
        values: the different ones, rising
        counts: how many there are of each
        shares: from 0 to 1
    """
    upto = np.cumsum(counts)
    place = np.searchsorted(upto, np.asarray(shares) * upto[-1])
    return np.asarray(values[np.minimum(place, len(values) - 1)])


def shares() -> Floats:
    """Those of Scale.known."""
    return (np.arange(_PLACES) + 0.5) / _PLACES


@dataclass(frozen=True)
class Scale:
    """How a number of events is clipped and normalized; one that is missing becomes 0.

    Args:
        by: standard, deviations from the mean; log, the same of the logarithm; quantile, the rank
            from -1 to 1
        least: smaller numbers count as this one; none has no limit
        most: larger numbers count as this one; none has no limit
        mean: of train's clipped numbers, or of their logarithms
        deviation: likewise
        known: of train's clipped numbers those at shares(), where by is quantile
    """

    by: str
    least: float | None = None
    most: float | None = None
    mean: float = 0.0
    deviation: float = 1.0
    known: tuple[float, ...] = ()

    @classmethod
    def of(cls, by: str, values: Floats, counts: Floats, clip: tuple[float, float] | None) -> Scale:
        """As the numbers of train say.

        Args:
            by: standard, log or quantile
            values: the different ones, rising; at least one
            counts: how often train has each
            clip: shares of the numbers at which they are clipped; none clips nothing
        """
        least, most = None, None
        if clip is not None:
            least, most = map(float, at_shares(values, counts, np.array(clip)))
            values = np.clip(values, least, most)
        if by == "quantile":
            known = at_shares(values, counts, shares())
            return cls(by, least, most, known=tuple(known.tolist()))
        own = logarithm(values) if by == "log" else values
        mean = float(np.average(own, weights=counts))
        deviation = float(np.sqrt(np.average((own - mean) ** 2, weights=counts)))
        return cls(by, least, most, mean, spread(deviation, float(np.abs(own).max())))

    @classmethod
    def read(cls, content: dict[str, Any]) -> Scale:
        """From the JSON of dataclasses.asdict()."""
        return cls(**{**content, "known": tuple(content["known"])})

    @property
    def numbers(self) -> Floats:
        """All that it says, one after another."""
        limits = [limit for limit in (self.least, self.most) if limit is not None]
        return np.array([*limits, self.mean, self.deviation, *self.known])

    def __str__(self) -> str:
        limits = "" if self.least is None else f", clipped to {self.least:.9g} to {self.most:.9g}"
        if self.by == "quantile":
            return f"ranks among numbers of mean {np.mean(self.known):.9g}{limits}"
        return f"{self.by}: mean {self.mean:.9g}, deviation {self.deviation:.9g}{limits}"

    def clipped(self, values: Floats) -> Floats:
        """The numbers within the limits; NaN stays."""
        if self.least is None and self.most is None:
            return values
        return np.clip(values, self.least, self.most)

    def normalized(self, values: Floats) -> Floats:
        """What becomes of numbers; NaN is one that is missing."""
        own = self.clipped(values)
        if self.by == "quantile":
            found = ranks(np.array(self.known), own)
        else:
            own = logarithm(own) if self.by == "log" else own
            found = deviations(own, self.mean, self.deviation)
        return np.where(np.isnan(values), 0.0, found)
