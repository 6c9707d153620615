"""The certificate's second count of what vocabulary and features rest on.

By another route than the first. Of items (recsys.prepare.tally and statistics) events are placed in
their splits anew and counted by item and price, from which NumPy and Spark's windows compute the
statistics; of the numbers of events, which NumPy counts first (recsys.prepare.event_numbers), all
is Spark's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from recsys.arrays import arrow_schema, with_columns
from recsys.config import Config, Prepare
from recsys.prepare import statistics, tfidf
from recsys.prepare.certificate import Check
from recsys.prepare.cutting import Bools
from recsys.prepare.dense import Numbers
from recsys.prepare.instants import MICROSECONDS_PER_DAY
from recsys.prepare.parts import Parted
from recsys.prepare.split import PART, TRAIN, VALID, SplitTimes
from recsys.prepare.totals import Totals
from recsys.prepare.walk import Pass, Walk, passed
from recsys.scale import Floats, Scale, shares, spread
from recsys.schemas import EVENTS, NO_SPLIT

# Written vectors are float32; and what is 0 may be so up to rounding alone.
_RELATIVE, _ABSOLUTE = 2e-7, 1e-9


def recounted(
    events: DataFrame | Walk, event_types: tuple[str, ...], prepare: Prepare
) -> DataFrame:
    """What the splits say of each item (and price, where there are statistics), in one pass.

    What has no item is counted as such.

    Args:
        events: clean events of all splits, with PART
        event_types: in the order of their indexes
        prepare: says whether there are statistics

    Returns:
        item_id, train and valid: how many events; of train the number of each type as type_0,
        type_1, …; and where there are statistics price and last
    """
    keys = ["item_id", "price"] if prepare.item_statistics else ["item_id"]
    of_types = {f"type_{place}": name for place, name in enumerate(event_types)}
    how = dict.fromkeys(("train", "valid", *of_types), "sum")
    if prepare.item_statistics:
        how["last"] = "max"
    schema = {name: EVENTS[name] for name in keys} | dict.fromkeys(how, "bigint")

    def recount(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        totals = Totals(arrow_schema(schema), how)
        for batch in batches:
            is_train, is_valid = (pc.equal(batch.column(PART), part) for part in (TRAIN, VALID))
            found = {name: batch.column(name) for name in keys}
            found |= {"train": is_train, "valid": is_valid}
            for column, name in of_types.items():
                of_type = pc.fill_null(pc.equal(batch.column("event_type"), name), False)
                found[column] = pc.and_(is_train, of_type)
            if prepare.item_statistics:
                found["last"] = pc.if_else(is_train, batch.column("timestamp"), None)
            yield from totals.feed(pa.table(found)).to_batches()
        yield from totals.finish().to_batches()

    if isinstance(events, DataFrame):
        times = ["timestamp"] if prepare.item_statistics else []
        events = events.select(*keys, PART, *(["event_type"] if of_types else []), *times)
    sums = [getattr(F, add)(name).alias(name) for name, add in how.items()]
    return passed(events, recount, schema).groupBy(*keys).agg(*sums)


def placed_again(parted: Parted) -> DataFrame | Walk:
    """The events with PART as their own instants say, where all have the same borders.

    By this the first count is checked, which is of the column that part() made.
    """
    times = parted.times
    if times is None:
        return parted.source
    if parted.walk is not None:
        return parted.walk.beginning_with(_placing(times, parted.clock))
    own, clock = F.col("timestamp"), F.col(parted.clock)
    is_train = own < times.valid_start - times.embargo
    is_valid = (clock >= times.valid_start) & (own < times.test_start - times.embargo)
    split = F.when(is_train, TRAIN).when(is_valid, VALID).otherwise(NO_SPLIT)
    return parted.events.withColumn(PART, split)


def _placing(times: SplitTimes, clock: str) -> Pass:
    """The same of events in bundles."""

    def place(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            own, deciding = (batch.column(name).to_numpy() for name in ("timestamp", clock))
            is_train = own < times.valid_start - times.embargo
            is_valid = (deciding >= times.valid_start) & (own < times.test_start - times.embargo)
            part = np.where(is_train, TRAIN, np.where(is_valid, VALID, NO_SPLIT)).astype(np.int32)
            yield with_columns(batch, {PART: pa.array(part)})

    return place


def type_check(types: tuple[str, ...], before: tuple[str, ...], counts: DataFrame) -> Check:
    """Event types are those of train, in the order of their counts.

    Args:
        types: as the manifest has them
        before: of the version that days were added to, which stay
        counts: of recounted(types)
    """
    names = [F.sum(f"type_{place}") for place in range(len(types))]
    events, *found = counts.agg(F.sum("train"), *names).collect()[0]
    known = dict(zip(types, found, strict=True))
    others = {"others": events - sum(found)} if events > sum(found) else {}
    return _order_check("event types", types, before, {**known, **others})


def platform_check(
    platforms: tuple[str, ...], before: tuple[str, ...], events: DataFrame
) -> list[Check]:
    """The same of platforms, where there are any.

    Args:
        platforms: as the manifest has them
        before: of the version that days were added to, which stay
        events: clean events of all splits, with PART and platform
    """
    if not platforms:
        return []
    train = events.where((F.col(PART) == TRAIN) & F.col("platform").isNotNull())
    rows = train.groupBy("platform").agg(F.count(F.lit(1)).alias("events")).collect()
    found = {row.platform: row.events for row in rows}
    return [_order_check("platforms", platforms, before, found)]


def _order_check(
    what: str, found: tuple[str, ...], before: tuple[str, ...], counts: Mapping[str, int]
) -> Check:
    new = [name for name, count in counts.items() if count and name not in before]
    expected = [*before, *sorted(new, key=lambda name: (-counts[name], name))]
    wanted, given = (", ".join(names) for names in (expected, found))
    return Check(f"{what} from train alone", wanted, given, wanted == given)


def feature_checks(
    written: DataFrame,
    vocabulary: DataFrame,
    counts: DataFrame,
    catalogue: DataFrame | None,
    config: Config,
) -> list[Check]:
    """Numbers, statistics and reduced texts of items are what train alone gives, if there are any.

    Args:
        written: items.parquet
        vocabulary: VOCABULARY, whose counts hold
        counts: of recounted(); read only where there are statistics
        catalogue: item_id and the attributes, or none
        config: says which features there are
    """
    prepare, own = config.prepare, config.items
    numbers = [name for name, kind in own.dense.items() if kind == "number"]
    texts = [name for name, kind in own.dense.items() if kind == "text"]
    texts = texts if prepare.text_method == "tfidf_svd" else []
    if not numbers and not texts and not prepare.item_statistics:
        return []
    items = vocabulary.select("item_index", "item_id", "train_count")
    category = own.first_category
    if catalogue is not None:
        offered = catalogue.select("item_id", *numbers, *texts, *([category] if category else []))
        items = items.join(offered, on="item_id", how="left")
    own_statistics = [*statistics.KINDS] if prepare.item_statistics else []
    vectors = [f"{name}_vector" for name in (*numbers, *texts, *own_statistics)]
    vectors_of = written.select("item_index", "item_id", *vectors)
    table = items.join(vectors_of, on=["item_index", "item_id"], how="left").toArrow()
    raw = {name: table[name].to_numpy().astype(np.float64) for name in numbers}
    by = dict.fromkeys(numbers, prepare.numbers)
    expected: dict[str, Floats] = {}
    is_train = table["train_count"].to_numpy() >= prepare.vocabulary_min_count
    if prepare.item_statistics:
        groups = table[category].to_pandas() if category else pd.Series([None] * len(table))
        found, expected["conversion"] = _statistics(
            _of_train(counts).toPandas(), table["item_id"].to_pylist(), groups, is_train
        )
        raw, by = {**raw, **found}, {**by, **dict.fromkeys(found, "standard")}
    for name in texts:
        width = pc.max(pc.list_value_length(table[f"{name}_vector"])).as_py()
        reduction = tfidf.fitted(items, name, width, config.seed, prepare.vocabulary_min_count)
        expected[name] = reduction.vectors(table[name].to_pylist())
    rounding: dict[str, float] = {}
    for name, values in raw.items():
        numbers_of = Numbers.of(by[name], values[is_train])
        expected[name], rounding[name] = numbers_of.normalized(values), numbers_of.rounding
    return [
        _check(name, table[f"{name}_vector"], values, _ABSOLUTE + rounding.get(name, 0))
        for name, values in expected.items()
    ]


def number_checks(scales: Mapping[str, Scale], events: DataFrame, prepare: Prepare) -> list[Check]:
    """Numbers of events are clipped and normalized as train alone says.

    Args:
        scales: by which they were
        events: clean events of all splits, with PART and the numbers
        prepare: says at which shares they are clipped
    """
    train = events.where(F.col(PART) == TRAIN)
    return [_number_check(name, scale, train, prepare) for name, scale in scales.items()]


def _number_check(name: str, found: Scale, train: DataFrame, prepare: Prepare) -> Check:
    again = _recounted(name, found.by, train.where(F.col(name).isNotNull()), prepare)
    expected, own = again.numbers, found.numbers
    # What cancels out in a mean leaves the rounding of the largest number.
    near = len(own) == len(expected) and np.allclose(
        own, expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max()
    )
    return Check(f"{name} of events from train alone", f"{again}", f"{found}", near)


def _recounted(name: str, by: str, train: DataFrame, prepare: Prepare) -> Scale:
    """The same by Spark's own percentiles, means and deviations; of no events at all 0 and 1."""
    least, most = None, None
    if prepare.event_number_clip is not None:
        least, most = _percentiles(train, name, [*prepare.event_number_clip]) or (0.0, 0.0)
    if by == "quantile":
        known = _percentiles(train, name, shares().tolist())
        return Scale(by, least, most, known=tuple(Scale(by, least, most).clipped(np.array(known))))
    own = F.col(name)
    if least is not None and most is not None:
        own = F.least(F.greatest(own, F.lit(least)), F.lit(most))
    own = F.log1p(own) if by == "log" else own  # none is negative
    row = train.agg(F.avg(own), F.stddev_pop(own), F.max(F.abs(own))).collect()[0]
    mean, deviation, largest = (value or 0.0 for value in row)
    return Scale(by, least, most, mean, spread(deviation, largest))


def _percentiles(train: DataFrame, name: str, at: list[float]) -> list[float]:
    places = ", ".join(map(repr, at))
    found = F.expr(f"percentile_disc(array({places})) WITHIN GROUP (ORDER BY {name})")
    return train.agg(found).collect()[0][0] or []


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
    counted: pd.DataFrame, item_ids: list[str], groups: pd.Series, is_frequent: Bools
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
        "price_rank": _ranks(price, groups, is_frequent),
    }
    shares = (of_types + 1) / (totals + of_types.shape[1])
    return numbers, np.nan_to_num(shares)


def _ranks(price: Floats, groups: pd.Series, is_frequent: Bools) -> Floats:
    """From -1, the cheapest frequent one of a group, to 1; ties have the lowest rank of theirs."""
    found = np.full(len(price), np.nan)
    has_price: Bools = np.isfinite(price) & groups.notna().to_numpy()
    for places in pd.Series(np.flatnonzero(has_price)).groupby(groups[has_price].to_numpy()):
        place = places[1].to_numpy()
        among = np.sort(price[place[is_frequent[place]]])
        cheaper = np.searchsorted(among, price[place], "left")
        found[place] = 2 * np.minimum(cheaper / max(1, len(among) - 1), 1) - 1
    return found
