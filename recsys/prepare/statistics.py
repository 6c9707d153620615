"""How items were received, as of the end of train: from the events of train and nothing else.

    popularity   log(1 + events)
    conversion   share of each event type, and of one event of each type besides
    recency      log(1 + days from the last event to the last of train)
    price_rank   from -1, the cheapest of its category, to 1, by the median price of its events,
                 among the items that are often enough in train to be in the vocabulary for it

All but conversion are normalized as standard numbers (recsys.prepare.dense).
"""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from recsys.prepare.instants import MICROSECONDS_PER_DAY
from recsys.prepare.split import PART, TRAIN
from recsys.prepare.tally import EVENTS_MET, LAST_MET, met

# What must be told apart to know them.
TALLIED = ("item_id", "event_type", "price")

KINDS = {
    "popularity": "number", "conversion": "vector", "recency": "number", "price_rank": "number",
}  # fmt: skip


def statistics(
    tallied: DataFrame,
    items: DataFrame,
    event_types: tuple[str, ...],
    category: str | None,
    least: int = 1,
) -> DataFrame:
    """The items with a column for each of KINDS; null where train says nothing.

    Args:
        tallied: tally() of TALLIED
        items: the vocabulary and its attributes
        event_types: in the order of conversion's shares
        category: attribute within which prices are ranked; none ranks none
        least: events in train of the items among which they are
    """
    train = tallied.where((F.col(PART) == TRAIN) & F.col("item_id").isNotNull())
    last = train.agg(F.max(LAST_MET).alias("end"))
    of_types = [met(F.col("event_type") == name) for name in event_types]
    own = train.groupBy("item_id").agg(
        F.log1p(F.sum(EVENTS_MET).cast("double")).alias("popularity"),
        F.sum(EVENTS_MET).alias("events"),
        F.array(*of_types).alias("counts"),
        F.max(LAST_MET).alias("last"),
        F.percentile("price", 0.5, F.col(EVENTS_MET)).alias("median_price"),
    )
    days = (F.col("end") - F.col("last")) / MICROSECONDS_PER_DAY
    total = F.aggregate("counts", F.lit(0).cast("bigint"), lambda sum_, count: sum_ + count)
    shares = F.transform("counts", lambda count: (count + 1) / (total + len(event_types)))
    known = items.join(own, on="item_id", how="left").crossJoin(F.broadcast(last))
    rank = F.lit(None).cast("double")
    if category is not None:
        has_price = F.col("median_price").isNotNull() & F.col(category).isNotNull()
        among = Window.partitionBy(category, has_price)
        is_frequent = F.coalesce(F.col("events") >= least, F.lit(False))
        up_to = F.count_if(is_frequent).over(among.orderBy("median_price"))
        same_price = Window.partitionBy(category, has_price, "median_price")
        equal = F.count_if(is_frequent).over(same_price)
        others = F.greatest(F.count_if(is_frequent).over(among) - 1, F.lit(1))
        # What is rare may be dearer than all of them.
        share = F.least((up_to - equal) / others, F.lit(1.0))
        rank = F.when(has_price, 2 * share - 1)
    return known.select(
        *items.columns,
        "popularity",
        shares.cast("array<float>").alias("conversion"),
        F.log1p(days).alias("recency"),
        rank.alias("price_rank"),
    )
