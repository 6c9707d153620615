"""A way through events that lie in bundles, in order: what each pass over them does first."""

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
    """Events that stay, out of bundles.

    Args:
        bundles: BUNDLES, a partition of which is walked through in its order
        stay: gives those of one row's bytes after another
    """

    bundles: DataFrame
    stay: Pass

    def then(self, what: Pass, schema: Mapping[str, str]) -> DataFrame:
        """What a pass over the events gives.

        Spark moves the values of a row one by one to Python and back, and these stay there.
        """
        stay = self.stay

        def walked(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            return what(stay(batches))

        return bundles.events(self.bundles).mapInArrow(walked, ddl(dict(schema)))
