"""Prices and quantities of events are input, clipped and normalized as train alone says."""

from __future__ import annotations

import dataclasses
import datetime
import math
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from recsys import files, manifest
from recsys.config import Config, EventColumns, Events, Prepare
from recsys.errors import ConfigError, DataError
from recsys.manifest import Manifest
from recsys.prepare import pipeline, report
from recsys.prepare.certificate import certificate
from recsys.prepare.event_numbers import fitted
from recsys.prepare.recount import number_checks
from recsys.prepare.rules import rules
from recsys.scale import Scale
from recsys.schemas import FIRST_ITEM, SPLITS
from tests.prepare.small import DAY, START, Row, log_rows, small_config, write_csv

SCHEMA = "price double, quantity double, part int"
VALID, TEST = START + 6 * DAY, START + 8 * DAY
CLIP = (0.05, 0.9)
NAN = math.nan


def _log() -> list[Row]:
    """Prices of some events, which no other event of the user has at that instant; later on dear
    ones, as train has none.
    """
    draw = random.Random(5)
    rows = []
    for who, what, did, when, *_ in log_rows():
        price = round(math.exp(draw.gauss(3 if int(when) < VALID else 9, 1)), 2)
        paid = "" if draw.random() < 0.2 else str(price)
        rows.append((who, what, did, when, paid, str(draw.choice((1, 1, 1, 2, 3, 50)))))
    return rows


LOG = _log()


@pytest.fixture(scope="module")
def made(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = tmp_path_factory.mktemp("numbers")
    config = small_config(folder, write_csv(folder / "log.csv", LOG))
    prepare = replace(
        config.prepare, event_numbers={"quantity": "quantile", "price": "log"},
        event_number_clip=CLIP, vocabulary_min_count=1, vocabulary_tail="valid",
    )  # fmt: skip
    starts = [datetime.datetime.fromtimestamp(start, datetime.UTC).isoformat()
              for start in (VALID, TEST)]  # fmt: skip
    prepare = replace(prepare, valid_start=starts[0], test_start=starts[1])
    return pipeline.run(spark, replace(config, prepare=prepare))


def _numbers(rows: list[Row], place: int) -> np.ndarray:
    return np.array([float(row[place]) if row[place] else NAN for row in rows])


def _expected(place: int, by: str) -> dict[tuple[str, str, str], float]:
    """What each event's number becomes, in plain NumPy."""
    values, is_train = _numbers(LOG, place), np.array([int(row[3]) < VALID for row in LOG])
    known = values[is_train & ~np.isnan(values)]
    limits = np.quantile(known, CLIP, method="inverted_cdf")
    known, own = np.clip(known, *limits), np.clip(values, *limits)
    if by == "log":
        found = (np.log1p(own) - np.log1p(known).mean()) / np.log1p(known).std()
    else:
        shares = (np.arange(200) + 0.5) / 200
        known = np.quantile(known, shares, method="inverted_cdf")
        places = (known[None, :] < own[:, None]).mean(1) + (known[None, :] <= own[:, None]).mean(1)
        found = places - 1
    found = np.where(np.isnan(values), 0, found)
    return {(row[0], row[1], row[3]): number for row, number in zip(LOG, found, strict=True)}


def _rows(made: Manifest, name: str) -> list[dict[str, Any]]:
    return pq.read_table(files.local_copy(files.join(made.url, name))).to_pylist()


@pytest.mark.parametrize(
    ("name", "place", "by", "different"), [("price", 4, "log", 100), ("quantity", 5, "quantile", 4)]
)
def test_arrays_are_as_plain_numpy_has_them(
    made: Manifest, name: str, place: int, by: str, different: int
) -> None:
    expected, checked = _expected(place, by), 0
    vocabulary = _rows(made, "vocabulary.parquet")
    item_of = {row["item_index"]: row["item_id"] for row in vocabulary}
    tables = [f"sequences/split={split}" for split in SPLITS] + ["histories"]
    for row in [row for table in tables for row in _rows(made, table)]:
        for item, time, number in zip(row["item"], row["timestamp"], row[name], strict=True):
            if item < FIRST_ITEM:
                assert (item, number) == (0, 0), "all items are known; the rest is padding"
                continue
            key = (row["user_id"], item_of[item], str(time))
            assert number == pytest.approx(expected[key], rel=1e-6, abs=1e-6)
            checked += 1
    assert checked > 2 * len(LOG) * 0.8
    assert len({round(number, 6) for number in expected.values()}) >= different


def test_the_manifest_explains_the_numbers(made: Manifest) -> None:
    stored = manifest.read(made.url.split("/versions/")[0])
    assert stored.event_numbers == made.event_numbers
    assert stored.inputs == {"price": 0, "quantity": 0}
    scale = stored.event_numbers["price"]
    values = _numbers(LOG, 4)
    for (user, item, time), number in list(_expected(4, "log").items())[:50]:
        (value,) = [values[place] for place, row in enumerate(LOG)
                    if (row[0], row[1], row[3]) == (user, item, time)]  # fmt: skip
        assert scale.normalized(np.array([value]))[0] == pytest.approx(number)
    steps = {step.name: step for step in made.steps}
    below, above = (values < scale.least).sum(), (values > scale.most).sum()
    assert above > 100
    step = steps["price of events"]
    assert f"{below} events from below and {above} from above" in step.decision
    assert step.decision.endswith(f"; {np.isnan(values).sum()} have none")
    assert step.rows_in == step.rows_out == len(LOG)
    assert "price of events" in report.text(made)
    checks = {check["name"]: check for check in made.certificate["checks"]}
    for name in ("price", "quantity"):
        assert checks[f"{name} of events from train alone"]["holds"]


TRAIN = [(float(price), float(price % 3), 0) for price in range(1, 41)]
LATER = [(1000.0, 7.0, 1), (2000.0, 9.0, 2), (3000.0, 9.0, 3), (None, None, 0)]


@pytest.mark.parametrize("clip", [None, (0.05, 0.95)])
@pytest.mark.parametrize("by", ["standard", "log", "quantile"])
def test_a_leak_into_the_statistics_is_caught(
    spark: SparkSession, by: Any, clip: tuple[float, float] | None
) -> None:
    prepare = Prepare(event_numbers={"price": by}, event_number_clip=clip)
    config = Config(prepare=prepare)
    events = spark.createDataFrame(TRAIN + LATER, SCHEMA)
    leaked = spark.createDataFrame([(*row[:2], 0) for row in TRAIN + LATER], SCHEMA)

    def scales(of: Any) -> dict[str, Scale]:
        return {name: own.scale for name, own in fitted(of, config).items()}

    certificate(number_checks(scales(events), events, prepare))
    with pytest.raises(DataError, match=r"price of events from train alone: expected .*, found"):
        certificate(number_checks(scales(leaked), events, prepare))
    # A limit or a number that somebody moved is seen, too.
    (found,) = scales(events).values()
    moved = [replace(found, mean=found.mean + 1e-6)]
    if clip is not None:
        moved.append(replace(found, most=float(found.most or 0) + 1e-6))
    for scale in moved:
        assert not number_checks({"price": scale}, events, prepare)[0].holds


def test_numbers_beyond_limits_and_without_spread() -> None:
    one = np.ones(3)
    standard = Scale.of("standard", np.array([1.0, 3.0, 5.0]), one, None)
    deviation = math.sqrt(8 / 3)
    found = standard.normalized(np.array([3.0, 5.0, NAN, 1e9]))
    np.testing.assert_allclose(found, [0, 2 / deviation, 0, 5])
    ranks = Scale.of("quantile", np.array([1.0, 2.0, 4.0]), np.array([1, 2, 1]), (0.3, 1.0))
    assert (ranks.least, ranks.most) == (2, 4)
    np.testing.assert_allclose(
        ranks.normalized(np.array([0.0, 2.0, 3.0, 9.0, NAN])), [-0.25, -0.25, 0.5, 0.75, 0]
    )
    alike = Scale.of("log", np.array([0.1]), np.array([7.0]), (0.01, 0.99))
    np.testing.assert_allclose(alike.normalized(np.array([0.1, 5.0])), [0, 0], atol=1e-12)
    assert Scale.read(dataclasses.asdict(ranks)) == ranks


def test_what_there_is_not_is_named(spark: SparkSession) -> None:
    asked = Prepare(event_numbers={"price": "log"})
    with pytest.raises(ConfigError, match=r"events\.columns\.price: expected a column, for"):
        rules(Config(prepare=asked))
    with pytest.raises(ConfigError, match=r"event_numbers: expected only price and quantity"):
        Prepare(event_numbers={"value": "log"})
    with pytest.raises(ConfigError, match=r"event_number_clip: expected two rising shares"):
        Prepare(event_number_clip=(0.9, 0.1))
    section = Events(path=("log",), columns=EventColumns(price="paid"))
    events = spark.createDataFrame(LATER, SCHEMA)
    with pytest.raises(DataError, match=r"log: column 'paid': expected numbers of events in train"):
        fitted(events, Config(events=section, prepare=asked))
