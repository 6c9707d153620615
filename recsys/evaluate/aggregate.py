"""From cases to figures, on Spark: sums over parts of the table, then the sums of these.

Shapes: N cases, U users, R resamples, M columns (a metric at a list length).
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys import saved_model
from recsys.evaluate import bootstrap, metrics, slices
from recsys.evaluate.lists import Catalogue, Lists, read_lists
from recsys.evaluate.slices import Slicing
from recsys.schemas import ddl

Floats = npt.NDArray[np.float64]
Work = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]

# Sums over some of the cases of a system and slice, for the sample and each resample; the metric
# CASES counts. A column is a metric at a list length.
_SUMS = {
    "system": "string", "slice": "string", "value": "string", "metric": "string", "k": "int",
    "totals": "array<double>",
}  # fmt: skip
_SUMS_ARROW = pa.schema(
    [
        *((name, pa.string()) for name in ("system", "slice", "value", "metric")),
        ("k", pa.int32()),
        ("totals", pa.list_(pa.float64())),
    ]
)
_COUNTED = ("cases", 0)
_ALL = ("all", "")
# Cases whose metrics are computed at once, and parts whose sums are summed at once.
_CASES_AT_ONCE = 2048
_PARTS = 64


@dataclass(frozen=True)
class Measuring:
    """What is measured, and how.

    Args:
        catalogue: what metrics know of the items
        columns: metric and list length [M], of all cases
        slice_columns: metric and list length, of the slices
        slicing: how cases are sliced; none has no slices
        resamples: how often users are drawn again
        seed: of these draws
        drop_unknown: leave out targets that the model cannot know, and cases that have no other
        export: of the model whose item vectors tell items apart; none without
    """

    catalogue: Catalogue
    columns: tuple[tuple[str, int], ...]
    slice_columns: tuple[tuple[str, int], ...] = ()
    slicing: Slicing | None = None
    resamples: int = 0
    seed: int = 0
    drop_unknown: bool = False
    export: str | None = None

    @property
    def length(self) -> int:
        """Of the longest list."""
        return max(k for _, k in (*self.columns, *self.slice_columns))

    def columns_of(self, name: str) -> tuple[tuple[str, int], ...]:
        """Those of all cases or of a slice."""
        return self.columns if name == _ALL[0] else self.slice_columns


@dataclass(frozen=True)
class Estimate:
    """A mean over cases, for the sample and each resample [1 + R], and how many cases."""

    values: Floats
    cases: int


# By system, slice, value of the slice, metric and list length.
Estimates = Mapping[tuple[str, str, str, str, int], Estimate]


def estimates(cases: DataFrame, measuring: Measuring) -> Estimates:
    """The mean over cases of every column, of all cases and of each slice.

    Args:
        cases: schemas.CASES
        measuring: what is measured

    Returns:
        the same to rounding, whatever the order and the partitions of the cases
    """
    sums = (
        _needed(cases)
        .mapInArrow(_sums(measuring), ddl(_SUMS))
        .groupBy("system", "slice", "value")
        .applyInArrow(_added, ddl(_SUMS))
    )
    totals = {
        (row.system, row.slice, row.value, row.metric, row.k): np.array(row.totals)
        for row in sums.collect()
    }
    found = {}
    for key, total in totals.items():
        if key[3:] != _COUNTED:
            counted = totals[*key[:3], *_COUNTED]
            # A resample may miss every user of a small slice.
            values = np.divide(total, counted, where=counted > 0, out=np.full(len(total), np.nan))
            found[key] = Estimate(values, int(counted[0]))
    return found


def users(cases: DataFrame, measuring: Measuring) -> dict[tuple[str, str], int]:
    """How many different users have a case, by slice and value; of all under ("all", "").

    Args:
        cases: schemas.CASES of one system
        measuring: what is measured
    """

    def work(record_batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for record_batch in record_batches:
            for start in range(0, record_batch.num_rows, _CASES_AT_ONCE):
                part = record_batch.slice(start, _CASES_AT_ONCE)
                user_N = part.column("user").to_numpy()
                for (name, value), _, case in _parts(part, measuring.catalogue, measuring):
                    own = np.unique(user_N[case])
                    yield pa.RecordBatch.from_pydict(
                        {"slice": [name] * len(own), "value": [value] * len(own), "user": own}
                    )

    named = _needed(cases).mapInArrow(work, "slice string, value string, user bigint")
    counted = named.groupBy("slice", "value").agg(F.countDistinct("user").alias("users"))
    return {(row.slice, row.value): row.users for row in counted.collect()}


def _needed(cases: DataFrame) -> DataFrame:
    return cases.select(
        "system", "timestamp", "history_events", "history_start", "targets", "target_types",
        "target_platforms", "ranks", "recommended", "is_new", F.xxhash64("user_id").alias("user"),
    ).coalesce(_PARTS)  # fmt: skip


def _sums(measuring: Measuring) -> Work:
    def work(record_batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        totals: dict[tuple[str, str, str], Floats] = {}
        catalogue = _with_directions(measuring.catalogue, measuring.export)
        for record_batch in record_batches:
            for start in range(0, record_batch.num_rows, _CASES_AT_ONCE):
                _add(totals, record_batch.slice(start, _CASES_AT_ONCE), catalogue, measuring)
        for key, total_RM in totals.items():
            yield _rows(key, total_RM, measuring)

    return work


def _with_directions(catalogue: Catalogue, export: str | None) -> Catalogue:
    if export is None:
        return catalogue
    return dataclasses.replace(catalogue, direction=_directions(export))


@functools.lru_cache(maxsize=1)
def _directions(export: str) -> npt.NDArray[np.float32]:
    """The model's item vectors at length 1 [V, D], once a process."""
    saved_model.limit_threads(1)
    vectors_VW = np.asarray(saved_model.load(export).items())
    vectors_VD = vectors_VW[:, :-1]  # without what popularity adds
    length_V1 = np.linalg.norm(vectors_VD, axis=1, keepdims=True)
    return np.asarray(vectors_VD / np.maximum(length_V1, np.finfo(np.float32).tiny), np.float32)


def _add(
    totals: dict[tuple[str, str, str], Floats],
    cases: pa.RecordBatch,
    catalogue: Catalogue,
    measuring: Measuring,
) -> None:
    """Adds the sums of some cases of any systems."""
    users = cases.column("user").to_numpy()
    user_U, of_N = np.unique(users, return_inverse=True)
    weight_UR = bootstrap.weights(user_U, measuring.resamples, measuring.seed)
    system_N = cases.column("system").to_numpy(zero_copy_only=False)
    for system in sorted(set(system_N)):
        place = np.nonzero(system_N == system)[0]
        for key, chosen, case in _parts(cases.take(pa.array(place)), catalogue, measuring):
            columns = measuring.columns_of(key[0])
            total_RM = _weighted(chosen, columns, of_N[place[case]], weight_UR)
            before = totals.get((system, *key), 0)
            totals[system, *key] = before + total_RM


def _parts(
    cases: pa.RecordBatch, catalogue: Catalogue, measuring: Measuring
) -> Iterator[tuple[tuple[str, str], Lists, npt.NDArray[np.intp]]]:
    """Slice and value, all of them first, with the cases of a system that are in it.

    Yields:
        the key, their lists with the targets that count there, and their places
    """
    lists = read_lists(cases, measuring.length, catalogue)
    is_kept_P = np.ones(len(lists.target), bool)
    if measuring.drop_unknown:
        is_kept_P = catalogue.is_known(lists.target)
    sliced = measuring.slicing.parts(cases, lists) if measuring.slicing else ()
    for name, value, is_in_P in itertools.chain([(*_ALL, is_kept_P)], sliced):
        chosen, case = slices.only(lists, is_in_P & is_kept_P)
        if len(case):
            yield (name, value), chosen, case


def _weighted(
    lists: Lists, columns: Sequence[tuple[str, int]], user: npt.NDArray[np.intp], weight_UR: Floats
) -> Floats:
    """Sums of the columns, the last of which counts cases, in each sample [1 + R, M + 1]."""
    value_NM = np.ones((len(lists.targets), len(columns) + 1))
    for place, (metric, k) in enumerate(columns):
        value_NM[:, place] = metrics.PER_CASE[metric](lists, k)
    order = np.argsort(user, kind="stable")
    distinct, first = np.unique(user[order], return_index=True)
    by_user = np.add.reduceat(value_NM[order], first, axis=0)
    return np.asarray(weight_UR[distinct].T @ by_user)


def _rows(key: tuple[str, str, str], total_RM: Floats, measuring: Measuring) -> pa.RecordBatch:
    columns = measuring.columns_of(key[1])
    rows = [
        {**dict(zip(("system", "slice", "value"), key, strict=True)),
         "metric": metric, "k": k, "totals": total_RM[:, place]}
        for place, (metric, k) in enumerate((*columns, _COUNTED))
    ]  # fmt: skip
    return pa.RecordBatch.from_pylist(rows, _SUMS_ARROW)


def _added(parts: pa.Table) -> pa.Table:
    """Sums of the parts' sums, of one system and slice; in their order, whatever came first."""
    rows: dict[tuple[str, int], list[list[float]]] = {}
    for row in parts.to_pylist():
        rows.setdefault((row["metric"], row["k"]), []).append(row["totals"])
    key = {name: parts.column(name)[0].as_py() for name in ("system", "slice", "value")}
    added = [
        {**key, "metric": metric, "k": k, "totals": np.sum(sorted(totals), axis=0)}
        for (metric, k), totals in rows.items()
    ]
    return pa.Table.from_pylist(added, _SUMS_ARROW)
