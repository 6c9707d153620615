"""Prices and quantities of events as input: clipped and normalized by those of train alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys.arrays import with_columns
from recsys.config import Config
from recsys.errors import DataError
from recsys.manifest import Step
from recsys.prepare.events import number_columns
from recsys.prepare.split import PART, TRAIN
from recsys.prepare.walk import Walk, frame_of
from recsys.scale import Scale
from recsys.schemas import EVENTS


@dataclass(frozen=True)
class Fitted:
    """How a number is normalized, and what that does.

    Args:
        scale: as train says
        below: events that are clipped from below
        above: events that are clipped from above
        missing: events without the number
    """

    scale: Scale
    below: int
    above: int
    missing: int

    def step(self, name: str, rows: int) -> Step:
        """Of the manifest.

        Args:
            name: of the number
            rows: clean events
        """
        decision = f"normalized by train ({self.scale})"
        if self.scale.least is not None:
            decision += f": {self.below} events from below and {self.above} from above"
        return Step(f"{name} of events", rows, rows, f"{decision}; {self.missing} have none")


def fitted(events: DataFrame | Walk, config: Config) -> dict[str, Fitted]:
    """How the numbers that the configuration asks for are normalized.

    Args:
        events: with PART and the numbers
        config: says which, and how

    Raises:
        DataError: train has no such number at all
    """
    return {name: _fit(name, _counts(events, name), config) for name in number_columns(config)}


def _counts(events: DataFrame | Walk, name: str) -> pa.Table:
    """Each value, how often train has it, and how often all events do."""
    own = frame_of(events, {name: EVENTS[name], PART: "int"})
    by_value = own.groupBy(F.col(name).alias("value")).agg(
        F.count_if(F.col(PART) == TRAIN).alias("train"), F.count(F.lit(1)).alias("all")
    )
    return by_value.toArrow()


def _fit(name: str, counts: pa.Table, config: Config) -> Fitted:
    counts = counts.sort_by("value")  # the missing one comes last
    missing = sum(counts.filter(pc.is_null(counts["value"]))["all"].to_pylist())
    values, of_train, total = (
        column.to_numpy() for column in counts.filter(pc.is_valid(counts["value"])).columns
    )
    is_of_train = of_train > 0
    if not is_of_train.any():
        column = getattr(config.events.columns, name)
        raise DataError(
            f"{', '.join(config.events.path)}: column {column!r}: expected numbers of events in "
            "train (prepare.event_numbers), found none"
        )
    scale = Scale.of(
        config.prepare.event_numbers[name], values[is_of_train], of_train[is_of_train],
        config.prepare.event_number_clip,
    )  # fmt: skip
    clipped = scale.clipped(values)
    below, above = (int(total[is_far].sum()) for is_far in (clipped > values, clipped < values))
    return Fitted(scale, below, above, missing)


def normalized(batch: pa.RecordBatch, scales: Mapping[str, Scale]) -> pa.RecordBatch:
    """The batch with its numbers clipped and normalized."""
    columns = {}
    for name, scale in scales.items():
        values = batch.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False)
        columns[name] = pa.array(scale.normalized(values))
    return with_columns(batch, columns) if scales else batch
