"""The purchase head on test: its probabilities, figures, intervals and calibration."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from recsys import files, saved_model
from recsys.encoding import INPUTS
from recsys.evaluate import bootstrap, purchase_rate
from recsys.evaluate.purchase_figures import measured
from recsys.manifest import Manifest
from recsys.purchases import METRICS
from recsys.schemas import BOUGHT, FIRST_ITEM, NO_LABEL, PURCHASES
from tests.evaluate.dataset import SETTINGS, THRESHOLD, USERS
from tests.test_purchases import by_hand

Told = list[tuple[float, bool]]


def test_probabilities_are_those_of_the_model(report: Path, manifest: Manifest, model: str) -> None:
    ranker = saved_model.load(files.join(model, "export"))
    table = pq.read_table(Path(files.local_copy(manifest.url)) / "sequences" / "split=test")
    expected = {}
    for row in table.slice(0, USERS).to_pylist():
        arrays = {name: np.array([row[name]], np.int32) for name in INPUTS}
        for place, label in enumerate(row["purchase"]):
            if label:
                step, item = row["step"][place], row["item"][place]
                value = ranker.purchases(arrays, np.zeros(1), np.array([step]), np.array([item]))
                key = (row["user_id"], row["timestamp"][place], item)
                expected[key] = (label == BOUGHT, float(value[0]))
    found = pq.read_table(report / "purchases").to_pylist()
    assert len(found) == len(expected) == manifest.splits["test"].labels
    assert set(found[0]) == set(PURCHASES)
    for row in found:
        is_bought, probability = expected[row["user_id"], row["timestamp"], row["item"]]
        assert row["is_bought"] == is_bought
        assert row["probability"] == pytest.approx(probability, abs=1e-5)


def test_the_report_has_its_figures(report: Path) -> None:
    told = pq.read_table(report / "purchases").to_pylist()
    found = files.read_json(files.as_url(str(report / "metrics.json")))["purchase"]
    pairs = [(row["probability"], row["is_bought"]) for row in told]
    assert found["figures"] == pytest.approx(by_hand(pairs, THRESHOLD))
    assert found["users"] == len({row["user_id"] for row in told})
    assert found["bought"] == sum(row["is_bought"] for row in told)
    for low, high in filter(None, found["intervals"].values()):
        assert low <= high
    page = (report / "report.html").read_text()
    assert "The item&#39;s purchase rate" in page
    assert "Whether it is bought" in page
    assert f"{found['figures']['auc']:.4f}" in page


def rate(counts: dict[int, list[int]], item: int) -> float:
    """Of an item, from how many of its targets were not bought and were."""
    others, bought = (sum(own[place] for own in counts.values()) for place in (0, 1))
    mean = (bought + 1) / (bought + others + 2)
    return (counts[item][1] + 20 * mean) / (sum(counts[item]) + 20)


def auc(told: Told) -> float:
    """The share of pairs in which what was bought was more likely, ties half."""
    bought = [p for p, is_bought in told if is_bought]
    others = [p for p, is_bought in told if not is_bought]
    pairs = [(p > q) + (p == q) / 2 for p in bought for q in others]
    return sum(pairs) / len(pairs) if pairs else math.nan


def labelled(manifest: Manifest, split: str) -> list[tuple[int, bool]]:
    table = pq.read_table(Path(files.local_copy(manifest.url)) / "sequences" / f"split={split}")
    return [
        (item, label == BOUGHT)
        for row in table.to_pylist()
        for item, label in zip(row["item"], row["purchase"], strict=True) if label != NO_LABEL
    ]  # fmt: skip


def test_the_items_purchase_rate_is_judged_by_the_same_targets(
    spark: SparkSession, report: Path, manifest: Manifest
) -> None:
    counts: dict[int, list[int]] = {item: [0, 0] for item in range(manifest.vocabulary_size)}
    for item, is_bought in labelled(manifest, "train"):
        counts[item][is_bought] += 1
    seen = [(rate(counts, item), is_bought) for item, is_bought in labelled(manifest, "valid")]

    def f1(threshold: float) -> float:
        hits = sum(is_bought for p, is_bought in seen if p >= threshold)
        chosen = sum(p >= threshold for p, _ in seen)
        return 2 * hits / (chosen + sum(is_bought for _, is_bought in seen))

    threshold = max(sorted({p for p, _ in seen}), key=f1)
    table = pq.read_table(report / "purchases").to_pylist()
    pairs = [(rate(counts, row["item"]), row["is_bought"]) for row in table]
    head = files.read_json(files.as_url(str(report / "metrics.json")))["purchase"]
    found = head["references"]["purchase_rate"]
    assert f1(found["threshold"]) == pytest.approx(f1(threshold))
    assert found["figures"] == pytest.approx(by_hand(pairs, found["threshold"]))

    users = sorted({row["user_id"] for row in table})
    weights = bootstrap.weights(hashes(spark, users), SETTINGS.resamples, 1).astype(int)
    drawn, apart = [], []
    for number in range(SETTINGS.resamples + 1):
        count = dict(zip(users, weights[:, number], strict=True))
        pairs, own = [], []
        for row in table:
            times = count[row["user_id"]]
            pairs += [(rate(counts, row["item"]), row["is_bought"])] * times
            own += [(row["probability"], row["is_bought"])] * times
        drawn.append(auc(pairs))
        apart.append(auc(own) - drawn[-1])
    assert found["intervals"]["auc"] == pytest.approx(bootstrap.interval(np.array(drawn)))
    difference = found["differences"]["auc"]
    assert difference["difference"] == pytest.approx(apart[0])
    low, high = bootstrap.interval(np.array(apart))
    assert (difference["low"], difference["high"]) == pytest.approx((low, high))


def test_a_reference_that_learns_from_validation_too() -> None:
    train, valid = np.zeros((5, 2), np.int64), np.zeros((5, 2), np.int64)
    train[3], valid[4] = (5, 1), (0, 2)
    both = {item: (train + valid)[item].tolist() for item in range(5)}
    refit = purchase_rate.fitted(train, valid, ("train", "valid"))
    assert refit.probability.tolist() == pytest.approx([rate(both, item) for item in range(5)])
    alone = purchase_rate.fitted(train, np.zeros_like(valid), ("train",))
    assert alone.probability[3] < alone.probability[4], "items without labels are average"
    assert alone.threshold == alone.probability[3], "without labels of validation those of train"


@pytest.fixture(scope="module")
def told() -> dict[str, Told]:
    """Of forty users, with ties."""
    rng = np.random.default_rng(7)
    probability = rng.integers(1, 64, size=(40, 6)) / 64
    bought = rng.random((40, 6)) < probability**2
    return {
        f"user-{user}": list(zip(map(float, own), map(bool, what), strict=True))
        for user, (own, what) in enumerate(zip(probability, bought, strict=True))
    }


@pytest.fixture(scope="module")
def found(spark: SparkSession, told: dict[str, Told]) -> dict:
    rows = [
        (user, 0, FIRST_ITEM, is_bought, probability)
        for user, own in told.items()
        for probability, is_bought in own
    ]
    frame = spark.createDataFrame(rows[::-1], ", ".join(f"{k} {v}" for k, v in PURCHASES.items()))
    return measured(frame.repartition(3), THRESHOLD, SETTINGS.resamples or 40, 5)


def hashes(spark: SparkSession, users: list[str]) -> np.ndarray:
    frame = spark.createDataFrame([(user,) for user in users], "user string")
    rows = frame.selectExpr("user", "xxhash64(user) as hash").collect()
    return np.array([{row.user: row.hash for row in rows}[user] for user in users])


def test_intervals_are_those_of_users_drawn_again(
    spark: SparkSession, told: dict[str, Told], found: dict
) -> None:
    resamples = SETTINGS.resamples or 40
    weights = bootstrap.weights(hashes(spark, list(told)), resamples, 5).astype(int)
    drawn: dict[str, list[float]] = {name: [] for name in METRICS}
    for number in range(resamples + 1):
        pairs = [
            pair
            for own, count in zip(told.values(), weights[:, number], strict=True)
            for pair in own * count
        ]
        for name, value in by_hand(pairs, THRESHOLD).items():
            drawn[name].append(value)
    for name, values in drawn.items():
        assert found["figures"][name] == pytest.approx(values[0])
        assert found["intervals"][name] == pytest.approx(bootstrap.interval(np.array(values)))


def test_calibration_compares_what_is_predicted_with_what_comes_true(
    told: dict[str, Told], found: dict
) -> None:
    pairs = sorted(pair for own in told.values() for pair in own)
    start, apart = 0, 0.0
    assert 8 <= len(found["calibration"]) <= 10
    for own in found["calibration"]:
        here = pairs[start : start + own["labels"]]
        predicted = sum(p for p, _ in here) / len(here)
        bought = sum(is_bought for _, is_bought in here) / len(here)
        assert own["predicted"] == pytest.approx(predicted)
        assert own["bought"] == pytest.approx(bought)
        assert own["low"] <= bought <= own["high"]
        start, apart = start + len(here), apart + len(here) * abs(predicted - bought)
        if start < len(pairs):
            assert pairs[start][0] > here[-1][0], "equal ones are together"
    assert start == len(pairs)
    assert found["calibration_error"] == pytest.approx(apart / len(pairs))


def test_what_cannot_be_told_is_null(spark: SparkSession) -> None:
    frame = spark.createDataFrame(
        [("ann", 0, 5, False, 0.25)], ", ".join(f"{k} {v}" for k, v in PURCHASES.items())
    )
    found = measured(frame, 0.5, 3, 1)
    assert found["figures"]["auc"] is None
    assert found["intervals"]["auc"] is None
    assert found["intervals"]["log_loss"] is None, "of one user nothing is sure"
    assert found["calibration"][0]["low"] is None
    assert found["figures"]["log_loss"] == pytest.approx(-math.log(0.75))
