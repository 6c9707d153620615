from __future__ import annotations

import random

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession

from recsys.evaluate import aggregate, metrics
from recsys.schemas import CASES, ddl
from tests.evaluate.test_metrics import by_hand

AT = (1, 2, 4)
COUNTS = [0, 0, 9, 5, 5, 1, 0, 0]

# (system, targets, ranks, recommended)
Case = tuple[str, list[int], list[int], list[int]]
DRAWN: list[Case] = [
    ("model", [2, 9], [1, 0], [2, 3, 4, 5]),
    ("model", [1], [0], [3, 2, 4, 5]),
    ("model", [5, 4, 3], [4, 3, 2], [2, 3, 4, 5]),
    ("popular", [2, 9], [2, 0], [3, 2]),
    ("popular", [1], [0], [3, 2]),
    ("popular", [5, 4, 3], [0, 0, 1], [3, 2]),
]


def cases(spark: SparkSession, rows: list[Case], seed: int, parts: int) -> DataFrame:
    shuffled = random.Random(seed).sample(rows, len(rows))
    values = [
        ("u", number, 0, system, 3, targets, ranks, recommended)
        for number, (system, targets, ranks, recommended) in enumerate(shuffled)
    ]
    return spark.createDataFrame(values, ddl(CASES)).repartition(parts)


def means(frame: DataFrame) -> dict[tuple[str, str, int], float]:
    bits = metrics.self_information(np.array(COUNTS))
    return {
        (row.system, row.metric, row.k): row.value
        for row in aggregate.means(frame, AT, bits).collect()
    }


def test_means_equal_a_plain_loop(spark: SparkSession) -> None:
    found = means(cases(spark, DRAWN, seed=1, parts=3))
    assert len(found) == 2 * len(metrics.PER_CASE) * len(AT)
    for (system, metric, k), value in found.items():
        own = [case for case in DRAWN if case[0] == system]
        by_case = [by_hand(metric, ranks, items, COUNTS, k) for _, _, ranks, items in own]
        assert value == pytest.approx(sum(by_case) / len(by_case), abs=1e-12), (system, metric, k)


def test_order_and_number_of_parts_change_nothing(spark: SparkSession) -> None:
    rows = DRAWN * 7
    first = means(cases(spark, rows, seed=1, parts=1))
    second = means(cases(spark, rows, seed=2, parts=5))
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert second[key] == pytest.approx(value, rel=1e-12)


def test_coverage_counts_each_item_once(spark: SparkSession) -> None:
    frame = cases(spark, DRAWN, seed=3, parts=2)
    found = {
        (row.system, row.k): row.value for row in aggregate.coverage(frame, AT, items=6).collect()
    }
    # The model's lists begin with 2, 3, 2, whose second items are 3, 2, 3.
    assert found == {
        ("model", 1): 2 / 6, ("model", 2): 2 / 6, ("model", 4): 4 / 6,
        ("popular", 1): 1 / 6, ("popular", 2): 2 / 6, ("popular", 4): 2 / 6,
    }  # fmt: skip


def test_bands_of_popularity(spark: SparkSession) -> None:
    # Indexes 2 to 11 are the ten most popular items; 12 and 101 the next; 1 is unknown.
    rows: list[Case] = [
        ("model", [2, 12, 1], [0, 0, 0], [11, 12, 102]),
        ("popular", [2, 12, 1], [0, 0, 0], [2, 3, 4]),
    ]
    found = {
        (row.what, aggregate.band_names()[row.band]): row.events
        for row in aggregate.bands(cases(spark, rows, seed=1, parts=2), 2, "model").collect()
    }
    assert found == {
        ("bought", "1–10"): 1, ("bought", "11–100"): 1, ("bought", "unknown"): 1,
        ("model", "1–10"): 1, ("model", "11–100"): 1, ("popular", "1–10"): 2,
    }  # fmt: skip
