"""How good the purchase head is on test: its probabilities, computed where the rows are.

Shapes: P labelled targets, U users, N bins of the calibration.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys import ranking
from recsys.evaluate import bootstrap
from recsys.evaluate.bootstrap import Floats, difference
from recsys.evaluate.purchase_rate import NAME, PurchaseRate
from recsys.evaluate.ranked import Lists, arrays
from recsys.purchases import METRICS, Counts, Predictions, bins, calibration, figures
from recsys.schemas import BOUGHT, NO_LABEL, PURCHASES, ddl

# Of the calibration.
_BINS = 10
# Resamples whose weights are in memory at once.
_AT_ONCE = 16
_HEAD = "model"


def predicted(rows: DataFrame, export: str, lists: Lists) -> DataFrame:
    """The probability of every labelled target.

    Args:
        rows: schemas.SEQUENCES, without fillers
        export: URL of a SavedModel with a purchase head
        lists: how many rows at once, and with how many threads

    Returns:
        schemas.PURCHASES
    """
    return rows.select("user_id", *arrays(rows.columns)).mapInArrow(
        _worker(export, lists), ddl(PURCHASES)
    )


def _worker(
    export: str, lists: Lists
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def work(record_batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        ranking.limit_threads(lists.threads)
        for record_batch in record_batches:
            for start in range(0, record_batch.num_rows, lists.batch_rows):
                yield _of_rows(record_batch.slice(start, lists.batch_rows), export)

    return work


def _of_rows(rows: pa.RecordBatch, export: str) -> pa.RecordBatch:
    own = {
        name: np.asarray(rows.column(name).flatten()).reshape(rows.num_rows, -1)
        for name in arrays(rows.schema.names)
    }
    row_P, place_P = np.nonzero(own["purchase"] != NO_LABEL)
    step_P, item_P = (own[name][row_P, place_P] for name in ("step", "item"))
    probability_P = np.zeros(0, np.float32)
    if len(row_P):
        probability_P = ranking.load(export).purchases(own, row_P, step_P, item_P).numpy()
    columns = [
        rows.column("user_id").take(pa.array(row_P)),
        pa.array(own["timestamp"][row_P, place_P]),
        pa.array(item_P),
        pa.array(own["purchase"][row_P, place_P] == BOUGHT),
        pa.array(probability_P),
    ]
    return pa.RecordBatch.from_arrays(columns, list(PURCHASES))


def measured(
    predictions: DataFrame,
    threshold: float,
    resamples: int,
    seed: int,
    reference: PurchaseRate | None = None,
) -> dict[str, Any]:
    """The figures of metrics.json, with 95 % intervals; some dozen bytes a target on the driver.

    `drawn` is what resamples keeps besides.

    Args:
        predictions: schemas.PURCHASES, at least one
        threshold: the probability from which on a purchase is predicted
        resamples: how often users are drawn again
        seed: of these draws
        reference: is judged by the same targets
    """
    user = F.xxhash64("user_id").alias("user")
    needed = predictions.select(user, "item", "is_bought", "probability")
    table = needed.toArrow().combine_chunks()
    user_U, of_P = np.unique(table.column("user").to_numpy(), return_inverse=True)
    bought_P = table.column("is_bought").to_numpy()
    head = Predictions(table.column("probability").to_numpy(), bought_P)
    judged = {_HEAD: (head, threshold)}
    if reference is not None:
        rate_P = reference.probability[table.column("item").to_numpy()]
        judged[NAME] = Predictions(rate_P, bought_P), reference.threshold
    bin_G = bins(head.counts(), _BINS)
    drawn: dict[str, list[dict[str, float]]] = {name: [] for name in judged}
    shares = []
    for weight_P in _samples(user_U, of_P, resamples, seed):
        counts = {name: told.counts(weight_P) for name, (told, _) in judged.items()}
        for name, own in counts.items():
            drawn[name].append(figures(own, judged[name][1]))
        shares.append(calibration(counts[_HEAD], bin_G)[2])
    values = {
        name: {metric: np.array([sample[metric] for sample in own]) for metric in METRICS}
        for name, own in drawn.items()
    }
    return {
        "labels": len(bought_P),
        "bought": int(bought_P.sum()),
        "users": len(user_U),
        "drawn": {f"purchase {metric}": own for metric, own in values[_HEAD].items()},
        **_system(threshold, values[_HEAD]),
        "references": {
            name: {
                **_system(judged[name][1], own),
                "differences": {metric: _difference(values[_HEAD][metric], own[metric])
                                for metric in METRICS},
            }
            for name, own in values.items() if name != _HEAD
        },
        **_calibration(head.counts(), bin_G, np.array(shares)),
    }  # fmt: skip


def _samples(
    user_U: npt.NDArray[np.int64], of_P: npt.NDArray[np.intp], resamples: int, seed: int
) -> Iterator[Floats | None]:
    """The weight of each target [P]: none in the sample itself, then as drawn."""
    yield None
    for first in range(1, resamples + 1, _AT_ONCE):
        numbers = range(first, min(first + _AT_ONCE, resamples + 1))
        for weight_U in bootstrap.drawn(user_U, numbers, seed).T:
            yield weight_U[of_P].astype(np.float64)


def _system(threshold: float, values: Mapping[str, Floats]) -> dict[str, Any]:
    return {
        "threshold": threshold,
        "figures": {name: _number(own[0]) for name, own in values.items()},
        "intervals": {
            name: [_number(end) for end in bootstrap.interval(own)] for name, own in values.items()
        },
    }


def _difference(head: Floats, reference: Floats) -> dict[str, float | None]:
    return {name: _number(own) for name, own in difference(head, reference).items()}


def _calibration(
    whole: Counts, bin_G: npt.NDArray[np.int64], bought_RN: npt.NDArray[np.float64]
) -> dict[str, Any]:
    """Bins, and their mean distance from what is true (Naeini et al., AAAI 2015)."""
    weight_N, predicted_N, bought_N = calibration(whole, bin_G)
    ranges = [bootstrap.interval(own_R) for own_R in bought_RN.T]
    drawn = zip(weight_N, predicted_N, bought_N, ranges, strict=True)
    return {
        "calibration": [
            {"labels": int(weight), "predicted": float(mean), "bought": float(share),
             "low": low, "high": high}
            for weight, mean, share, (low, high) in drawn
        ],
        "calibration_error": float(
            (weight_N * np.abs(predicted_N - bought_N)).sum() / weight_N.sum()
        ),
    }  # fmt: skip


def _number(value: float) -> float | None:
    """JSON has no nan."""
    return None if math.isnan(value) else float(value)
