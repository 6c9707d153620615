"""A way through events that lie in bundles, in order, which passes in Python go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import DataFrame

from recsys.prepare import bundles
from recsys.schemas import ddl

Pass = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]


@dataclass(frozen=True)
class Walk:
    """Events out of bundles.

    Args:
        bundles: BUNDLES, a partition of which is walked through in its order
        first: what every pass over them begins with
    """

    bundles: DataFrame
    first: Pass = iter

    def then(self, what: Pass, schema: Mapping[str, str]) -> DataFrame:
        """What a pass over the events gives.

        Spark moves the values of a row one by one to Python and back, and these stay there.
        """
        first = self.first

        def walked(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            events = (batch for table in bundles.opened(batches) for batch in table.to_batches())
            return what(first(events))

        return bundles.events(self.bundles).mapInArrow(walked, ddl(dict(schema)))

    def beginning_with(self, what: Pass) -> Walk:
        """One whose passes see what this one gives behind another pass."""
        first = self.first
        return Walk(self.bundles, lambda events: what(first(events)))

    def frame(self, schema: Mapping[str, str]) -> DataFrame:
        """Columns of the events, for Spark: computed at each use.

        Args:
            schema: of those that are asked for
        """
        names = list(schema)

        def narrow(events: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            return (batch.select(names) for batch in events)

        return self.then(narrow, schema)


def frame_of(events: DataFrame | Walk, schema: Mapping[str, str]) -> DataFrame:
    """Columns of events for Spark, and others, wherever they are."""
    return events.frame(schema) if isinstance(events, Walk) else events


def passed(events: DataFrame | Walk, what: Pass, schema: Mapping[str, str]) -> DataFrame:
    """What a pass over events gives, wherever they are."""
    if isinstance(events, Walk):
        return events.then(what, schema)
    return events.mapInArrow(what, ddl(dict(schema)))
