"""Some cases to look at: what came before, what came next, the model's list, and its reasons.

Reasons are the past events without which the item's score would be lowest: recsys.reasons.

Shapes: B rows, L events, N cases, K length of a list, W width of a vector.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from recsys import encoding, saved_model
from recsys.arrays import pad
from recsys.encoding import Rows
from recsys.evaluate import ranked
from recsys.evaluate.cases import Batch
from recsys.evaluate.ranked import Lists, Model
from recsys.reasons import reasons

# Shown of each: the latest events, and the first recommendations.
_EVENTS = 12
_ITEMS = 10
# Named of each recommendation.
_REASONS = 3
_EXAMPLE = (
    "user_id string, timestamp bigint, history array<int>, history_types array<int>, "
    "history_times array<bigint>, events int, targets array<int>, recommended array<int>, "
    "reasons array<array<int>>"
)


def examples(rows: DataFrame, model: Model, lists: Lists) -> list[dict[str, Any]]:
    """The last case of each of some rows.

    Args:
        rows: a few test rows as from histories.with_earlier
        model: whose lists
        lists: how lists are made

    Returns:
        a dictionary an example: indexes of items, in order, and of event types
    """
    arrays = ranked.arrays(rows.columns)
    inputs = rows.orderBy("sequence_id").select("user_id", "first_step", *arrays, "earlier")

    def work(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        saved_model.limit_threads(lists.threads)
        for batch in batches:
            for place in range(batch.num_rows):
                whole = ranked.read_batch(batch.slice(place, 1))
                *_, last = whole.parts(1)
                yield pa.RecordBatch.from_pylist([_example(last, model, lists)], _schema())

    return [row.asDict() for row in inputs.coalesce(1).mapInArrow(work, _EXAMPLE).collect()]


@functools.cache
def _schema() -> pa.Schema:
    kinds = {"string": pa.string(), "int": pa.int32(), "bigint": pa.int64()}
    for _ in range(2):
        kinds |= {f"array<{name}>": pa.list_(kind) for name, kind in kinds.items()}
    columns = (column.split() for column in _EXAMPLE.split(", "))
    return pa.schema([(name, kinds[kind]) for name, kind in columns])


def _example(case: Batch, model: Model, lists: Lists) -> dict[str, Any]:
    """Of a batch of a single case."""
    best = ranked.rank(model.scores(case), case, lists, lists.length)
    item_1K = best.item[:, :_ITEMS]
    ranker = saved_model.load(model.export)
    vectors_1KW = np.asarray(ranker.items())[item_1K]
    history = before(case, ranker.inputs)
    encode = functools.partial(encoding.encode, ranker)
    reason_1KM = reasons(history, item_1K, vectors_1KW, encode, _REASONS)
    is_event = case.arrays["step"][0] < case.step[0]
    is_event &= case.arrays["step"][0] >= 0
    latest = np.nonzero(is_event)[0][-_EVENTS:]
    return {
        "user_id": case.user_id[0],
        "timestamp": int(case.timestamp()[0]),
        "history": case.arrays["item"][0][latest].tolist(),
        "history_types": case.arrays["event_type"][0][latest].tolist(),
        "history_times": case.arrays["timestamp"][0][latest].tolist(),
        "events": int(case.history_events[0]),
        "targets": case.target_item.tolist(),
        "recommended": item_1K[0].tolist(),
        "reasons": reason_1KM[0].tolist(),
    }


def before(case: Batch, inputs: Iterable[str]) -> Rows:
    """What the row holds before the step of its only case, as the model reads a history [1, L]."""
    is_before = case.arrays["step"] < case.step[0]
    return {name: np.where(is_before, case.arrays[name], pad(name)) for name in inputs}
