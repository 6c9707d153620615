"""How recommendations spread over the catalogue: coverage and Gini, with resamples of users.

Memory does not rise with the systems: of 100,000 items at three lengths a worker takes 150 MiB for
one system, and 127 for fifteen, whose cases are passed fifteen times (10,000 cases each). The
driver has the figures alone.

Shapes: N cases, P places of their lists, V vocabulary, K list lengths, B = K V, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys.evaluate import bootstrap
from recsys.evaluate.bootstrap import Floats
from recsys.schemas import FIRST_ITEM, ddl

Counts = npt.NDArray[np.int64]
Work = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]

METRICS = ("coverage", "gini")

# Every resample counts every item: fewer of them than of the means over cases.
MOST_RESAMPLES = 100
# Of a worker: 128 MiB.
_COUNTS_AT_ONCE = 1 << 25
# Each part of the cases has counts of its own, which are then added.
_MOST_PARTS = 16
_CASES_AT_ONCE = 8192

# Of a system and resample (0 is the sample), how often the items are at the places of each band of
# lengths: where place is the band times the vocabulary's size plus the item.
_COUNTS = {
    "system": "string", "number": "int", "place": "array<int>", "count": "array<int>",
}  # fmt: skip
_COUNTS_ARROW = pa.schema(
    [
        ("system", pa.string()), ("number", pa.int32()),
        ("place", pa.list_(pa.int32())), ("count", pa.list_(pa.int32())),
    ]
)  # fmt: skip
_FOUND = {
    "system": "string", "number": "int", "k": "int", "coverage": "double", "gini": "double",
}  # fmt: skip
_FOUND_ARROW = pa.schema(
    [
        ("system", pa.string()), ("number", pa.int32()), ("k", pa.int32()),
        ("coverage", pa.float64()), ("gini", pa.float64()),
    ]
)  # fmt: skip


def exposure(
    cases: DataFrame,
    systems: Sequence[str],
    at: Sequence[int],
    size: int,
    resamples: int,
    seed: int,
) -> dict[tuple[str, str, int], Floats]:
    """How the recommendations spread over the catalogue.

    coverage: share of the catalogue that is in at least one list (Ge et al., RecSys 2010).
    gini: 0 where all items are recommended alike, towards 1 where few are (Gini, 1912):
    sum over the items by rising count of (2 place - items - 1) count, over items times all counts.

    Users are drawn again as in `bootstrap`, the first of the resamples of all other figures.

    Args:
        cases: schemas.CASES
        systems: S, that they have
        at: list lengths
        size: of the vocabulary
        resamples: how often users are drawn again, of which MOST_RESAMPLES are enough here
        seed: of these draws

    Returns:
        by system, metric and list length: the sample's figure, then those of each
        resample [1 + R]; nan where a resample has no list. The same whatever the partitions.
    """
    samples = min(resamples, MOST_RESAMPLES) + 1
    needed = _needed(cases, max(at))
    found = {
        (system, metric, k): np.full(samples, np.nan)
        for system in systems for metric in METRICS for k in at
    }  # fmt: skip
    for names, numbers in _passes(systems, samples, len(at) * size):
        own = needed.where(F.col("system").isin(list(names)))
        counts = own.mapInArrow(_counted(numbers, at, size, seed), ddl(_COUNTS))
        figures = counts.groupBy("system", "number").applyInArrow(_figures(at, size), ddl(_FOUND))
        for row in figures.collect():
            for metric in METRICS:
                found[row.system, metric, row.k][row.number] = row[metric]
    return {key: _about_the_sample(values) for key, values in found.items()}


def _needed(cases: DataFrame, length: int) -> DataFrame:
    """Of each case the system, the user's hash, and the first items of its list."""
    user, items = F.xxhash64("user_id"), F.slice("recommended", 1, length)
    cores = cases.sparkSession.sparkContext.defaultParallelism
    needed = cases.select("system", user.alias("user"), items.alias("items"))
    return needed.coalesce(min(cores, _MOST_PARTS))


def _passes(
    systems: Sequence[str], samples: int, counts: int
) -> Iterator[tuple[Sequence[str], Sequence[int]]]:
    """Systems and samples that are counted together, where each of both needs so many counts.

    A worker counts every item in each, in at most _COUNTS_AT_ONCE numbers (or as many as one system
    and sample need): where these do not suffice for all, the cases are passed several times.
    """
    at_once = max(1, _COUNTS_AT_ONCE // counts)
    systems_at_once = min(at_once, len(systems))
    samples_at_once = at_once // systems_at_once
    for first in range(0, len(systems), systems_at_once):
        for sample in range(0, samples, samples_at_once):
            numbers = range(sample, min(sample + samples_at_once, samples))
            yield systems[first : first + systems_at_once], numbers


def _counted(numbers: Sequence[int], at: Sequence[int], size: int, seed: int) -> Work:
    """Of each system and resample, how often each item is at the places of each band of `at`."""

    def work(record_batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        counts: dict[str, npt.NDArray[np.int32]] = {}
        for record_batch in record_batches:
            system_N = record_batch.column("system").to_numpy(zero_copy_only=False)
            for system in sorted(set(system_N)):
                own = record_batch.filter(pa.array(system_N == system))
                if system not in counts:
                    counts[system] = np.zeros((len(numbers), len(at) * size), np.int32)
                for start in range(0, own.num_rows, _CASES_AT_ONCE):
                    part = own.slice(start, _CASES_AT_ONCE)
                    _count(counts[system], part, numbers, at, size, seed)
        for system, count_RB in counts.items():
            for number, count_B in zip(numbers, count_RB, strict=True):
                place = np.flatnonzero(count_B).astype(np.int32)
                columns = {"system": [system], "number": [number], "place": [place],
                           "count": [count_B[place]]}  # fmt: skip
                yield pa.RecordBatch.from_pydict(columns, _COUNTS_ARROW)

    return work


def _count(
    count_RB: npt.NDArray[np.int32],
    cases: pa.RecordBatch,
    numbers: Sequence[int],
    at: Sequence[int],
    size: int,
    seed: int,
) -> None:
    user_U, of_N = np.unique(cases.column("user").to_numpy(), return_inverse=True)
    weight_RU = bootstrap.drawn(user_U, numbers, seed).T
    items = cases.column("items")
    length_N = items.value_lengths().to_numpy(zero_copy_only=False)
    case_P = np.repeat(np.arange(len(length_N)), length_N)
    place_P = np.arange(len(case_P)) - np.repeat(np.cumsum(length_N) - length_N, length_N)
    band_P = np.searchsorted(at, place_P, side="right")
    key_P = band_P * size + items.flatten().to_numpy()
    for number, count_B, weight_U in zip(numbers, count_RB, weight_RU, strict=True):
        weight_N = weight_U[of_N] if number else np.ones(len(of_N))
        np.add.at(count_B, key_P, weight_N.astype(np.int32)[case_P])


def _figures(at: Sequence[int], size: int) -> Callable[[pa.Table], pa.Table]:
    """Of the counts of one system and resample: both figures at each list length."""

    def work(parts: pa.Table) -> pa.Table:
        count_B = np.zeros(len(at) * size, np.int64)
        for place, count in zip(parts.column("place"), parts.column("count"), strict=True):
            count_B[place.values.to_numpy()] += count.values.to_numpy()
        own = {name: parts.column(name)[0].as_py() for name in ("system", "number")}
        count_KV = count_B.reshape(len(at), size).cumsum(axis=0)[:, FIRST_ITEM:]
        rows = [
            {**own, "k": k, "coverage": coverage(count_V), "gini": gini(count_V)}
            for k, count_V in zip(at, count_KV, strict=True)
        ]
        return pa.Table.from_pylist(rows, _FOUND_ARROW)

    return work


def coverage(count_V: Counts) -> float:
    """The share of the items that are in a list, from how often each is; nan without a list."""
    return float((count_V > 0).mean()) if count_V.any() else float("nan")


def gini(count_V: Counts) -> float:
    """How unlike each other the counts are, from 0 on; nan without a list.

    >>> gini(np.array([1, 1, 1])), gini(np.array([0, 0, 3]))
    (0.0, 0.6666666666666666)
    """
    items, total = len(count_V), int(count_V.sum())
    if total == 0:
        return float("nan")
    return int(np.sort(count_V) @ (2 * np.arange(1, items + 1) - items - 1)) / (items * total)


def _about_the_sample(value_R: Floats) -> Floats:
    """The resamples moved so that their mean is the sample's figure; no share leaves 0 to 1.

    Users who are drawn again are fewer different ones than the sample has, and cover less: what the
    mean of the resamples differs from the sample (the bootstrap's estimate of the bias; Efron &
    Tibshirani, 1993, 10.3) is taken off, so that they tell how sure a figure is and not that fewer
    users cover less.
    """
    drawn = value_R[1:]
    if np.isnan(drawn).all():
        return value_R
    moved = np.clip(drawn + value_R[0] - np.nanmean(drawn), 0, 1)
    return np.concatenate([value_R[:1], moved])
