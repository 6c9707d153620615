"""Several ids of one person become one user: web, app and mini-program are one history.

identities            events                      user_id
web  7  ann           web  7                      ann
app  k  ann           app  k                      ann
                      app  7                      7, or where ids stay apart app:7

Where ids stay apart, so do those of sessions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from recsys import config as configuration
from recsys import tables
from recsys.config import Events
from recsys.errors import DataError
from recsys.manifest import Step
from recsys.prepare.events import text_id
from recsys.tables import UNREADABLE

# An id of a platform, the least of its persons, and how many persons and rows it has.
_IDENTITIES: dict[str, str] = {
    "platform": "string",
    "user_id": "string",
    "person": "string",
    "persons": "bigint",
    "rows": "bigint",
}


@dataclass(frozen=True)
class Identities:
    """The table of identities.

    Args:
        people: platform, user_id and person, one row an id; none without a table
        counts: of the table, for the manifest: rows, those that are incomplete, duplicates, ids,
            conflicts, and persons
    """

    people: DataFrame | None
    counts: dict[str, int]

    @property
    def steps(self) -> list[Step]:
        """Of the manifest."""
        if not self.counts:
            return []
        found = self.counts
        words = (
            f"{found['ids']} ids of {found['persons']} persons; left out: {found['incomplete']} "
            f"rows with a gap, {found['duplicates']} duplicates, {found['conflicts']} ids of "
            "several persons"
        )
        return [Step("identities", found["rows"], found["ids"], words)]


def identities(
    spark: SparkSession,
    events: Events,
    stage: Callable[[DataFrame, str, dict[str, str]], DataFrame],
) -> Identities:
    """Reads and checks the table that the configuration names.

    Raises:
        DataError: unreadable, or an id of several persons that is refused
    """
    section = events.identities
    if not section.path:
        return Identities(None, {})
    with tables.reading("events.identities.path"):
        staged = stage(_ids(tables.read_identities(spark, section)), "identities", _IDENTITIES)
    complete, several = F.col("platform").isNotNull(), F.col("persons") > 1
    rows = staged.agg(
        F.coalesce(F.sum("rows"), F.lit(0)).alias("rows"),
        F.coalesce(F.sum(F.when(~complete, F.col("rows"))), F.lit(0)).alias("incomplete"),
        F.coalesce(F.sum(F.when(complete, F.col("rows") - F.col("persons"))), F.lit(0)).alias(
            "duplicates"
        ),
        F.count_if(complete & ~several).alias("ids"),
        F.count_if(complete & several).alias("conflicts"),
        F.count_distinct(F.when(complete & ~several, F.col("person"))).alias("persons"),
    ).collect()[0]  # fmt: skip
    counts = rows.asDict()
    if counts["conflicts"] and section.conflicts == "refuse":
        platform = staged.where(complete & several).agg(F.min("platform")).collect()[0][0]
        raise DataError(
            f"{', '.join(section.path)}: column {section.person!r}: expected one person for each "
            f"platform and id, found {counts['conflicts']} ids of several, such as one of platform "
            f"{platform!r} (events.identities.conflicts)"
        )
    people = staged.where(complete & ~several).select("platform", "user_id", "person")
    return Identities(people, counts)


def _ids(raw: DataFrame) -> DataFrame:
    """_IDENTITIES; rows that say nothing are one row of nulls."""
    names = ("platform", "user_id", "person")
    ids = raw.select(*[text_id(F.col(name), raw.schema[name].dataType).alias(name)
                       for name in names], UNREADABLE)  # fmt: skip
    complete = F.col(UNREADABLE).isNull()
    for name in names:
        complete &= F.col(name).isNotNull()
    whole = ids.select(*[F.when(complete, F.col(name)).alias(name) for name in names])
    return whole.groupBy("platform", "user_id").agg(
        F.min("person").alias("person"),
        F.count_distinct("person").alias("persons"),
        F.count(F.lit(1)).alias("rows"),
    )


def platforms_apart(log: DataFrame, section: configuration.Identities) -> tuple[str, ...]:
    """The platforms whose ids stay apart: by them an id is found again under its new name.

    Args:
        log: with platform
        section: of the configuration
    """
    if section.others != "apart":
        return ()
    rows = log.where(F.col("platform").isNotNull()).select("platform").distinct().collect()
    return tuple(sorted(row.platform for row in rows))


def apart(platform: str, user_id: str) -> str:
    """What merged() calls an id that stays apart.

    >>> apart("app", "7")
    'app:7'
    """
    return f"{platform}:{user_id}"


def merged(
    events: DataFrame, people: DataFrame | None, section: configuration.Identities
) -> DataFrame:
    """Events with the person as their user_id, or what ids without one are called.

    Args:
        events: with platform and user_id
        people: of Identities
        section: of the configuration
    """
    user_id: Column = F.col("user_id")
    if section.others == "apart":
        user_id = _named_apart("user_id")
        events = events.withColumn("session_id", _named_apart("session_id"))
    if people is None:
        return events.withColumn("user_id", user_id)
    joined = events.join(people, on=["platform", "user_id"], how="left")
    return joined.withColumn("user_id", F.coalesce("person", user_id)).select(*events.columns)


def _named_apart(name: str) -> Column:
    """apart() of a column, where there are both."""
    both = F.col(name).isNotNull() & F.col("platform").isNotNull()
    return F.when(both, F.concat_ws(":", "platform", name)).otherwise(F.col(name))
