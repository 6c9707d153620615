from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from rectools.metrics import CatalogCoverage

from recsys import files
from recsys.evaluate import bootstrap, exposure
from recsys.schemas import FIRST_ITEM
from tests.evaluate.test_aggregate import AT, ROWS, frame

ITEMS = 7  # the last of which nobody is recommended
RESAMPLES, SEED = 6, 9
NAMES = ("model", "popular")


def found(cases: DataFrame) -> dict[tuple[str, str, int], np.ndarray]:
    return exposure.exposure(cases, NAMES, AT, FIRST_ITEM + ITEMS, RESAMPLES, SEED)


@pytest.fixture(scope="module")
def cases(spark: SparkSession) -> DataFrame:
    return frame(spark, ROWS, seed=3, parts=2)


@pytest.fixture(scope="module")
def of_two(cases: DataFrame) -> dict[tuple[str, str, int], np.ndarray]:
    return found(cases)


def gini(counts: list[int]) -> float:
    """Half the mean difference of all pairs, over the mean."""
    pairs = [abs(one - other) for one in counts for other in counts]
    return sum(pairs) / (2 * len(counts) * sum(counts))


def test_coverage_gini_and_their_resamples_equal_plain_loops(
    cases: DataFrame, of_two: dict[tuple[str, str, int], np.ndarray]
) -> None:
    hashes = {
        row.user_id: row.hash
        for row in cases.select("user_id", F.xxhash64("user_id").alias("hash")).collect()
    }
    weights = {
        user: bootstrap.weights(np.array([number]), RESAMPLES, SEED)[0]
        for user, number in hashes.items()
    }
    assert set(of_two) == {(name, own, k) for name in NAMES for own in exposure.METRICS for k in AT}
    for system in NAMES:
        for k in AT:
            covered, unlike = [], []
            for number in range(1 + RESAMPLES):
                counted: Counter[int] = Counter()
                for name, user, _, _, _, items in ROWS:
                    if name == system:
                        counted.update(items[:k] * int(weights[user][number]))
                counts = [counted[item] for item in range(FIRST_ITEM, FIRST_ITEM + ITEMS)]
                covered.append(sum(count > 0 for count in counts) / ITEMS)
                unlike.append(gini(counts))
            assert len(set(unlike)) > 2, "the resamples must differ"
            for metric, values in (("coverage", covered), ("gini", unlike)):
                mean = sum(values[1:]) / RESAMPLES
                moved = [min(1, max(0, value + values[0] - mean)) for value in values[1:]]
                np.testing.assert_allclose(
                    of_two[system, metric, k], [values[0], *moved], atol=1e-12, err_msg=metric
                )


def test_coverage_is_that_of_rectools(of_two: dict[tuple[str, str, int], np.ndarray]) -> None:
    for system in NAMES:
        recommended = pd.DataFrame(
            [
                (case, item, place)
                for case, (name, *_, items) in enumerate(ROWS)
                for place, item in enumerate(items, start=1)
                if name == system
            ],
            columns=["user_id", "item_id", "rank"],
        )
        catalog = range(FIRST_ITEM, FIRST_ITEM + ITEMS)
        for k in AT:
            expected = CatalogCoverage(k, normalize=True).calc(recommended, catalog)
            assert of_two[system, "coverage", k][0] == pytest.approx(expected)


def test_neither_parts_nor_passes_change_anything(
    spark: SparkSession,
    monkeypatch: pytest.MonkeyPatch,
    of_two: dict[tuple[str, str, int], np.ndarray],
) -> None:
    of_one_sample = len(AT) * (FIRST_ITEM + ITEMS)
    monkeypatch.setattr(exposure, "_COUNTS_AT_ONCE", of_one_sample + 1)
    again = found(frame(spark, ROWS, seed=1, parts=5))
    for key, values in of_two.items():
        np.testing.assert_array_equal(again[key], values)


def test_the_report_has_intervals_about_the_figures(report: Path) -> None:
    figures = files.read_json(files.as_url(str(report / "metrics.json")))
    for system, own in figures["intervals"].items():
        for metric in exposure.METRICS:
            low, high = own[f"{metric}@5"]
            own_figure = figures["systems"][system][f"{metric}@5"]
            assert low - 1e-12 <= own_figure <= high + 1e-12
    low, high = figures["intervals"]["model"]["gini@5"]
    assert low < high


def test_known_values() -> None:
    assert exposure.gini(np.array([2, 2, 2])) == 0
    assert exposure.gini(np.array([0, 3, 0])) == pytest.approx(2 / 3)
    assert exposure.coverage(np.array([0, 3, 0, 1])) == 0.5
    nothing = np.zeros(3, np.int64)
    assert np.isnan(exposure.gini(nothing))
    assert np.isnan(exposure.coverage(nothing))
