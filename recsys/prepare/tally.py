"""How often events of each kind were met in each split: counted in one pass, for all that asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys.arrays import arrow_schema
from recsys.prepare.split import PART
from recsys.prepare.totals import Totals
from recsys.prepare.walk import Walk, passed
from recsys.schemas import EVENTS

# Of a kind of events in a split: how many there are, and the last instant.
EVENTS_MET, LAST_MET = "events_met", "last_met"
_NUMBERS = {EVENTS_MET: "sum", LAST_MET: "max"}


def tally(events: DataFrame | Walk, *columns: str) -> DataFrame:
    """A row for each of the values that the columns have together, and each PART.

        item_id  part  events_met  last_met
        oil      0     5           1700006502000000
        oil      2     1           1700092902000000

    Args:
        events: EVENTS with PART
        columns: what tells kinds apart
    """
    schema = tally_schema(*columns)

    def count(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        totals = Totals(arrow_schema(schema), _NUMBERS)
        for batch in batches:
            found = {name: batch.column(name) for name in (*columns, PART)}
            found[EVENTS_MET] = pa.array(np.ones(len(batch), np.int64))
            found[LAST_MET] = batch.column("timestamp")
            yield from totals.feed(pa.table(found)).to_batches()
        yield from totals.finish().to_batches()

    if isinstance(events, DataFrame):
        events = events.select(*columns, PART, "timestamp")
    return passed(events, count, schema).groupBy(*columns, PART).agg(
        F.sum(EVENTS_MET).alias(EVENTS_MET), F.max(LAST_MET).alias(LAST_MET)
    )  # fmt: skip


def tally_schema(*columns: str) -> dict[str, str]:
    """Of tally()."""
    kinds = {name: EVENTS[name] for name in columns}
    return {**kinds, PART: "int", EVENTS_MET: "bigint", LAST_MET: "bigint"}


def met(condition: Column) -> Column:
    """How many events of a tally are such."""
    return F.sum(F.when(condition, F.col(EVENTS_MET)).otherwise(0))
