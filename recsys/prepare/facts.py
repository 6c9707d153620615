"""What the written rows of a split say of themselves: the certificate and the counts rest on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pandas.util import hash_array
from pyspark.sql import DataFrame

from recsys import tables
from recsys.arrays import arrow_schema, pad
from recsys.errors import DataError
from recsys.prepare.bundles import as_bytes, unpacked
from recsys.prepare.cutting import Bools, Ints
from recsys.schemas import BOUGHT, NO_LABEL, PADDING, SPLITS, UNKNOWN, ddl

# Of the rows of weight 1 of a file.
SUMS = (
    "case_steps",  # steps with a target
    "targets",
    "unknown_targets",
    "labels",  # targets of which it is known whether their item is bought
    "bought",  # those of which it is
    "tied_steps",  # steps with a target that hold several events
    "falling_times",  # events earlier than the one before, or of a step out of order
    "uneven_times",  # events at another time than the one before, and of the same step
    "targets_without_input",  # in the row's first step, or between padding
    "targets_in_input",  # whose item, if known, an earlier step of the same second has
)
LEAST = (
    "first_target_time",  # seconds
    "session_time",  # seconds: start of the first target's session, or of the row
)
MOST = (
    "most_steps",
    "most_step_events",
    "most_case_targets",
    "last_time",  # seconds, of inputs and targets
)

# One row a file: how many rows of weight 1 it has, what they say together, and SPANS of each.
FACTS: dict[str, str] = {
    "split": "string",
    "file": "string",  # its name
    "rows": "bigint",
    **dict.fromkeys((*SUMS, *LEAST, *MOST), "bigint"),
    "hash": "decimal(30,0)",  # the sum of the rows' hashes
    "spans": "binary",
}

# One row a row of weight 1. Step numbers are those of the user's whole history.
SPANS: dict[str, str] = {
    "user_id": "string",
    "split": "int",  # index in SPLITS
    "first_step": "bigint",  # first target step
    "last_step": "bigint",  # last target step
    "end_step": "bigint",  # last step of all
    "case_steps": "bigint",
    "first_target_time": "bigint",
    "last_time": "bigint",
    "targets_in_input": "bigint",
}

_READ = ("item", "step", "timestamp", "target", "purchase", "session_start")
NEVER = 2**62  # a time, or a step, of none


def facts(written: DataFrame) -> DataFrame:
    """FACTS of written sequences.

    Files are read whole, with Arrow: Spark would hand on their arrays number by number.

    Args:
        written: path, content and split of files of SEQUENCES, with_inputs(), a batch each
    """

    def of_files(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for file in batch.to_pylist():
                table = tables.of_file(file["path"], file["content"])
                if pc.min(table["weight"]).as_py() == 0:  # few files have fillers
                    table = table.filter(pc.greater(table["weight"], 0))
                yield _facts_of(table.combine_chunks(), file["split"], file["path"])

    return written.mapInArrow(of_files, ddl(FACTS))


def spans(on_disk: DataFrame, *columns: str) -> DataFrame:
    """Columns of SPANS, of all rows of files with FACTS."""
    return unpacked(on_disk.select("spans"), {name: SPANS[name] for name in columns})


def _matrices(rows: pa.Table, url: str) -> dict[str, Ints]:
    """The arrays of the rows of a file [B, L], L being the same for all.

    Raises:
        DataError: it is not
    """
    lists = {name: rows[name].combine_chunks() for name in rows.column_names
             if pa.types.is_list(rows.schema.field(name).type)}  # fmt: skip
    widths = {int(width) for own in lists.values() for width in np.unique(np.diff(own.offsets))}
    if len(widths) > 1:
        raise DataError(
            f"{url}: expected arrays of one length, found {min(widths)} and {max(widths)} entries"
        )
    width = widths.pop() if widths else 1
    return {name: np.asarray(own.flatten()).reshape(-1, width) for name, own in lists.items()}


def _facts_of(rows: pa.Table, split: str, url: str) -> pa.RecordBatch:
    values = _matrices(rows, url)
    found = _of_rows(rows, values)
    of_file: dict[str, object] = {"split": split, "file": url.rsplit("/", 1)[-1], "rows": len(rows)}
    of_file |= {name: int(found[name].sum()) for name in SUMS}
    of_file |= {name: int(found[name].min(initial=NEVER)) for name in LEAST}
    of_file |= {name: int(found[name].max(initial=0)) for name in MOST}
    of_file["hash"] = Decimal(sum(_hash(rows, split, values).tolist()))
    found["split"] = np.full(len(rows), SPLITS.index(split), np.int32)
    of_rows = {name: pa.array(found[name]) for name in SPANS if name != "user_id"}
    of_file["spans"] = as_bytes(pa.table({"user_id": rows["user_id"].combine_chunks(), **of_rows}))
    return pa.RecordBatch.from_pylist([of_file], schema=arrow_schema(FACTS))


def _of_rows(rows: pa.Table, values: Mapping[str, Ints]) -> dict[str, Ints]:
    """SUMS, LEAST, MOST and the numbers of SPANS of each row [B]."""
    length = next(iter(values.values())).shape[1]
    item, step, time, target, label, opens = (values[name] for name in _READ)
    here, wanted = item != PADDING, target == 1
    first_of_step = here & (np.diff(step, axis=1, prepend=-1) == 1)
    rise, both = np.diff(step, axis=1), here[:, 1:] & here[:, :-1]
    passed = np.diff(time, axis=1)
    falling = both & ((passed < 0) | (rise < 0) | (rise > 1))
    # Entry s of a row counts what its step s holds; padding counts in a last, unused one.
    place = np.where(here, step, length) + np.arange(len(rows))[:, None] * (length + 1)
    events = _per_step(place, here, length)
    targets = _per_step(place, wanted, length)
    cases = targets > 0
    first_case = cases.argmax(axis=1)
    last_case = length - 1 - cases[:, ::-1].argmax(axis=1)
    number = _first_target_step(rows["sequence_id"])
    found = {
        "first_step": number,
        "last_step": number + last_case - first_case,
        "end_step": number + step.max(axis=1, initial=-1) - first_case,
        "case_steps": cases.sum(axis=1),
        "targets": wanted.sum(axis=1),
        "unknown_targets": (wanted & (item == UNKNOWN)).sum(axis=1),
        "labels": (label != NO_LABEL).sum(axis=1),
        "bought": (label == BOUGHT).sum(axis=1),
        "most_steps": first_of_step.sum(axis=1),
        "most_step_events": events.max(axis=1),
        "most_case_targets": targets.max(axis=1),
        "tied_steps": (cases & (events > 1)).sum(axis=1),
        "first_target_time": np.where(wanted, time, NEVER).min(axis=1),
        "session_time": _session_time(time, opens, wanted),
        "last_time": time.max(axis=1),
        "falling_times": falling.sum(axis=1),
        "uneven_times": (both & (rise == 0) & (passed != 0)).sum(axis=1),
        "targets_without_input": (wanted & (~here | (step < 1))).sum(axis=1),
        "targets_in_input": _in_input(item, step, time, wanted),
    }
    return {name: column.astype(np.int64) for name, column in found.items()}


def _in_input(item: Ints, step: Ints, time: Ints, wanted: Bools) -> Ints:
    """How many targets of each row have their own item at their own second in an earlier step."""
    found = np.zeros(len(item), dtype=np.int64)
    several = (np.diff(time, axis=1) == 0) & (np.diff(step, axis=1) > 0)
    for row in np.flatnonzero(several.any(axis=1)):
        asked = np.flatnonzero(wanted[row] & (item[row] != UNKNOWN))[:, None]
        is_same = (item[row] == item[row, asked]) & (time[row] == time[row, asked])
        found[row] = (is_same & (step[row] >= 0) & (step[row] < step[row, asked])).any(axis=1).sum()
    return found


def _session_time(time: Ints, opens: Ints, wanted: Bools) -> Ints:
    """When the session of each row's first target started; the row, where it started before."""
    place = np.zeros(len(time), dtype=np.int64)
    if (opens[:, 1:] > 0).any():
        columns, first = np.arange(time.shape[1]), wanted.argmax(axis=1)
        upto = (opens > 0) & (columns <= first[:, None])
        place = np.where(upto, columns, 0).max(axis=1)
    return np.asarray(time[np.arange(len(time)), place], dtype=np.int64)


def _first_target_step(sequence_id: pa.ChunkedArray) -> Ints:
    parts = pc.split_pattern(sequence_id, "#", max_splits=1, reverse=True)
    return np.asarray(pc.list_element(parts, 1).cast(pa.int64()))


def _hash(rows: pa.Table, split: str, values: Mapping[str, Ints]) -> Ints:
    """Of each row, whatever the file that it is in and however far it is filled up there: a sum of
    its numbers, each with a factor of its own (Carter and Wegman, 1979), mixed with the hashes of
    its texts.
    """
    total = hash_array(np.array([split], dtype=object), categorize=False).repeat(len(rows))
    for name in ("user_id", "sequence_id"):
        texts = hash_array(rows[name].to_numpy(), categorize=False)
        total = hash_array(total ^ texts)
    places = next(iter(values.values())).shape[1]
    factors = hash_array(np.arange(places * len(values), dtype=np.uint64)) | np.uint64(1)
    # What only fills up counts 0.
    numbers = np.concatenate(
        [
            values[name].view(np.int32) if values[name].dtype == np.float32
            else values[name] - pad(name)
            for name in sorted(values)
        ],
        axis=1, dtype=np.int64,
    )  # fmt: skip
    total += numbers.view(np.uint64) @ factors.reshape(places, -1).T.ravel()
    return np.asarray(hash_array(total).view(np.int64))


def _per_step(place: Ints, counted: Bools, length: int) -> Ints:
    rows = len(place)
    counts = np.bincount(place[counted], minlength=rows * (length + 1))
    return np.asarray(counts.reshape(rows, length + 1)[:, :length], dtype=np.int64)
