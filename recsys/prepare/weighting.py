"""What a target weighs in training by its value, a rating or an amount.

value    6   3  null  90      (mean of train 3, at most 5)
weight   2   1  1     5
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys.config import Config
from recsys.errors import DataError
from recsys.manifest import Step
from recsys.prepare.certificate import Check
from recsys.prepare.ordering import may_be_target
from recsys.prepare.split import PART, TRAIN
from recsys.schemas import VALUE_WEIGHT

# Sums of decimals depend on no order; values of 10 ** 16 and more have no room in them.
_EXACT, _DIGITS = "decimal(28,12)", 16


@dataclass(frozen=True)
class Weighting:
    """Weights in proportion to values.

    Args:
        mean: value of train's events that may be targets, of those that have one
        most: that a target weighs
    """

    mean: float
    most: float

    @property
    def column(self) -> Column:
        """VALUE_WEIGHT of every event."""
        weight = F.coalesce(F.col("value") / self.mean, F.lit(1.0))
        return F.least(weight, F.lit(self.most)).cast("float").alias(VALUE_WEIGHT)

    def step(self, rows: int) -> Step:
        """Of the manifest."""
        decision = f"value / {self.mean:g}, the mean of train's targets; at most {self.most:g}"
        return Step("weights by value", rows, rows, f"{decision}, and 1 without a value")


def mean_check(found: Weighting, events: DataFrame, config: Config) -> Check:
    """For the certificate: the mean is that of train's targets alone, counted value by value.

    Args:
        found: how sequences were weighted
        events: with PART and value
        config: says which types are targets
    """
    types = config.prepare.target_event_types
    of_types = F.col("event_type").isin(list(types)) if types else F.lit(True)
    targets = events.where(of_types & (F.col(PART) == TRAIN) & F.col("item_id").isNotNull())
    by_value = targets.where(F.col("value").isNotNull()).groupBy("value").count()
    each = by_value.select((F.col("value") * F.col("count")).alias("sum"), "count")
    row = each.agg(F.sum("sum").alias("sum"), F.sum("count").alias("count")).collect()[0]
    mean = row["sum"] / row["count"] if row["count"] else math.nan
    return Check(
        "mean value from train alone", f"{mean:.9g}", f"{found.mean:.9g}",
        math.isclose(mean, found.mean, rel_tol=1e-9, abs_tol=1e-12),
    )  # fmt: skip


def weighting(events: DataFrame, config: Config) -> Weighting | None:
    """How the configuration weighs targets; none where it does not.

    Args:
        events: with PART and value
        config: says which types are targets

    Raises:
        DataError: values that are no weights
    """
    prepare = config.prepare
    if not prepare.weight_by_value:
        return None
    value = F.col("value")
    counts = (F.col(PART) == TRAIN) & may_be_target(prepare.target_event_types)
    exact = F.when(counts, value.try_cast(_EXACT))
    row = events.agg(
        F.min(value).alias("least"), F.max(value).alias("most"),
        F.sum(exact).alias("sum"), F.count(exact).alias("values"),
    ).collect()[0]  # fmt: skip
    where = f"{', '.join(config.events.path)}: column {config.events.columns.value!r}"
    if row["least"] is not None and (row["least"] < 0 or row["most"] >= 10**_DIGITS):
        raise DataError(
            f"{where}: expected values from 0 to 1e{_DIGITS} (prepare.weight_by_value), "
            f"found {row['least']:g} to {row['most']:g}"
        )
    if not row["sum"]:
        raise DataError(
            f"{where}: expected values above 0 of targets in train (prepare.weight_by_value), "
            f"found none in {row['values']} values"
        )
    return Weighting(float(row["sum"]) / row["values"], prepare.max_value_weight)
