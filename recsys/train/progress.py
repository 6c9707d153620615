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
        ranks: that did them
        rows: read in them, by all ranks
        loss_sum: of them, by all ranks
        weight_sum: of their targets, by all ranks
        seconds: that they took, of all ranks together
        history: the metrics of the epochs that are done
    """

    epoch: int = 1
    step: int = 0
    ranks: int = 0
    rows: float = 0.0
    loss_sum: float = 0.0
    weight_sum: float = 0.0
    seconds: float = 0.0
    history: list[Metrics] = field(default_factory=list)

    def best(self, metric: str) -> Metrics | None:
        """The metrics of the best epoch so far; of equal ones the first."""
        return max(self.history, key=lambda metrics: metrics[metric], default=None)

    def goes_on_with(self, ranks: int) -> bool:
        """Whether so many ranks find in the epoch what is left of it; each has its own share."""
        return self.step == 0 or self.ranks == ranks

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


# The lengths of list at which validation measures.
AT = (10, 20)
METRICS = tuple(f"{name}@{k}" for name in ("recall", "ndcg", "mrr") for k in AT)


def metric_sums(
    cases: int, case_P: npt.NDArray[np.int32], rank_P: npt.NDArray[np.int32]
) -> npt.NDArray[np.float64]:
    """The sums of METRICS over cases, which may have several targets.

    Args:
        cases: how many there are
        case_P: case of each target
        rank_P: rank of each target from 1, or 0 where it is not among the first 20

    >>> recall_10, recall_20, *_, mrr_20 = metric_sums(2, np.array([0, 0, 1]), np.array([12, 1, 0]))
    >>> float(recall_10), float(recall_20), float(mrr_20)
    (0.5, 1.0, 1.0)
    """
    targets_C = np.bincount(case_P, minlength=cases)
    discount_K = 1 / np.log2(np.arange(2, AT[-1] + 2))
    ideal_K = np.concatenate([[1.0], np.cumsum(discount_K)])  # of no target: any but 0
    sums: dict[str, float] = {}
    for k in AT:
        found_P = (rank_P > 0) & (rank_P <= k)
        found_C = np.bincount(case_P, weights=found_P, minlength=cases)
        gain_P = np.where(found_P, discount_K[np.maximum(rank_P, 1) - 1], 0.0)
        gain_C = np.bincount(case_P, weights=gain_P, minlength=cases)
        best_C = np.zeros(cases)
        np.maximum.at(best_C, case_P, np.where(found_P, 1 / np.maximum(rank_P, 1), 0.0))
        sums[f"recall@{k}"] = float((found_C / np.maximum(targets_C, 1)).sum())
        sums[f"ndcg@{k}"] = float((gain_C / ideal_K[np.minimum(targets_C, k)]).sum())
        sums[f"mrr@{k}"] = float(best_C.sum())
    return np.array([sums[name] for name in METRICS])
