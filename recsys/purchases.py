"""How good probabilities of a purchase are: once, for train and evaluate.

Shapes: P labelled targets, G distinct probabilities, rising.
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
# Places in what `sums` returns.
_BOUGHT, _OTHERS, _PAIRS = 0, 1, 4
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


def sums(counts: Counts, threshold: float) -> Floats:
    """What METRICS are made of, of the predictions of a range of probabilities [6].

    Weights of what was bought and of what was not; of those of both that are predicted to be, from
    the threshold on; of pairs of both in which what was bought is more likely, equal ones half; and
    the sum of the logarithms of what came true.
    """
    is_predicted = counts.probability >= threshold
    below_G = np.cumsum(counts.others) - counts.others
    sure_G = np.clip(counts.probability, _LEAST, 1 - _LEAST)
    logs = counts.bought * np.log(sure_G) + counts.others * np.log1p(-sure_G)
    return np.array(
        [
            counts.bought.sum(), counts.others.sum(),
            counts.bought[is_predicted].sum(), counts.others[is_predicted].sum(),
            (counts.bought * (below_G + counts.others / 2)).sum(), logs.sum(),
        ]
    )  # fmt: skip


def joined(lower: Floats, higher: Floats) -> Floats:
    """The sums of two ranges of probabilities, one above the other [..., 6]."""
    both = lower + higher
    both[..., _PAIRS] += lower[..., _OTHERS] * higher[..., _BOUGHT]
    return both


def of_sums(total: Floats) -> dict[str, Floats]:
    """METRICS of sums [..., 6], as of figures."""
    bought, others, hits, false, pairs, logs = np.moveaxis(total, -1, 0)
    return {
        "auc": _share(pairs, bought * others),
        "accuracy": _share(hits + others - false, bought + others),
        "precision": _share(hits, hits + false),
        "recall": _share(hits, bought),
        "f1": _share(2 * hits, hits + false + bought),
        "log_loss": _share(-logs, bought + others),
    }


def figures(counts: Counts, threshold: float) -> dict[str, float]:
    """METRICS of predictions, of which those from the threshold on say that there is a purchase.

    The area under the ROC curve counts pairs of equal probability half (Mann & Whitney, 1947). A
    figure that nothing is known of is nan: precision where no purchase is predicted, recall and
    the area where there is none, ...
    """
    return {name: float(value) for name, value in of_sums(sums(counts, threshold)).items()}


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


def _share(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)
