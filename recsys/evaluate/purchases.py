"""What the purchase head says of every labelled target of test, computed where the rows are.

Shapes: P labelled targets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from recsys import saved_model
from recsys.arrays import matrix
from recsys.evaluate.ranked import Lists, arrays
from recsys.schemas import BOUGHT, NO_LABEL, PURCHASES, ddl


def predicted(rows: DataFrame, export: str, lists: Lists) -> DataFrame:
    """The probability of every labelled target.

    Args:
        rows: schemas.SEQUENCES, without fillers
        export: URL of a SavedModel with a purchase head
        lists: how many rows at once, and with how many threads

    Returns:
        schemas.PURCHASES
    """
    return rows.select("user_id", *arrays(rows.columns)).mapInArrow(
        _worker(export, lists), ddl(PURCHASES)
    )


def _worker(
    export: str, lists: Lists
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def work(record_batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        saved_model.limit_threads(lists.threads)
        for record_batch in record_batches:
            for start in range(0, record_batch.num_rows, lists.batch_rows):
                yield _of_rows(record_batch.slice(start, lists.batch_rows), export)

    return work


def _of_rows(rows: pa.RecordBatch, export: str) -> pa.RecordBatch:
    own = {name: matrix(rows.column(name), name) for name in arrays(rows.schema.names)}
    row_P, place_P = np.nonzero(own["purchase"] != NO_LABEL)
    step_P, item_P = (own[name][row_P, place_P] for name in ("step", "item"))
    probability_P = np.zeros(0, np.float32)
    if len(row_P):
        probability_P = saved_model.load(export).purchases(own, row_P, step_P, item_P).numpy()
    columns = [
        rows.column("user_id").take(pa.array(row_P)),
        pa.array(own["timestamp"][row_P, place_P]),
        pa.array(item_P),
        pa.array(own["purchase"][row_P, place_P] == BOUGHT),
        pa.array(probability_P),
    ]
    return pa.RecordBatch.from_arrays(columns, list(PURCHASES))
