"""Lists as a key and a value, for a cache or a database."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys.score.plan import Plan


def keys_and_values(lists: DataFrame, plan: Plan) -> DataFrame:
    """One row a subject; of pairs the value holds a user's, by item.

        {"key": "home/user-1", "value": [{"item_id": "7", "score": 1.5, "source": "model"}, ...]}

    Args:
        lists: of the plan's schema
        plan: what they are

    Returns:
        key, and value best first
    """
    columns = list(plan.schema)
    key = F.concat_ws("/", *columns[:2]).alias("key")
    if plan.has_arrays:
        return lists.select(key, F.arrays_zip(*columns[2:]).alias("value"))
    row = F.struct(*columns[2:])  # the rank, where there is one, is first
    in_order = F.array_sort(F.collect_list(row))
    without_rank = F.transform(in_order, lambda entry: entry.dropFields("rank"))
    return lists.groupBy(key).agg(without_rank.alias("value"))
