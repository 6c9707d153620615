"""Who gets a list, and what the worker must know of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from recsys.schemas import FIRST_ITEM, UNKNOWN

SECONDS_PER_DAY = 86400
RECENT_UNIT = 1 << 20
# Items that a row of pairs holds at most, so that batches of rows are bounded.
CANDIDATES_A_ROW = 1000


def until(histories: DataFrame, instant: int | None) -> DataFrame:
    """The histories without the events after an instant.

    Args:
        histories: schemas.HISTORIES
        instant: seconds since the epoch; none is after all events
    """
    if instant is None:
        return histories
    events = F.size(F.filter("step", lambda step: step >= 0))
    kept = events - F.size(F.filter("timestamp", lambda when: when > instant))  # they come last
    slices = {name: F.slice(name, F.lit(1), kept) for name in _arrays(histories)}
    return histories.withColumns(slices)


def active(histories: DataFrame, since: int | None) -> DataFrame:
    """The histories with an event from an instant on.

    Args:
        histories: schemas.HISTORIES
        since: seconds since the epoch; none takes all
    """
    if since is None:
        return histories
    return histories.where(F.array_max("timestamp") >= since)


def chosen(histories: DataFrame, wanted: DataFrame) -> DataFrame:
    """The histories of those who are wanted, with what is known of each.

    Args:
        histories: schemas.HISTORIES
        wanted: of `named`, or by user_id with other columns
    """
    return histories.join(wanted, on="user_id", how="inner")


def grouped(histories: DataFrame, wanted: DataFrame) -> DataFrame:
    """All histories, with the groups of those who are wanted and "" for others.

    Args:
        histories: schemas.HISTORIES
        wanted: of `named`
    """
    joined = histories.join(wanted, on="user_id", how="left")
    return joined.withColumn("group", F.coalesce("group", F.lit("")))


def newcomers(histories: DataFrame, wanted: DataFrame) -> DataFrame:
    """Those who are wanted and have no history, with an empty one.

    Args:
        histories: schemas.HISTORIES
        wanted: of `named`
    """
    nothing = dict.fromkeys(set(histories.columns) - {"user_id"}, F.lit(0))
    nothing |= dict.fromkeys(_arrays(histories), F.array())
    empty = [
        nothing[name].cast(kind).alias(name) for name, kind in histories.dtypes if name in nothing
    ]
    unknown = wanted.join(histories.select("user_id"), on="user_id", how="left_anti")
    return unknown.select(*wanted.columns, *empty)


def _arrays(histories: DataFrame) -> list[str]:
    return [name for name, kind in histories.dtypes if kind.startswith("array")]


def with_candidates(histories: DataFrame, pairs: DataFrame, vocabulary: DataFrame) -> DataFrame:
    """Everybody of the pairs with the items of theirs, each once, rising by id.

    Whoever has many items has several rows.

    Args:
        histories: schemas.HISTORIES
        pairs: user_id and item_id; those without one of them are left out
        vocabulary: schemas.VOCABULARY

    Returns:
        schemas.HISTORIES, empty ones too; candidate_id array<string> and, as index in the
        vocabulary, candidate array<int>; is_first, of the rows of a user
    """
    indexed = (
        pairs.dropna()
        .distinct()
        .join(vocabulary.select("item_id", "item_index"), on="item_id", how="left")
        .withColumn("item_index", F.coalesce("item_index", F.lit(UNKNOWN)))
    )
    candidates = F.array_sort(F.collect_list(F.struct("item_id", "item_index")))
    asked = indexed.groupBy("user_id").agg(candidates.alias("candidates"))
    starts = F.sequence(F.lit(1), F.size("candidates"), F.lit(CANDIDATES_A_ROW))
    own = F.slice("candidates", F.col("start"), F.lit(CANDIDATES_A_ROW)).alias("candidates")
    rows = asked.withColumn("start", F.explode(starts)).select("user_id", "start", own)
    wanted = rows.select(
        "user_id",
        F.col("candidates.item_id").alias("candidate_id"),
        F.col("candidates.item_index").alias("candidate"),
        (F.col("start") == 1).alias("is_first"),
    )
    new = newcomers(histories, wanted)
    return chosen(histories, wanted).unionByName(new)


def named(table: DataFrame) -> DataFrame:
    """One row a subject: user_id, and its group ("" where it has none), of several the first.

    Args:
        table: id and group, as the configuration maps them
    """
    user_id = F.col("id").cast("string").alias("user_id")
    group = F.nullif(F.col("group").cast("string"), F.lit("")).alias("group")
    return (
        table.select(user_id, group)
        .where("user_id is not null")
        .groupBy("user_id")
        .agg(F.coalesce(F.min("group"), F.lit("")).alias("group"))
    )


def with_own_platforms(subjects: DataFrame, platforms: Sequence[str]) -> DataFrame:
    """The subjects with their latest platform as the group of those who have none.

    Args:
        subjects: schemas.HISTORIES with the array platform; group, where there is a table of them
        platforms: as for popular_on_platforms
    """
    known = F.filter("platform", lambda platform: platform >= FIRST_ITEM)
    latest = _name(platforms, F.get(known, F.size(known) - 1))
    given = F.nullif("group", F.lit("")) if "group" in subjects.columns else F.lit(None)
    return subjects.withColumn("group", F.coalesce(given, latest, F.lit("")))


def popular_in_groups(histories: DataFrame, wanted: DataFrame) -> DataFrame:
    """How many events of each item the histories of a group's subjects hold.

    Args:
        histories: schemas.HISTORIES
        wanted: of `named`

    Returns:
        group, item_index, count
    """
    item = F.explode("item").alias("item_index")
    return _counted(histories.join(wanted, on="user_id").select("group", item))


def popular_on_platforms(histories: DataFrame, platforms: Sequence[str]) -> DataFrame:
    """How many events of each item on a platform the histories hold.

    Args:
        histories: schemas.HISTORIES with the array platform
        platforms: the names of its indexes, from FIRST_ITEM on

    Returns:
        group, which is the platform's name, item_index, count
    """
    events = histories.select(F.explode(F.arrays_zip("item", "platform")).alias("event"))
    group = _name(platforms, F.col("event.platform")).alias("group")
    return _counted(events.select(group, F.col("event.item").alias("item_index")))


def _name(platforms: Sequence[str], index: Column) -> Column:
    """Of a platform; null where it is unknown."""
    return F.get(F.array(*[F.lit(name) for name in platforms]), index - FIRST_ITEM)


def _counted(events: DataFrame) -> DataFrame:
    """The events of each known item in each group that has a name."""
    known = events.where((F.col("item_index") >= FIRST_ITEM) & (F.col("group") != ""))
    return known.groupBy("group", "item_index").count()


def recent_counts(histories: DataFrame, instant: int, half_life_days: float) -> DataFrame:
    """The events of each known item, where one counts half after every half-life.

    Args:
        histories: schemas.HISTORIES
        instant: from which the time is counted back, seconds since the epoch
        half_life_days: of an event

    Returns:
        item_index and count, in parts of RECENT_UNIT: whole, so that no order of events matters
    """
    events = histories.select(F.explode(F.arrays_zip("item", "timestamp")).alias("event"))
    known = events.where(F.col("event.item") >= FIRST_ITEM)
    days = (F.lit(instant) - F.col("event.timestamp")) / F.lit(SECONDS_PER_DAY)
    weight = F.pow(F.lit(2.0), -days / F.lit(half_life_days)) * F.lit(RECENT_UNIT)
    count = F.sum(F.round(weight).cast("bigint")).alias("count")
    return known.groupBy(F.col("event.item").alias("item_index")).agg(count)


def best_of_groups(counts: DataFrame, allowed: DataFrame, most: int) -> DataFrame:
    """Of each group the items with the most events; of equal ones the lower index.

    Args:
        counts: group, item_index, count
        allowed: item_index of the items that may be recommended
        most: items of a group

    Returns:
        group, item_index, count, and place from 1 on
    """
    in_order = Window.partitionBy("group").orderBy(F.desc("count"), "item_index")
    known = counts.join(F.broadcast(allowed), on="item_index", how="left_semi")
    ranked = known.withColumn("place", F.row_number().over(in_order))
    return ranked.where(F.col("place") <= most).select("group", "item_index", "count", "place")


def events_of(rows: DataFrame) -> DataFrame:
    """The events of rows, one a row: user_id, item, event_type, timestamp; padding is among them.

    Args:
        rows: schemas.SEQUENCES or schemas.HISTORIES
    """
    columns = ["item", "event_type", "timestamp"]
    event = F.explode(F.arrays_zip(*columns)).alias("event")
    return rows.select("user_id", event).select("user_id", *[f"event.{name}" for name in columns])


def with_left_out(
    histories: DataFrame, events: DataFrame, since: Mapping[int, int | None], instant: int
) -> DataFrame:
    """The histories with the items that a list must not have, as the column left_out.

    Args:
        histories: schemas.HISTORIES
        events: of events_of()
        since: index of an event type to the earliest second at which such an event counts; none
            is for ever
        instant: the latest second at which an event counts
    """
    counts = F.lit(False)
    for kind, earliest in since.items():
        is_recent = F.lit(True) if earliest is None else F.col("timestamp") >= earliest
        counts |= (F.col("event_type") == kind) & is_recent
    items = (
        events.where(counts & (F.col("item") >= FIRST_ITEM))
        .where(F.col("timestamp") <= instant)
        .groupBy("user_id")
        .agg(F.array_sort(F.collect_set("item")).alias("left_out"))
    )
    joined = histories.join(items, on="user_id", how="left")
    return joined.withColumn("left_out", F.coalesce("left_out", F.array().cast("array<int>")))


def inputs(subjects: DataFrame, arrays: Sequence[str]) -> DataFrame:
    """What the worker reads of them.

    Args:
        subjects: histories, with what was joined to them
        arrays: that the model reads
    """
    others = ("left_out", "group", "candidate_id", "candidate", "is_first")
    more = [name for name in others if name in subjects.columns]
    return subjects.select("user_id", *arrays, *more)
