"""A part of a split that is about so large, whoever its users are."""

from __future__ import annotations

import bisect
import itertools

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def drawn(rows: DataFrame, most_cases: int, seed: int) -> DataFrame:
    """The rows of some users, of whom the last one may have others.

    Users come in the order of a hash of their id, and the rows of each in that of a hash of theirs,
    for as long as there is room: who has more cases than all the others together takes no more of
    it than is left.

    Args:
        rows: schemas.SEQUENCES, without fillers
        most_cases: target steps of the rows, at most, unless the first row alone has more
        seed: another one draws others

    Returns:
        the same whatever the order and the partitions of the rows; a row at least, if there is any
    """
    by_user, by_row = (F.xxhash64(name, F.lit(seed)) for name in ("user_id", "sequence_id"))
    step = F.filter(F.arrays_zip("step", "target"), lambda event: event["target"] == 1)
    # A row has a case, so that of so many rows there are cases enough.
    first = (
        rows.orderBy(by_user, "user_id", by_row, "sequence_id")
        .select("sequence_id", F.size(F.array_distinct(step)).alias("cases"))
        .limit(most_cases)
        .collect()
    )
    until = list(itertools.accumulate(row.cases for row in first))
    kept = first[: max(1, bisect.bisect_right(until, most_cases))]
    chosen = rows.sparkSession.createDataFrame(
        [(row.sequence_id,) for row in kept], "sequence_id string"
    )
    return rows.join(F.broadcast(chosen), on="sequence_id", how="left_semi").select(*rows.columns)
