"""How far a run is, and how well it does."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Metrics = dict[str, float]


@dataclass
class Progress:
    """How far a run is; with the variables it is all that a resumed run needs.

    Args:
        epoch: that is being trained, from 1
        step: steps of this epoch that are done
        rows: read in them, by all ranks
        loss_sum: of them, by all ranks
        weight_sum: of their targets, by all ranks
        history: the metrics of the epochs that are done
    """

    epoch: int = 1
    step: int = 0
    rows: float = 0.0
    loss_sum: float = 0.0
    weight_sum: float = 0.0
    history: list[Metrics] = field(default_factory=list)

    def best(self, metric: str) -> Metrics | None:
        """The metrics of the best epoch so far; of equal ones the first."""
        return max(self.history, key=lambda metrics: metrics[metric], default=None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def recall_and_reciprocal_rank(
    cases: int, case_P: npt.NDArray[np.int32], rank_P: npt.NDArray[np.int32]
) -> tuple[float, float]:
    """Sums over cases of the share of targets found and of 1 / the best rank.

    >>> recall_and_reciprocal_rank(2, np.array([0, 0, 1]), np.array([2, 0, 0]))
    (0.5, 0.5)
    """
    targets_C = np.bincount(case_P, minlength=cases)
    found_C = np.bincount(case_P, weights=rank_P > 0, minlength=cases)
    best_C = np.zeros(cases)
    np.maximum.at(best_C, case_P, np.where(rank_P > 0, 1 / np.maximum(rank_P, 1), 0.0))
    return float((found_C / np.maximum(targets_C, 1)).sum()), float(best_C.sum())
