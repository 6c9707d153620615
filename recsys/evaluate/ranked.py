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
from pyspark import Broadcast
from pyspark.sql import DataFrame

from recsys import ranking, saved_model
from recsys.arrays import matrix
from recsys.evaluate.cases import Batch, Events, Ints
from recsys.evaluate.references.hybrid import Hybrid
from recsys.evaluate.references.system import Scores, System
from recsys.schemas import CASES, FIRST_ITEM, PADDING, ddl

_SCALARS = ("sequence_id", "user_id", "weight", "first_step", "earlier")
_EARLIER = ("item", "event_type", "timestamp", "number", "session_start")
# Of cases and items: 128 MiB of doubles, of which a few copies are in memory at a time.
_SCORES_AT_ONCE = 1 << 24


@dataclass(frozen=True)
class Model:
    """The trained model.

    Args:
        export: URL of the SavedModel
        known_size: indexes from here on it cannot know: they are in no list, as when it scores
    """

    export: str
    known_size: int | None = None
    name: str = "model"

    def scores(self, batch: Batch) -> Any:
        """The model's scores [N, V], a tensor or an array; the lowest for what it cannot know.

        Raises:
            ValueError: the model's cases are not those of the batch
        """
        row_N, step_N, scores_NV = saved_model.load(self.export).cases(batch.arrays)
        if not (np.array_equal(row_N, batch.row) and np.array_equal(step_N, batch.step)):
            raise ValueError(
                f"{self.export}: expected {len(batch)} cases, found {len(row_N)} others"
            )
        if self.known_size is not None and self.known_size < scores_NV.shape[1]:
            scores_NV = np.array(scores_NV)
            scores_NV[:, self.known_size :] = np.finfo(scores_NV.dtype).min
        return scores_NV


@dataclass(frozen=True)
class Lists:
    """How lists are made.

    Args:
        length: items of a list
        exclude_history: leave out what the row holds before the step: the history's latest events,
            for references that know of earlier ones too
        batch_rows: rows that are scored at once, at most
        vocabulary_size: of the scores of a case
        threads: of TensorFlow in one worker
        exclude_earlier: where exclude_history holds, leave out what came before the row, too
    """

    length: int
    exclude_history: bool
    batch_rows: int
    vocabulary_size: int
    threads: int = 1
    exclude_earlier: bool = False


def ranked(rows: DataFrame, systems: Sequence[System | Hybrid], lists: Lists) -> DataFrame:
    """A row a case and system.

    Args:
        rows: test rows as from histories.with_earlier
        systems: what to evaluate; a hybrid after those that it blends
        lists: how lists are made

    Returns:
        schemas.CASES
    """
    inputs = rows.select("user_id", "first_step", *arrays(rows.columns), "earlier")
    # What they have learnt goes to each machine once, and not with every task.
    sent = rows.sparkSession.sparkContext.broadcast(tuple(systems))
    return inputs.mapInArrow(_worker(sent, lists), ddl(CASES))


def _worker(
    systems: Broadcast[tuple[System | Hybrid, ...]], lists: Lists
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def work(record_batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        saved_model.limit_threads(lists.threads)
        most_cases = max(1, _SCORES_AT_ONCE // lists.vocabulary_size)
        for record_batch in record_batches:
            for start in range(0, record_batch.num_rows, lists.batch_rows):
                whole = read_batch(record_batch.slice(start, lists.batch_rows))
                for batch in whole.parts(most_cases) if len(whole) else ():
                    yield from rank_all(systems.value, batch, lists)

    return work


def rank_all(
    systems: Sequence[System | Hybrid], batch: Batch, lists: Lists
) -> Iterator[pa.RecordBatch]:
    """Every system's lists for the cases of a batch (CASES)."""
    blends = [system for system in systems if isinstance(system, Hybrid)]
    blended = {name: blend.length for blend in blends for name in blend.weights}
    former: dict[str, Ints] = {}
    for system in systems:
        by_hybrid = isinstance(system, Hybrid)
        scores_NV = system.blended(former) if by_hybrid else system.scores(batch)  # type: ignore[union-attr]
        best = rank(scores_NV, batch, lists, max(lists.length, blended.get(system.name, 0)))
        if system.name in blended:
            former[system.name] = best.item[:, : blended[system.name]]
        yield _rows(system.name, best, batch, lists.length)


def arrays(columns: Sequence[str]) -> list[str]:
    """The arrays of a sequence among the columns of `ranked`."""
    return [name for name in columns if name not in _SCALARS]


def read_batch(rows: pa.RecordBatch) -> Batch:
    """A batch from the columns of `ranked`."""
    earlier = rows.column("earlier")
    lengths = earlier.value_lengths().to_numpy(zero_copy_only=False)
    event = earlier.flatten()
    columns = {name: _numpy(event.field(name)) for name in _EARLIER}
    return Batch(
        user_id=rows.column("user_id").to_numpy(zero_copy_only=False),
        first_step=_numpy(rows.column("first_step")),
        arrays={name: matrix(rows.column(name), name) for name in arrays(rows.schema.names)},
        earlier=Events(row=np.repeat(np.arange(rows.num_rows), lengths), **columns),
    )


def _numpy(array: pa.Array) -> npt.NDArray[Any]:
    return np.asarray(array.to_numpy(zero_copy_only=False))


@dataclass(frozen=True)
class Best:
    """Lists of N cases, and the ranks of their P targets.

    Args:
        item: best first, then PADDING [N, K]
        rank: of each target, from 1; 0 where it is not in the list or unknown [P]
    """

    item: Ints
    rank: Ints


def rank(scores_NV: Scores, batch: Batch, lists: Lists, length: int) -> Best:
    """The list of each case of the batch, and the ranks of its targets."""
    case_P, target_P = batch.target_case.astype(np.int32), batch.target_item
    left_out: tuple[Ints, ...] = ()
    if lists.exclude_history:
        left_out = (batch.whole_items if lists.exclude_earlier else batch.window_items(),)
    # Few lengths, for each of which a graph is made.
    most_targets = 1 << int(np.bincount(case_P).max() - 1).bit_length()
    make = ranking.compiled_listing(
        scores_NV.shape[1], scores_NV.dtype, length + most_targets, bool(left_out)
    )
    made = make(scores_NV, case_P, target_P, *left_out)
    top_NK, item_NK, rank_P = (np.asarray(part) for part in made)
    is_listed_P = (target_P >= FIRST_ITEM) & (rank_P <= length)
    # What is left out has the lowest score.
    is_item_NK = top_NK > np.finfo(top_NK.dtype).min
    item_NK = np.where(is_item_NK, item_NK, PADDING)[:, :length]
    return Best(item_NK, np.where(is_listed_P, rank_P, 0))


def _rows(system: str, best: Best, batch: Batch, length: int) -> pa.RecordBatch:
    case_P = batch.target_case
    case_M, place_M = np.nonzero(best.item[:, :length])
    item_M = best.item[case_M, place_M]
    columns = {
        "user_id": pa.array(batch.user_id[batch.row], pa.string()),
        "step": pa.array(batch.number(), pa.int64()),
        "timestamp": pa.array(batch.timestamp(), pa.int64()),
        "system": pa.array([system] * len(batch)),
        "history_events": pa.array(batch.history_events, pa.int64()),
        "history_start": pa.array(batch.history_start(), pa.int64()),
        "targets": _lists(case_P, batch.target_item, len(batch)),
        "target_types": _lists(case_P, batch.target_values("event_type"), len(batch)),
        "target_platforms": _lists(case_P, batch.target_values("platform"), len(batch)),
        "ranks": _lists(case_P, np.where(best.rank <= length, best.rank, 0), len(batch)),
        "recommended": _lists(case_M, item_M, len(batch)),
        "is_new": _lists(case_M, batch.is_new(case_M, item_M), len(batch), pa.bool_()),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in CASES], names=list(CASES))


def _lists(
    case: npt.NDArray[Any],
    values: npt.NDArray[Any],
    cases: int,
    kind: pa.DataType = pa.int32(),  # noqa: B008  # a constant
) -> pa.ListArray:
    """One list a case of the values that are its own, in their order."""
    order = np.argsort(case, kind="stable")
    offsets = np.searchsorted(case[order], np.arange(cases + 1))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values[order], kind))
