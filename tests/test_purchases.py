"""Figures of probabilities of a purchase, against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pyspark.ml.evaluation import (
    BinaryClassificationEvaluator,
    MulticlassClassificationEvaluator,
)
from pyspark.ml.linalg import Vectors
from pyspark.sql import SparkSession

from recsys.purchases import METRICS, Predictions, best_threshold, figures


def by_hand(told: list[tuple[float, bool]], threshold: float) -> dict[str, float]:
    bought = [p for p, is_bought in told if is_bought]
    others = [p for p, is_bought in told if not is_bought]
    won = sum((p > q) + (p == q) / 2 for p in bought for q in others)
    hits = sum(p >= threshold for p in bought)
    false = sum(p >= threshold for p in others)
    precision, recall = hits / (hits + false), hits / len(bought)
    logs = [math.log(p if is_bought else 1 - p) for p, is_bought in told]
    return {
        "auc": won / (len(bought) * len(others)),
        "accuracy": (hits + len(others) - false) / len(told),
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall),
        "log_loss": -sum(logs) / len(told),
    }


@pytest.fixture
def told() -> list[tuple[float, bool]]:
    """Two hundred probabilities with many ties, right more often than not."""
    rng = np.random.default_rng(4)
    probability = rng.integers(1, 20, size=200) / 20
    return list(zip(probability.tolist(), (rng.random(200) < probability).tolist(), strict=True))


def predictions(told: list[tuple[float, bool]]) -> Predictions:
    probability, bought = zip(*told, strict=True)
    return Predictions(np.array(probability), np.array(bought))


@pytest.mark.parametrize("threshold", [0.05, 0.5, 0.62])
def test_figures_equal_plain_loops(told: list[tuple[float, bool]], threshold: float) -> None:
    found = figures(predictions(told).counts(), threshold)
    assert tuple(found) == METRICS
    assert found == pytest.approx(by_hand(told, threshold))


def test_figures_equal_sparks_own(spark: SparkSession, told: list[tuple[float, bool]]) -> None:
    rows = [(Vectors.dense(1 - p, p), float(p >= 0.5), float(is_bought)) for p, is_bought in told]
    table = spark.createDataFrame(rows, ["probability", "prediction", "label"])
    area = BinaryClassificationEvaluator(rawPredictionCol="probability", numBins=0)
    spark_names = {
        "accuracy": "accuracy", "precision": "precisionByLabel", "recall": "recallByLabel",
        "f1": "fMeasureByLabel", "log_loss": "logLoss",
    }  # fmt: skip
    expected = {"auc": area.evaluate(table)} | {
        ours: MulticlassClassificationEvaluator(metricName=theirs, metricLabel=1.0).evaluate(table)
        for ours, theirs in spark_names.items()
    }
    assert figures(predictions(told).counts(), 0.5) == pytest.approx(expected)


def test_a_weight_counts_like_as_many_predictions(told: list[tuple[float, bool]]) -> None:
    times = np.random.default_rng(1).poisson(1, size=len(told))
    repeated = [own for own, count in zip(told, times, strict=True) for _ in range(count)]
    found = figures(predictions(told).counts(times.astype(float)), 0.5)
    assert found == pytest.approx(by_hand(repeated, 0.5))


def test_the_best_threshold_has_the_highest_f1(told: list[tuple[float, bool]]) -> None:
    values = sorted({p for p, _ in told})
    of_each = {value: by_hand(told, value)["f1"] for value in values}
    assert best_threshold(predictions(told).counts()) == max(values, key=lambda v: of_each[v])


def test_what_nothing_is_known_of() -> None:
    none = predictions([(0.2, False), (0.3, False)])
    found = figures(none.counts(), 0.5)
    assert found["accuracy"] == 1
    assert all(math.isnan(found[name]) for name in ("auc", "precision", "recall", "f1"))
    empty = Predictions(np.zeros(0), np.zeros(0, bool)).counts()
    assert all(math.isnan(value) for value in figures(empty, 0.5).values())
    with pytest.raises(ValueError, match="found none"):
        best_threshold(empty)
