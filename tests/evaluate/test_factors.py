from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pyspark.ml.recommendation import ALS, ALSModel
from pyspark.sql import DataFrame, SparkSession

from recsys.evaluate.catalogue import read_catalogue
from recsys.evaluate.evaluation import Evaluation
from recsys.evaluate.ranked import read_batch
from recsys.evaluate.references import factors
from recsys.evaluate.references.factors import Factors
from recsys.evaluate.references.system import _LEVELS
from recsys.manifest import Manifest
from tests.evaluate import dataset
from tests.evaluate.plain import folded_in
from tests.evaluate.rows import record_batch, row

# To which scores are rounded, as a share of the highest.
HALF_A_LEVEL = 0.5 / _LEVELS


def test_a_history_is_folded_in_as_als_would_have_it() -> None:
    rng = np.random.default_rng(1)
    vectors = np.concatenate([np.zeros((2, 3)), rng.normal(size=(6, 3))])
    fitted = Factors(vectors, regularisation=0.1, confidence=5, popularity=np.zeros(8))
    steps = [[2, 3], [3, 5], [1], [4]]
    rows = record_batch([row("u", list(enumerate(steps)), 2)], [[]])
    scores = fitted.scores(read_batch(rows))
    assert len(scores) == 2, "steps 2 and 3"
    for case, number in enumerate((2, 3)):
        expected = vectors @ folded_in(steps[:number], vectors, 0.1, 5)
        shifted = (expected - min(expected.min(), 0))[2:]
        levels = scores[case, 2:]
        np.testing.assert_allclose(
            levels / levels.max(), shifted / shifted.max(), rtol=0, atol=HALF_A_LEVEL
        )


def test_what_is_fitted_recommends_to_users_of_train_as_als_does(
    spark: SparkSession, place: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    models: list[ALSModel] = []

    class Kept(ALS):
        def fit(self, data: DataFrame) -> ALSModel:  # type: ignore[override]
            models.append(super().fit(data))
            return models[-1]

    monkeypatch.setattr(factors, "ALS", Kept)
    config = dataset.config(place, matrix_factorization=dataset.SETTINGS.matrix_factorization)
    evaluation = Evaluation(spark, config, manifest, read_catalogue(spark, config, manifest), None)
    fitted = factors.matrix_factorization(evaluation.training(evaluation.histories(("train",))))
    # ALS ends with the users: their vectors are what the items' make of their histories.
    settings = config.evaluate.matrix_factorization
    of_als = {row.id: np.array(row.features) for row in models[0].userFactors.collect()}
    histories = dataset.histories()
    assert len(of_als) == len(histories)
    for number, user in enumerate(sorted(histories)):
        folded = folded_in(
            histories[user][:3], fitted.vectors, settings.regularisation, settings.confidence
        )
        np.testing.assert_allclose(folded, of_als[number], rtol=1e-3, atol=1e-4)
    assert np.ptp(fitted.vectors @ folded) > 0.1, "items differ"
