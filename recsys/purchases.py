"""How good probabilities of a purchase are: once, for train and evaluate.

Shapes: P labelled targets, G distinct probabilities, rising, N bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

# In the order in which they are shown.
METRICS = ("auc", "accuracy", "precision", "recall", "f1", "log_loss")
# Keeps the logarithm of a probability finite.
_LEAST = 1e-7


@dataclass(frozen=True)
class Counts:
    """What was bought and what not at every distinct probability, rising.

    Args:
        probability: [G]
        bought: weights of what was bought [G]
        others: weights of what was not [G]
    """

    probability: Floats
    bought: Floats
    others: Floats


class Predictions:
    """Probabilities and what came of them; sorted once, counted with any weights.

    Args:
        probability: of a purchase [P]
        bought: whether there was one [P]
    """

    def __init__(self, probability: npt.NDArray[Any], bought: Bools) -> None:
        self.order = np.argsort(probability, kind="stable")
        self._bought_P = bought[self.order]
        value_P = probability[self.order].astype(np.float64)
        self._start_G = np.flatnonzero(np.append(True, value_P[1:] != value_P[:-1])[: len(value_P)])
        self._value_G = value_P[self._start_G]

    def counts(self, weight: Floats | None = None) -> Counts:
        """The counts of all, each with a weight [P]; without weights each counts once."""
        weight_P = np.ones(len(self.order)) if weight is None else weight[self.order]
        sums = [
            np.add.reduceat(np.where(chosen, weight_P, 0.0), self._start_G)
            if len(self._start_G) else np.zeros(0)
            for chosen in (self._bought_P, ~self._bought_P)
        ]  # fmt: skip
        return Counts(self._value_G, *sums)


def figures(counts: Counts, threshold: float) -> dict[str, float]:
    """METRICS of predictions, of which those from the threshold on say that there is a purchase.

    The area under the ROC curve counts pairs of equal probability half (Mann & Whitney, 1947). A
    figure that nothing is known of is nan: precision where no purchase is predicted, recall and
    the area where there is none, ...
    """
    bought, others = counts.bought.sum(), counts.others.sum()
    is_predicted = counts.probability >= threshold
    hits, false = counts.bought[is_predicted].sum(), counts.others[is_predicted].sum()
    below_G = np.cumsum(counts.others) - counts.others
    pairs = (counts.bought * (below_G + counts.others / 2)).sum()
    sure_G = np.clip(counts.probability, _LEAST, 1 - _LEAST)
    logs = counts.bought * np.log(sure_G) + counts.others * np.log1p(-sure_G)
    return {
        "auc": _share(pairs, bought * others),
        "accuracy": _share(hits + others - false, bought + others),
        "precision": _share(hits, hits + false),
        "recall": _share(hits, bought),
        "f1": _share(2 * hits, hits + false + bought),
        "log_loss": _share(-logs.sum(), bought + others),
    }


def best_threshold(counts: Counts) -> float:
    """From which probability on predicting a purchase gives the highest F1; of equal the lowest.

    Raises:
        ValueError: there are no predictions
    """
    if len(counts.probability) == 0:
        raise ValueError("expected predictions to choose a threshold by, found none")
    hits_G = np.cumsum(counts.bought[::-1])[::-1]
    predicted_G = hits_G + np.cumsum(counts.others[::-1])[::-1]
    f1_G = 2 * hits_G / np.maximum(predicted_G + hits_G[0], np.finfo(float).tiny)
    return float(counts.probability[f1_G.argmax()])


def bins(counts: Counts, number: int) -> npt.NDArray[np.int64]:
    """Parts the distinct probabilities into bins of about equal weight: the bin of each [G]."""
    total_G = counts.bought + counts.others
    middle_G = np.cumsum(total_G) - total_G / 2
    bin_G = (middle_G * number / max(total_G.sum(), 1)).astype(np.int64)
    return np.asarray(np.unique(bin_G, return_inverse=True)[1])


def calibration(counts: Counts, bin_G: npt.NDArray[np.int64]) -> tuple[Floats, Floats, Floats]:
    """What is predicted and what comes true in every bin.

    Returns:
        weight [N]; mean probability [N] and share that is bought [N], nan in a bin of no weight
    """
    total_G = counts.bought + counts.others
    number = int(bin_G.max(initial=-1)) + 1
    weight, predicted, bought = (
        np.bincount(bin_G, weights=values, minlength=number)
        for values in (total_G, total_G * counts.probability, counts.bought)
    )
    whole = np.where(weight > 0, weight, np.nan)
    return np.asarray(weight, np.float64), predicted / whole, bought / whole


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else float("nan")
