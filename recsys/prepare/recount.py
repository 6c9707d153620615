"""The certificate's second count of what vocabulary and items' features rest on.

By another route than that of recsys.prepare.statistics: events are counted by item and price in one
aggregation, and all that follows is NumPy's.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from recsys.config import Config, Prepare
from recsys.prepare.certificate import Check
from recsys.prepare.cutting import Bools
from recsys.prepare.dense import Floats, Numbers
from recsys.prepare.instants import MICROSECONDS_PER_DAY
from recsys.prepare.split import PART, TRAIN, VALID

# Written vectors are float32; and what is 0 may be so up to rounding alone.
_RELATIVE, _ABSOLUTE = 2e-7, 1e-9


def recounted(events: DataFrame, event_types: tuple[str, ...], prepare: Prepare) -> DataFrame:
    """What the splits say of each item (and price, where there are statistics), in one pass.

    Args:
        events: clean events of all splits, with PART
        event_types: in the order of conversion's shares
        prepare: says whether there are statistics

    Returns:
        item_id, train and valid: how many events; and of train price, last, and the number of
        each type as type_0, type_1, …
    """
    is_train, is_valid = F.col(PART) == TRAIN, F.col(PART) == VALID
    of_splits = [F.count_if(is_train).alias("train"), F.count_if(is_valid).alias("valid")]
    of_item = events.where(F.col("item_id").isNotNull())
    if not prepare.item_statistics:
        return of_item.groupBy("item_id").agg(*of_splits)
    of_types = [
        F.count_if(is_train & (F.col("event_type") == name)).alias(f"type_{place}")
        for place, name in enumerate(event_types)
    ]
    last = F.max(F.when(is_train, F.col("timestamp"))).alias("last")
    return of_item.groupBy("item_id", "price").agg(*of_splits, last, *of_types)


def feature_checks(
    written: DataFrame,
    vocabulary: DataFrame,
    counts: DataFrame,
    catalogue: DataFrame | None,
    config: Config,
) -> list[Check]:
    """Numbers and statistics of items are what train alone gives; none where there are neither.

    Args:
        written: items.parquet
        vocabulary: VOCABULARY, whose counts hold
        counts: of recounted(); read only where there are statistics
        catalogue: item_id and the attributes, or none
        config: says which features there are
    """
    prepare, own = config.prepare, config.items
    numbers = [name for name, kind in own.dense.items() if kind == "number"]
    if not numbers and not prepare.item_statistics:
        return []
    items = vocabulary.select("item_index", "item_id", "train_count")
    category = own.first_category
    if catalogue is not None:
        offered = catalogue.select("item_id", *numbers, *([category] if category else []))
        items = items.join(offered, on="item_id", how="left")
    vectors = [name for name in written.columns if name.endswith("_vector")]
    vectors_of = written.select("item_index", "item_id", *vectors)
    table = items.join(vectors_of, on=["item_index", "item_id"], how="left").toArrow()
    raw = {name: table[name].to_numpy().astype(np.float64) for name in numbers}
    by = dict.fromkeys(numbers, prepare.numbers)
    expected: dict[str, Floats] = {}
    if prepare.item_statistics:
        groups = table[category].to_pandas() if category else pd.Series([None] * len(table))
        found, expected["conversion"] = _statistics(
            _of_train(counts).toPandas(), table["item_id"].to_pylist(), groups
        )
        raw, by = {**raw, **found}, {**by, **dict.fromkeys(found, "standard")}
    is_train = table["train_count"].to_numpy() > 0
    rounding: dict[str, float] = {}
    for name, values in raw.items():
        numbers_of = Numbers.of(by[name], values[is_train])
        expected[name], rounding[name] = numbers_of.normalized(values), numbers_of.rounding
    return [
        _check(name, table[f"{name}_vector"], values, _ABSOLUTE + rounding.get(name, 0))
        for name, values in expected.items()
    ]


def _check(name: str, written: pa.ChunkedArray, expected: Floats, absolute: float) -> Check:
    """Every item's vector is as it should be, but for rounding."""
    lengths = written.combine_chunks().value_lengths().fill_null(0).to_numpy()
    wrong = lengths != expected.shape[1]
    values = written.filter(pa.array(~wrong)).combine_chunks().flatten().to_numpy()
    given = values.reshape(-1, expected.shape[1])
    near = np.isclose(given, expected[~wrong], rtol=_RELATIVE, atol=absolute)
    return Check(
        f"{name} from train alone",
        f"that of {len(expected)} items, as train alone gives it",
        f"{int(wrong.sum() + (~near.all(axis=1)).sum())} that differ",
        bool(near.all() and not wrong.any()),
    )


def _of_train(counts: DataFrame) -> DataFrame:
    """What train says of each item: events, by type, the last one, the middle of its prices."""
    names = [name for name in counts.columns if name.startswith("type_")]
    by_price = counts.where(F.col("train") > 0).withColumnRenamed("train", "events")
    priced = F.when(F.col("price").isNotNull(), F.col("events"))
    of_item = Window.partitionBy("item_id")
    up_to, total = F.sum(priced).over(of_item.orderBy("price")), F.sum(priced).over(of_item)
    # Of an even number of prices there are two in the middle.
    middle = by_price.select(
        *by_price.columns,
        F.when(2 * up_to >= total, F.col("price")).alias("low"),
        F.when(2 * up_to > total, F.col("price")).alias("high"),
    )
    return middle.groupBy("item_id").agg(
        F.sum("events").alias("events"),
        F.max("last").alias("last"),
        *[F.sum(name).alias(name) for name in names],
        F.min("low").alias("low"),
        F.min("high").alias("high"),
    )


def _statistics(
    counted: pd.DataFrame, item_ids: list[str], groups: pd.Series
) -> tuple[dict[str, Floats], Floats]:
    """popularity, recency and price_rank, NaN where train says nothing; conversion, 0 there."""
    end = counted["last"].max()
    own = counted.set_index("item_id").reindex(item_ids)
    of_types = own[[name for name in own if name.startswith("type_")]].to_numpy(np.float64)
    totals = of_types.sum(axis=1, keepdims=True)
    price = (own["low"].to_numpy(np.float64) + own["high"].to_numpy(np.float64)) / 2
    numbers = {
        "popularity": np.log1p(own["events"].to_numpy(np.float64)),
        "recency": np.log1p((end - own["last"].to_numpy(np.float64)) / MICROSECONDS_PER_DAY),
        "price_rank": _ranks(price, groups),
    }
    shares = (of_types + 1) / (totals + of_types.shape[1])
    return numbers, np.nan_to_num(shares)


def _ranks(price: Floats, groups: pd.Series) -> Floats:
    """From -1, the cheapest of a group, to 1; ties have the lowest rank of theirs."""
    found = np.full(len(price), np.nan)
    has_price: Bools = np.isfinite(price) & groups.notna().to_numpy()
    for places in pd.Series(np.flatnonzero(has_price)).groupby(groups[has_price].to_numpy()):
        place = places[1].to_numpy()
        cheaper = np.searchsorted(np.sort(price[place]), price[place], "left")
        found[place] = 2 * cheaper / max(1, len(place) - 1) - 1
    return found
