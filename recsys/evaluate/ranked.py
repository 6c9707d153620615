"""Every system's list for every case, computed where the rows are.

One pass over the test rows: each worker loads the model once, and all systems score the same
cases, whose scores are filtered and ranked by the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame

from recsys import ranking
from recsys.evaluate.cases import Batch, Events
from recsys.evaluate.references import Scores, System
from recsys.schemas import CASES, FIRST_ITEM, SEQUENCE_ARRAYS, ddl

_MODEL_INPUTS = ("item", "event_type", "gap_seconds", "session_start", "step", "target")


@dataclass(frozen=True)
class Model:
    """The trained model.

    Args:
        export: URL of the SavedModel
    """

    export: str
    name: str = "model"

    def scores(self, batch: Batch) -> Scores:
        """The model's scores [N, V].

        Raises:
            ValueError: the model's cases are not those of the batch
        """
        rows = {name: batch.arrays[name].astype(np.int32) for name in _MODEL_INPUTS}
        row_N, step_N, scores_NV = ranking.load(self.export).cases(rows)
        if not (np.array_equal(row_N, batch.row) and np.array_equal(step_N, batch.step)):
            raise ValueError(
                f"{self.export}: expected {len(batch)} cases, found {len(row_N)} others"
            )
        return np.asarray(scores_NV)


@dataclass(frozen=True)
class Lists:
    """How lists are made.

    Args:
        length: items of a list
        exclude_history: leave out what the row holds before the step
        batch_rows: rows that are scored at once
        threads: of TensorFlow in one worker
    """

    length: int
    exclude_history: bool
    batch_rows: int
    threads: int = 1


def ranked(rows: DataFrame, systems: Sequence[System], lists: Lists) -> DataFrame:
    """A row a case and system.

    Args:
        rows: test rows as from histories.with_earlier
        systems: what to evaluate
        lists: how lists are made

    Returns:
        schemas.CASES
    """
    inputs = rows.select("user_id", "first_step", *SEQUENCE_ARRAYS, "earlier")
    return inputs.mapInArrow(_worker(systems, lists), ddl(CASES))


def _worker(
    systems: Sequence[System], lists: Lists
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def work(record_batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        ranking.limit_threads(lists.threads)
        for record_batch in record_batches:
            for start in range(0, record_batch.num_rows, lists.batch_rows):
                batch = read_batch(record_batch.slice(start, lists.batch_rows))
                if len(batch):
                    yield from (rank(system, batch, lists) for system in systems)

    return work


def read_batch(rows: pa.RecordBatch) -> Batch:
    """A batch from the columns of `ranked`."""
    earlier = rows.column("earlier")
    lengths = earlier.value_lengths().to_numpy(zero_copy_only=False)
    item, event_type, timestamp = (_numpy(part) for part in earlier.flatten().flatten())
    return Batch(
        user_id=rows.column("user_id").to_numpy(zero_copy_only=False),
        first_step=_numpy(rows.column("first_step")),
        arrays={
            name: _numpy(rows.column(name).flatten()).reshape(rows.num_rows, -1)
            for name in SEQUENCE_ARRAYS
        },
        earlier=Events(np.repeat(np.arange(rows.num_rows), lengths), item, event_type, timestamp),
    )


def _numpy(array: pa.Array) -> npt.NDArray[Any]:
    return np.asarray(array.to_numpy(zero_copy_only=False))


def rank(system: System, batch: Batch, lists: Lists) -> pa.RecordBatch:
    """The system's list for each case of the batch, and the ranks of its targets."""
    scores_NV = ranking.without_reserved(system.scores(batch))
    if lists.exclude_history:
        scores_NV = ranking.without_history(scores_NV, batch.window_items())
    scores_NV = np.asarray(scores_NV)
    top_NK, item_NK = (np.asarray(part) for part in ranking.top_k(scores_NV, lists.length + 1))
    case_P, target_P = batch.target_case, batch.target_item
    rank_P = np.asarray(ranking.target_ranks(top_NK, scores_NV[case_P, target_P], case_P))
    is_known_P = target_P >= FIRST_ITEM
    is_item_NK = top_NK > np.finfo(np.float32).min  # what is left out has the lowest score
    case_M, place_M = np.nonzero(is_item_NK[:, : lists.length])
    columns = {
        "user_id": pa.array(batch.user_id[batch.row], pa.string()),
        "step": pa.array(batch.first_step[batch.row] + batch.step, pa.int64()),
        "timestamp": pa.array(batch.timestamp(), pa.int64()),
        "system": pa.array([system.name] * len(batch)),
        "history_events": pa.array(batch.history_events, pa.int64()),
        "targets": _lists(case_P, target_P, len(batch)),
        "ranks": _lists(case_P, np.where(is_known_P, rank_P, 0), len(batch)),
        "recommended": _lists(case_M, item_NK[case_M, place_M], len(batch)),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in CASES], names=list(CASES))


def _lists(case: npt.NDArray[Any], values: npt.NDArray[Any], cases: int) -> pa.ListArray:
    """One list a case of the values that are its own, in their order."""
    order = np.argsort(case, kind="stable")
    offsets = np.searchsorted(case[order], np.arange(cases + 1))
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()), pa.array(values[order], pa.int32())
    )
