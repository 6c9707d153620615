"""How good the purchase head is, over the labels of all ranks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recsys.purchases import Predictions, best_threshold, figures
from recsys.train import ranks
from recsys.train.progress import Metrics


def of_purchases(
    probability_P: npt.NDArray[np.float32], is_bought_P: npt.NDArray[np.bool_]
) -> Metrics:
    """Figures of recsys.purchases, exact, at the threshold with the best F1; all ranks get them.

    Args:
        probability_P: of this rank's labelled targets
        is_bought_P: what came of them
    """
    probability = ranks.gathered(probability_P, "purchase_probability")
    is_bought = ranks.gathered(is_bought_P.astype(np.uint8), "purchase_label") == 1
    counts = Predictions(probability, is_bought).counts()
    threshold = best_threshold(counts)
    found = {f"purchase_{name}": value for name, value in figures(counts, threshold).items()}
    return {**found, "purchase_threshold": threshold}
