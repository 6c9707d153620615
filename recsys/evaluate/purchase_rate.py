"""What a head of purchases must beat: how often an item was bought that somebody looked at.

Shapes: V vocabulary; of the labelled targets of an item, how many were not bought and were [V, 2].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys.purchases import Predictions, best_threshold
from recsys.schemas import BOUGHT, NO_LABEL

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

NAME = "purchase_rate"
# Targets of average outcome that are added to those of each item.
_ADDED = 20


@dataclass(frozen=True)
class PurchaseRate:
    """The reference, as it has learnt.

    Args:
        probability: of a purchase of each item [V]
        threshold: from which on a purchase is predicted
    """

    probability: Floats
    threshold: float


def labels(rows: DataFrame, size: int) -> Counts:
    """How the labelled targets of each item ended [V, 2].

    Args:
        rows: schemas.SEQUENCES, without fillers
        size: V
    """
    told = rows.select(F.explode(F.arrays_zip("item", "purchase")).alias("own"))
    told = told.where(F.col("own.purchase") != NO_LABEL)
    counts = told.groupBy("own.item", (F.col("own.purchase") == BOUGHT).alias("bought")).count()
    count_V2 = np.zeros((size, 2), np.int64)
    for row in counts.collect():
        count_V2[row["item"], int(row["bought"])] = row["count"]
    return count_V2


def rates(count_V2: Counts) -> Floats:
    """(bought + added mean) / (labelled + added) of each item, by the mean of all [V].

    The mean is that of all labelled targets and of two more, one of them bought, so that no
    probability is 0 or 1.

    >>> rates(np.array([[0, 0], [6, 2], [0, 0]])).round(3).tolist()
    [0.3, 0.286, 0.3]
    """
    others, bought = count_V2.sum(axis=0)
    mean = (bought + 1) / (bought + others + 2)
    return np.asarray((count_V2[:, 1] + _ADDED * mean) / (count_V2.sum(axis=1) + _ADDED))


def fitted(train: Counts, valid: Counts, learn_from: Sequence[str]) -> PurchaseRate:
    """The rates of what the model has learnt from, with a threshold as the model's.

    Args:
        train: as of labels
        valid: likewise; decides the threshold, by the highest F1 of the rates of train. Where it
            has no labels train does
        learn_from: the splits whose rates are used
    """
    rate_V = rates(train)
    seen = valid if valid.any() else train
    told = Predictions(np.repeat(rate_V, 2), np.tile([False, True], len(rate_V)))
    threshold = best_threshold(told.counts(seen.ravel().astype(np.float64)))
    return PurchaseRate(rates(train + valid) if "valid" in learn_from else rate_V, threshold)
