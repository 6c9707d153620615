"""How good the purchase head is on test, on Spark: sums over ranges of probabilities, then figures.

Shapes: P labelled targets, U users, R resamples, G distinct probabilities, N bins of the
calibration.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys.evaluate import bootstrap
from recsys.evaluate.bootstrap import Floats, difference
from recsys.evaluate.purchase_rate import NAME, PurchaseRate
from recsys.purchases import Counts, Predictions, joined, of_sums, sums

# Of the calibration.
_BINS = 10
# Resamples whose weights are in memory at once.
_AT_ONCE = 16
# Targets that a worker has in memory at once, about.
_ROWS_OF_A_RANGE = 1 << 20

# Of a range of probabilities, the sums for the sample and each resample, one after the other.
_SUMS = "lowest double, sums array<double>, bins array<double>"


@dataclass(frozen=True)
class Judging:
    """How predictions are judged.

    Args:
        edges: the highest probability of each bin of the calibration but the last, rising
        resamples: how often users are drawn again
        seed: of these draws
        parts: ranges of probabilities, of about as many targets each
    """

    edges: Floats
    resamples: int
    seed: int
    parts: int


def measured(
    predictions: DataFrame,
    threshold: float,
    resamples: int,
    seed: int,
    reference: PurchaseRate | None = None,
) -> dict[str, Any]:
    """The figures of metrics.json, with 95 % intervals; and, as `drawn`, what resamples keeps.

    All are exact. Targets are parted by their probability, and each part is counted by itself: a
    pair of targets of two parts needs no more than how many were bought and were not. Equal
    probabilities stay together. In memory are the targets of one part on each worker, and a few
    numbers of each part and resample on the driver.

    Args:
        predictions: schemas.PURCHASES, at least one
        threshold: the probability from which on a purchase is predicted
        resamples: how often users are drawn again
        seed: of these draws
        reference: is judged by the same targets
    """
    bins = [number / _BINS for number in range(1, _BINS)]
    about = predictions.agg(
        F.count("*").alias("labels"),
        F.count_if("is_bought").alias("bought"),
        F.countDistinct("user_id").alias("users"),
        F.percentile_approx("probability", bins).alias("edges"),
    ).collect()[0]
    parts = predictions.sparkSession.sparkContext.defaultParallelism
    parts += about.labels // _ROWS_OF_A_RANGE
    judging = Judging(np.unique(about.edges), resamples, seed, parts)
    total, bins_R3N = _totals(predictions, threshold, judging)
    bins_R3N = bootstrap.of_enough(bins_R3N, about.users)
    values = _values(total, about.users)
    return {
        "labels": about.labels,
        "bought": about.bought,
        "users": about.users,
        "drawn": {f"purchase {name}": own for name, own in values.items()},
        **_system(threshold, values),
        "references": {} if reference is None else {
            NAME: _reference(predictions, reference, judging, values, about.users)
        },
        **_calibration(bins_R3N),
    }  # fmt: skip


def _reference(
    predictions: DataFrame, reference: PurchaseRate, judging: Judging, head: Mapping[str, Floats],
    users: int,
) -> dict[str, Any]:  # fmt: skip
    """The figures of the item's purchase rate, and how far the head is ahead of it."""
    rates = pd.DataFrame({"item": np.arange(len(reference.probability)),
                          "probability": reference.probability})  # fmt: skip
    rates = predictions.sparkSession.createDataFrame(rates, "item int, probability double")
    rated = predictions.drop("probability").join(F.broadcast(rates), on="item", how="inner")
    own = _values(_totals(rated, reference.threshold, judging)[0], users)
    apart = {name: difference(head[name], own[name]) for name in own}
    return {
        **_system(reference.threshold, own),
        "differences": {
            name: {what: _number(value) for what, value in found.items()}
            for name, found in apart.items()
        },
    }


def _values(total: Floats, users: int) -> dict[str, Floats]:
    """Each figure in the sample and, where there are users enough, in its resamples."""
    return {name: bootstrap.of_enough(own, users) for name, own in of_sums(total).items()}


def _totals(predictions: DataFrame, threshold: float, judging: Judging) -> tuple[Floats, Floats]:
    """The sums of purchases.sums [1 + R, 6], and those of the calibration [1 + R, 3, N]."""
    needed = predictions.select(
        F.xxhash64("user_id").alias("user"), "is_bought",
        F.col("probability").cast("double").alias("probability"),
    )  # fmt: skip
    ranges = needed.repartitionByRange(judging.parts, "probability")
    found = ranges.mapInArrow(_counted(threshold, judging), _SUMS).collect()
    samples = judging.resamples + 1
    rising = sorted(found, key=lambda row: row.lowest)
    total = functools.reduce(joined, (np.reshape(row.sums, (samples, -1)) for row in rising))
    bins = np.sum([np.reshape(row.bins, (samples, 3, -1)) for row in rising], axis=0)
    return total, bins


def _counted(
    threshold: float, judging: Judging
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def work(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        filled = [batch for batch in batches if batch.num_rows]
        if not filled:
            return
        table = pa.Table.from_batches(filled)
        told = Predictions(table.column("probability").to_numpy(),
                           table.column("is_bought").to_numpy())  # fmt: skip
        user_U, of_P = np.unique(table.column("user").to_numpy(), return_inverse=True)
        found, bins = [], []
        for weight_P in _samples(user_U, of_P, judging):
            counts = told.counts(weight_P)
            found.append(sums(counts, threshold))
            bins.append(_of_bins(counts, judging.edges))
        columns = {"lowest": [float(counts.probability[0])], "sums": [np.ravel(found)],
                   "bins": [np.ravel(bins)]}  # fmt: skip
        yield pa.RecordBatch.from_pydict(columns)

    return work


def _samples(
    user_U: npt.NDArray[np.int64], of_P: npt.NDArray[np.intp], judging: Judging
) -> Iterator[Floats | None]:
    """The weight of each target [P]: none in the sample itself, then as drawn."""
    yield None
    for first in range(1, judging.resamples + 1, _AT_ONCE):
        numbers = range(first, min(first + _AT_ONCE, judging.resamples + 1))
        for weight_U in bootstrap.drawn(user_U, numbers, judging.seed).T:
            yield weight_U[of_P].astype(np.float64)


def _of_bins(counts: Counts, edges: Floats) -> Floats:
    """Targets, the sum of their probabilities and purchases in each bin [3, N]."""
    bin_G = np.searchsorted(edges, counts.probability)
    total_G = counts.bought + counts.others
    values = (total_G, total_G * counts.probability, counts.bought)
    return np.array([np.bincount(bin_G, own, minlength=len(edges) + 1) for own in values])


def _system(threshold: float, values: Mapping[str, Floats]) -> dict[str, Any]:
    return {
        "threshold": threshold,
        "figures": {name: _number(own[0]) for name, own in values.items()},
        "intervals": {name: bootstrap.interval(own) for name, own in values.items()},
    }


def _calibration(bins_R3N: Floats) -> dict[str, Any]:
    """Bins, and their mean distance from what is true (Naeini et al., AAAI 2015)."""
    bins_R3N = bins_R3N[:, :, bins_R3N[0, 0] > 0]
    weight_RN, predicted_RN, bought_RN = np.moveaxis(bins_R3N, 1, 0)
    # A resample may have no target in a bin.
    whole_RN = np.where(weight_RN > 0, weight_RN, np.nan)
    weight_N, predicted_N = weight_RN[0], predicted_RN[0] / weight_RN[0]
    share_RN = bought_RN / whole_RN
    ranges = [bootstrap.interval(own_R) or (None, None) for own_R in share_RN.T]
    return {
        "calibration": [
            {"labels": int(weight), "predicted": float(mean), "bought": float(share),
             "low": low, "high": high}
            for weight, mean, share, (low, high)
            in zip(weight_N, predicted_N, share_RN[0], ranges, strict=True)
        ],
        "calibration_error": float(
            (weight_N * np.abs(predicted_N - share_RN[0])).sum() / weight_N.sum()
        ),
    }  # fmt: skip


def _number(value: float | None) -> float | None:
    """JSON has no nan."""
    return None if value is None or math.isnan(value) else float(value)
