"""How recommendations spread over the catalogue, on Spark."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys.schemas import UNKNOWN

# The last item of each band of the catalogue by popularity: the first ten, the next ninety, ...
BANDS = (10, 100, 1_000, 10_000)


def exposure(cases: DataFrame, at: Sequence[int], items: int) -> DataFrame:
    """How the recommendations spread over the catalogue.

    coverage: share of the catalogue that is in at least one list (Ge et al., RecSys 2010).
    gini: 0 where all items are recommended alike, towards 1 where few are (Gini, 1912):
    sum over the items by rising count of (2 place - items - 1) count, over items times all counts.

    Args:
        cases: schemas.CASES
        at: list lengths
        items: of the catalogue

    Returns:
        system string, metric string, k int, value double
    """
    lengths = F.array(*map(F.lit, at))
    places = cases.select("system", F.posexplode("recommended").alias("place", "item_index"))
    longer = F.filter(lengths, lambda k: k > F.col("place"))
    counts = (
        places.select("system", "item_index", F.explode(longer).alias("k"))
        .groupBy("system", "k", "item_index")
        .count()
    )
    # As many items with each count: few rows, however large the catalogue.
    spread = counts.groupBy("system", "k", F.col("count").cast("double").alias("times")).agg(
        F.count("*").cast("double").alias("items")
    )
    entry = F.struct("times", "items")
    listed = spread.groupBy("system", "k").agg(
        F.array_sort(F.collect_list(entry)).alias("spread"), F.sum("items").alias("covered"),
        F.sum(F.col("items") * F.col("times")).alias("total"),
    )  # fmt: skip
    # Those that are in no list stand first and add nothing.
    start = F.struct(
        (F.lit(float(items)) - F.col("covered")).alias("before"), F.lit(0.0).alias("sum")
    )

    def step(state: Column, own: Column) -> Column:
        # The places of the alike: 2 * mean place - items - 1.
        middle = 2 * state["before"] + own["items"] - F.lit(float(items))
        return F.struct(
            (state["before"] + own["items"]).alias("before"),
            (state["sum"] + middle * own["items"] * own["times"]).alias("sum"),
        )

    gini = F.aggregate("spread", start, step)["sum"] / (F.lit(float(items)) * F.col("total"))
    values = {"coverage": F.col("covered") / F.lit(items), "gini": gini}
    pairs = [F.struct(F.lit(name).alias("metric"), own.alias("value")) for name, own in
             values.items()]  # fmt: skip
    return listed.select("system", "k", F.explode(F.array(*pairs)).alias("own")).select(
        "system", "own.metric", "k", "own.value"
    )


def bands(
    cases: DataFrame, k: int, model: str, popularity_rank_V: npt.NDArray[np.int64]
) -> DataFrame:
    """How often items of each popularity are recommended and bought.

    Args:
        cases: schemas.CASES
        k: list length
        model: a system that all cases have, from whose rows the targets are taken
        popularity_rank_V: of metrics.Catalogue

    Returns:
        what string (a system, or `bought`), band int (place in band_names), events bigint
    """
    first = F.explode(F.slice("recommended", 1, k)).alias("item_index")
    recommended = cases.select(F.col("system").alias("what"), first)
    bought = cases.where(F.col("system") == model).select(
        F.lit("bought").alias("what"), F.explode("targets").alias("item_index")
    )
    events = recommended.unionByName(bought)
    band_V = np.searchsorted(BANDS, popularity_rank_V, side="right")
    band_V[UNKNOWN] = len(BANDS) + 1
    of_items = pd.DataFrame({"item_index": np.arange(len(band_V)), "band": band_V})
    of_items = cases.sparkSession.createDataFrame(of_items, "item_index int, band int")
    events = events.join(F.broadcast(of_items), on="item_index", how="inner")
    return events.groupBy("what", "band").agg(F.count("*").alias("events"))


def band_names() -> list[str]:
    """What stands for each band, by popularity rank.

    >>> band_names()
    ['1–10', '11–100', '101–1,000', '1,001–10,000', 'beyond', 'unknown']
    """
    firsts = [1, *(last + 1 for last in BANDS[:-1])]
    ranges = [f"{first:,}–{last:,}" for first, last in zip(firsts, BANDS, strict=True)]
    return [*ranges, "beyond", "unknown"]
