"""What a target weighs by its value: the mean is that of train's targets, and of nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from pyspark.sql import SparkSession

from recsys.config import Config, EventColumns, Events, Prepare
from recsys.errors import DataError
from recsys.prepare.certificate import certificate
from recsys.prepare.weighting import Weighting, mean_check, weighting
from recsys.schemas import VALUE_WEIGHT

SCHEMA = "item_id string, event_type string, value double, part int"
CONFIG = Config(
    events=Events(path=("log",), columns=EventColumns(value="stars")),
    prepare=Prepare(weight_by_value=True, max_value_weight=4, target_event_types=("buy",)),
)
TRAIN = [("tea", "buy", 6.0, 0), ("jam", "buy", 0.0, 0), ("jam", "buy", 3.0, 0),
         ("oil", "buy", None, 0)]  # fmt: skip
OTHERS = [("oil", "view", 70.0, 0), ("tea", "buy", 90.0, 1), ("jam", "buy", 1.5, 2),
          (None, "buy", 5.0, 0)]  # fmt: skip


def test_targets_weigh_as_their_values(spark: SparkSession) -> None:
    events = spark.createDataFrame(TRAIN + OTHERS, SCHEMA)
    found = weighting(events, CONFIG)
    assert found is not None
    assert found.mean == 3
    weights = [row[VALUE_WEIGHT] for row in events.select(found.column).collect()]
    assert weights == [2, 0, 1, 1, 4, 4, 0.5, pytest.approx(5 / 3)]
    assert weighting(events, Config()) is None
    assert mean_check(found, events, CONFIG).holds
    leaked = Weighting(mean=(6 + 0 + 3 + 90) / 4, most=4)  # as if validation had been train
    with pytest.raises(DataError, match=r"mean value from train alone: expected 3, found 24\.75"):
        certificate([mean_check(leaked, events, CONFIG)])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("tea", "buy", -1.0, 2), "from 0 to 1e16 .*, found -1 to 90"),
        (("tea", "buy", 1e16, 0), r"from 0 to 1e16 .*, found 0 to 1e\+16"),
        (None, r"above 0 of targets in train .*, found none in 0 values"),
    ],
)
def test_values_that_are_no_weights_are_named(spark: SparkSession, row: Any, message: str) -> None:
    rows = OTHERS if row is None else [*TRAIN, *OTHERS, row]
    with pytest.raises(DataError, match=f"log: column 'stars': expected values {message}"):
        weighting(spark.createDataFrame(rows, SCHEMA), CONFIG)
