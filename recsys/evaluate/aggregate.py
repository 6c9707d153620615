"""From cases to figures, on Spark: sums over parts of the table, then the sums of these."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys.evaluate import metrics
from recsys.schemas import FIRST_ITEM, PADDING, UNKNOWN, ddl

Work = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]

# Sums over some of the cases of a system.
_SUMS = {"system": "string", "metric": "string", "k": "int", "cases": "bigint", "total": "double"}
_SUMS_ARROW = pa.schema(
    [
        ("system", pa.string()),
        ("metric", pa.string()),
        ("k", pa.int32()),
        ("cases", pa.int64()),
        ("total", pa.float64()),
    ]
)

# The last item of each band of the catalogue by popularity: the first ten, the next ninety, ...
BANDS = (10, 100, 1_000, 10_000)


def means(
    cases: DataFrame, at: Sequence[int], self_information_V: npt.NDArray[np.float64]
) -> DataFrame:
    """The mean over cases of every metric of metrics.PER_CASE.

    Args:
        cases: schemas.CASES
        at: list lengths
        self_information_V: from metrics.self_information

    Returns:
        system string, metric string, k int, value double: the same to rounding, whatever the
        order of the cases
    """
    needed = cases.select("system", "targets", "ranks", "recommended")
    return (
        needed.mapInArrow(_sums(tuple(at), self_information_V), ddl(_SUMS))
        .groupBy("system", "metric", "k")
        .agg((F.sum("total") / F.sum("cases")).alias("value"))
        .select("system", "metric", "k", "value")
    )


def _sums(at: Sequence[int], self_information_V: npt.NDArray[np.float64]) -> Work:
    def work(record_batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for record_batch in record_batches:
            system_N = record_batch.column("system").to_numpy(zero_copy_only=False)
            for name in sorted(set(system_N)):
                own = record_batch.take(pa.array(np.nonzero(system_N == name)[0]))
                lists = read_lists(own, max(at), self_information_V)
                yield _sums_of(name, lists, at)

    return work


def _sums_of(system: str, lists: metrics.Lists, at: Sequence[int]) -> pa.RecordBatch:
    rows = [
        {
            "system": system,
            "metric": metric,
            "k": k,
            "cases": len(lists.targets),
            "total": float(per_case(lists, k).sum()),
        }
        for metric, per_case in metrics.PER_CASE.items()
        for k in at
    ]
    return pa.RecordBatch.from_pylist(rows, _SUMS_ARROW)


def read_lists(
    cases: pa.RecordBatch, length: int, self_information_V: npt.NDArray[np.float64]
) -> metrics.Lists:
    """Rows of one system, as metrics read them.

    Args:
        cases: ranks and recommended of schemas.CASES
        length: K, of the longest list
        self_information_V: from metrics.self_information
    """
    case_P, _ = _places(cases.column("ranks"))
    case_n, place_n = _places(cases.column("recommended"))
    item_n = cases.column("recommended").flatten().to_numpy()
    recommended_NK = np.full((cases.num_rows, length), PADDING, np.int32)
    is_first_n = place_n < length
    recommended_NK[case_n[is_first_n], place_n[is_first_n]] = item_n[is_first_n]
    return metrics.Lists(
        rank=cases.column("ranks").flatten().to_numpy(),
        case=case_P,
        targets=np.bincount(case_P, minlength=cases.num_rows),
        recommended=recommended_NK,
        self_information=self_information_V,
    )


def _places(lists: pa.ListArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The list of each entry, and its place in that list."""
    length = lists.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
    start = np.cumsum(length) - length
    place = np.arange(length.sum()) - np.repeat(start, length)
    return np.repeat(np.arange(len(length)), length), place


def coverage(cases: DataFrame, at: Sequence[int], items: int) -> DataFrame:
    """Share of the catalogue that is in at least one list (Ge et al., RecSys 2010).

    Args:
        cases: schemas.CASES
        at: list lengths
        items: of the catalogue

    Returns:
        system string, metric string, k int, value double
    """
    lengths = F.array(*map(F.lit, at))
    places = cases.select("system", F.posexplode("recommended").alias("place", "item_index"))
    best = places.groupBy("system", "item_index").agg(F.min("place").alias("place"))
    longer = F.filter(lengths, lambda k: k > F.col("place"))
    return (
        best.select("system", F.explode(longer).alias("k"))
        .groupBy("system", "k")
        .agg((F.count("*") / F.lit(items)).alias("value"))
        .select("system", F.lit("coverage").alias("metric"), "k", "value")
    )


def bands(cases: DataFrame, k: int, model: str) -> DataFrame:
    """How often items of each popularity are recommended and bought.

    Popularity is the vocabulary's order, which falls with the training frequency.

    Args:
        cases: schemas.CASES
        k: list length
        model: a system that all cases have, from whose rows the targets are taken

    Returns:
        what string (a system, or `bought`), band int (place in band_names), events bigint
    """
    first = F.explode(F.slice("recommended", 1, k)).alias("item_index")
    recommended = cases.select(F.col("system").alias("what"), first)
    bought = cases.where(F.col("system") == model).select(
        F.lit("bought").alias("what"), F.explode("targets").alias("item_index")
    )
    events = recommended.unionByName(bought)
    return events.groupBy("what", _band().alias("band")).agg(F.count("*").alias("events"))


def band_names() -> list[str]:
    """What stands for each band, by popularity rank.

    >>> band_names()
    ['1–10', '11–100', '101–1,000', '1,001–10,000', 'beyond', 'unknown']
    """
    firsts = [1, *(last + 1 for last in BANDS[:-1])]
    ranges = [f"{first:,}–{last:,}" for first, last in zip(firsts, BANDS, strict=True)]
    return [*ranges, "beyond", "unknown"]


def _band() -> Column:
    popularity = F.col("item_index") - FIRST_ITEM  # 0 is the most popular item
    band = F.when(F.col("item_index") == UNKNOWN, len(BANDS) + 1)
    for place, last in enumerate(BANDS):
        band = band.when(popularity < last, place)
    return band.otherwise(len(BANDS))
