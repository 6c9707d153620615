"""What is counted while subjects come in and lists go out, without another pass over them."""

from __future__ import annotations

from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F

from recsys.schemas import PAIR_SOURCES
from recsys.score.plan import Plan

# Sums of 64-bit hashes that no number of rows makes overflow.
_HASH = "decimal(38,0)"


def coming(plan: Plan) -> list[Column]:
    """Rows, the subjects that they are of, and the lists that these shall get; a pair is a list."""
    rows = F.count(F.lit(1))
    subjects, lists = rows, rows
    if plan.kind == "pairs":
        subjects, lists = F.count_if("is_first"), _count(F.size("candidate"))
    elif plan.item_without_row is not None:
        lists = F.count_if(F.col("item_index") != plan.item_without_row)
    return [rows.alias("rows"), subjects.alias("subjects"), lists.alias("lists")]


def totals(plan: Plan) -> list[Column]:
    """What is counted while the rows go by."""
    rows = rows_and_content(*plan.schema)
    if plan.is_lists:
        return [*rows, *_of_lists(plan)]
    sources = PAIR_SOURCES if plan.kind == "pairs" else ()
    counts = [F.count_if(F.col("source") == name).alias(name) for name in sources]
    return [*rows, F.count(F.lit(1)).alias("lists"), *counts]


def rows_and_content(*columns: Column | str) -> list[Column]:
    """How many rows there are, and what stands for them, whatever their order."""
    content = F.sum(F.xxhash64(*columns).cast(_HASH))
    return [F.count(F.lit(1)).alias("rows"), content.alias("content")]


def fingerprint(hashes: Any) -> str:
    """The fingerprint of rows, out of the sum of their hashes; none is that of no row."""
    return f"{int(hashes or 0) % 2**64:016x}"


def _of_lists(plan: Plan) -> list[Column]:
    is_array = plan.has_arrays
    is_first = F.lit(True) if is_array else F.col("rank") == 1
    first_source = F.get("source", 0) if is_array else F.col("source")
    size = F.size("item_id") if is_array else F.lit(1)
    return [
        _count(is_first.cast("bigint")).alias("lists"),
        _count(size).alias("recommendations"),
        _count((is_first & (first_source == "fallback")).cast("bigint")).alias("fallbacks"),
    ]


def _count(values: Any) -> Any:
    return F.coalesce(F.sum(values), F.lit(0))
