"""Lists as a key and a value, for a cache or a database."""

from __future__ import annotations

from typing import Any

from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F

from recsys import files, tables
from recsys.errors import DataError
from recsys.schemas import RECOMMENDATION_FOLDERS
from recsys.score import counting
from recsys.score.plan import Plan


def export(spark: SparkSession, version: str, plan: Plan) -> dict[str, Any]:
    """Writes a version's lists of a kind as JSON lines; how many there are, and what they hold."""
    url = _place(version, plan.kind)
    if files.exists(url):
        files.remove(url)  # of a try that was cut short
    schema = {**plan.schema, **RECOMMENDATION_FOLDERS}
    lists = tables.read(spark, files.join(version, plan.kind), schema)
    frame = keys_and_values(lists.select(*plan.schema), plan)
    written = Observation()
    line = F.to_json(F.struct(*frame.columns))
    with tables.reading(f"the lists {plan.kind}, for score.json_lines"):
        tables.write_json_lines(frame.observe(written, *counting.rows_and_content(line)), url)
    return _counted(written.get)


def verify(spark: SparkSession, version: str, kind: str, written: dict[str, Any]) -> None:
    """Makes sure that the lines of a kind of list read as `export` wrote them.

    Raises:
        DataError: they do not
    """
    url = _place(version, kind)
    with tables.reading(url):
        counts = tables.read_lines(spark, url).agg(*counting.rows_and_content("value"))
        found = _counted(counts.collect()[0].asDict())
    if found != written:
        raise DataError(f"{url}: expected the lines that were written, {written}, found {found}")


def _place(version: str, kind: str) -> str:
    return files.join(version, "json_lines", kind)


def _counted(row: dict[str, Any]) -> dict[str, Any]:
    return {"rows": row["rows"], "content": counting.fingerprint(row["content"])}


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
