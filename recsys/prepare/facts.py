"""What each written row of a split says of itself: the certificate and the counts rest on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys.prepare.cutting import Bools, Ints
from recsys.schemas import BOUGHT, NO_LABEL, PADDING, UNKNOWN, ddl

# One row a row of weight 1. Step numbers are those of the user's whole history.
FACTS: dict[str, str] = {
    "split": "string",
    "file": "string",  # name of the file that the row is in
    "user_id": "string",
    "first_step": "bigint",  # first target step
    "last_step": "bigint",  # last target step
    "end_step": "bigint",  # last step of all
    "case_steps": "bigint",  # steps with a target
    "targets": "bigint",
    "unknown_targets": "bigint",
    "labels": "bigint",  # targets of which it is known whether their item is bought
    "bought": "bigint",  # those of which it is
    "most_steps": "bigint",
    "most_step_events": "bigint",
    "most_case_targets": "bigint",
    "tied_steps": "bigint",  # steps with a target that hold several events
    "first_target_time": "bigint",  # seconds
    "last_time": "bigint",  # seconds, of inputs and targets
    "falling_times": "bigint",  # events earlier than the one before, or of a step out of order
    "targets_without_input": "bigint",  # in the row's first step, or between padding
    "hash": "bigint",
}

_READ = ("item", "step", "timestamp", "target", "purchase")


def facts(sequences: DataFrame, length: int) -> DataFrame:
    """FACTS of written sequences.

    Args:
        sequences: SEQUENCES, with_inputs(), and the split
        length: of the arrays
    """
    hashed = sequences.where(F.col("weight") > 0).select(
        "split",
        F.element_at(F.split(F.input_file_name(), "/"), -1).alias("file"),
        "user_id", "sequence_id", *_READ,
        F.xxhash64("split", *[name for name in sequences.columns if name != "split"]).alias("hash"),
    )  # fmt: skip

    def of_rows(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield _facts_of(batch, length)

    return hashed.mapInArrow(of_rows, ddl(FACTS))


def _matrix(batch: pa.RecordBatch, name: str, length: int) -> Ints:
    return np.asarray(batch.column(name).flatten()).reshape(len(batch), length)


def _facts_of(batch: pa.RecordBatch, length: int) -> pa.RecordBatch:
    item, step, time, target, label = (_matrix(batch, name, length) for name in _READ)
    here, wanted = item != PADDING, target == 1
    first_of_step = here & (np.diff(step, axis=1, prepend=-1) == 1)
    rise, both = np.diff(step, axis=1), here[:, 1:] & here[:, :-1]
    falling = both & ((np.diff(time, axis=1) < 0) | (rise < 0) | (rise > 1))
    # Entry s of a row counts what its step s holds; padding counts in a last, unused one.
    place = np.where(here, step, length) + np.arange(len(batch))[:, None] * (length + 1)
    events = _per_step(place, here, length)
    targets = _per_step(place, wanted, length)
    cases = targets > 0
    first_case = cases.argmax(axis=1)
    last_case = length - 1 - cases[:, ::-1].argmax(axis=1)
    number = np.array(
        [int(text.rsplit("#", 1)[1]) for text in batch.column("sequence_id").to_pylist()]
    )
    columns = {
        "first_step": number,
        "last_step": number + last_case - first_case,
        "end_step": number + step.max(axis=1) - first_case,
        "case_steps": cases.sum(axis=1),
        "targets": wanted.sum(axis=1),
        "unknown_targets": (wanted & (item == UNKNOWN)).sum(axis=1),
        "labels": (label != NO_LABEL).sum(axis=1),
        "bought": (label == BOUGHT).sum(axis=1),
        "most_steps": first_of_step.sum(axis=1),
        "most_step_events": events.max(axis=1),
        "most_case_targets": targets.max(axis=1),
        "tied_steps": (cases & (events > 1)).sum(axis=1),
        "first_target_time": np.where(wanted, time, 2**62).min(axis=1),
        "last_time": time.max(axis=1),
        "falling_times": falling.sum(axis=1),
        "targets_without_input": (wanted & (~here | (step < 1))).sum(axis=1),
    }
    arrays = [batch.column(name) for name in ("split", "file", "user_id")]
    arrays += [pa.array(columns[name].astype(np.int64)) for name in columns]
    return pa.RecordBatch.from_arrays([*arrays, batch.column("hash")], names=list(FACTS))


def _per_step(place: Ints, counted: Bools, length: int) -> Ints:
    rows = len(place)
    counts = np.bincount(place[counted], minlength=rows * (length + 1))
    return np.asarray(counts.reshape(rows, length + 1)[:, :length], dtype=np.int64)
