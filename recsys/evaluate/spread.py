"""How frequent in train what is recommended is, against what is bought, on Spark."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys.evaluate.lists import Catalogue

# The last item of each band of the catalogue by frequency: the first ten, the next ninety, ...
BANDS = (10, 100, 1_000, 10_000)


def bands(cases: DataFrame, k: int, model: str, catalogue: Catalogue) -> DataFrame:
    """How often items of each band of frequency are recommended and bought.

    Args:
        cases: schemas.CASES
        k: list length
        model: a system that all cases have, from whose rows the targets are taken
        catalogue: whose events of train say how frequent an item is

    Returns:
        what string (a system, or `bought`), band int (place in band_names), events bigint
    """
    first = F.explode(F.slice("recommended", 1, k)).alias("item_index")
    recommended = cases.select(F.col("system").alias("what"), first)
    bought = cases.where(F.col("system") == model).select(
        F.lit("bought").alias("what"), F.explode("targets").alias("item_index")
    )
    events = recommended.unionByName(bought)
    index_V = np.arange(len(catalogue.train_count), dtype=np.int32)
    band_V = np.searchsorted(BANDS, catalogue.frequency_rank, side="right")
    band_V[~catalogue.is_known(index_V)] = len(BANDS) + 1
    of_items = pd.DataFrame({"item_index": index_V, "band": band_V})
    of_items = cases.sparkSession.createDataFrame(of_items, "item_index int, band int")
    events = events.join(F.broadcast(of_items), on="item_index", how="inner")
    return events.groupBy("what", "band").agg(F.count("*").alias("events"))


def band_names() -> list[str]:
    """What stands for each band, by frequency_rank from 1 on.

    >>> band_names()
    ['1–10', '11–100', '101–1,000', '1,001–10,000', 'beyond', 'unknown']
    """
    firsts = [1, *(last + 1 for last in BANDS[:-1])]
    ranges = [f"{first:,}–{last:,}" for first, last in zip(firsts, BANDS, strict=True)]
    return [*ranges, "beyond", "unknown"]
