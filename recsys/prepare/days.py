"""Checked events are kept by date, so that a day is added without reading the others' log again.

What is kept is what the log says, before anything is left out: what comes after (duplicates, bots,
support, sessions over midnight, splits) looks at all days anew, and finds what it would find in the
whole log. The days lie beside the versions, each written once, and a manifest lists those that its
version is made of:

    dataset/days/<version that added it>/date=2026-11-23/*.parquet
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from recsys import files, hashing, manifest, tables
from recsys.config import Config
from recsys.errors import ConfigError, DataError
from recsys.manifest import Day, Manifest, Step
from recsys.prepare.instants import MICROSECONDS_PER_SECOND
from recsys.schemas import CATEGORIES, EVENTS, QUARANTINE, VOCABULARY

_FOLDER = "days"
_DATE = "date"
_EVENTS_PER_FILE = 1_000_000
# A day that is delivered again has one in so many of its former events, or it is a part of one.
_LEAST_OF_A_DAY = 2


@dataclass(frozen=True)
class Former:
    """The version that days are added to.

    Args:
        spark: the session
        manifest: of the version
    """

    spark: SparkSession
    manifest: Manifest

    @property
    def vocabulary(self) -> DataFrame:
        """VOCABULARY, whose indexes stay."""
        return self._table("vocabulary.parquet", VOCABULARY)

    @property
    def categories(self) -> DataFrame:
        """CATEGORIES, whose indexes stay."""
        return self._table("categories.parquet", CATEGORIES)

    @property
    def quarantine(self) -> DataFrame:
        """QUARANTINE."""
        return self._table("quarantine", QUARANTINE)

    def _table(self, name: str, schema: dict[str, str]) -> DataFrame:
        return tables.read(self.spark, files.join(self.manifest.url, name), schema)


def former(spark: SparkSession, config: Config) -> Former | None:
    """The version that days are added to; none where the whole log is read.

    Raises:
        ConfigError: no key of the user ids, or another one than that of the dataset; or columns or
            names of the log that are not those of the kept days
        DataError: there is no version, or it kept no days
    """
    if config.prepare.days != "add":
        return None
    found = manifest.read(config.paths.dataset)
    hashing.key_for(config.events, found.user_key)
    _require_same_names(config, found)
    if not found.days:
        raise DataError(
            f"{found.url}: expected kept days to add to (prepare.days: keep), found none"
        )
    return Former(spark, found)


def _require_same_names(config: Config, former: Manifest) -> None:
    """Makes sure that kept events and new ones mean the same by the same."""
    known, own = former.config["events"], dataclasses.asdict(config.events)
    before, now = _names(known), _names(own)
    for name in {*known["event_types"], *own["event_types"]}:
        if (meant := known["event_types"].get(name, name)) in former.event_types:
            key = f"event_types.{name}"
            before[key], now[key] = meant, own["event_types"].get(name, name)
    for key, expected in before.items():
        if expected != now[key]:
            raise ConfigError(
                f"events.{key}: expected {expected} as in {former.url}, to which days are added "
                f"(prepare.days), found {now[key]}"
            )


def _names(section: Mapping[str, Any]) -> dict[str, Any]:
    """Which columns there are, whatever the log calls them, and what depends on types."""
    columns = {
        f"columns.{name}": "no column" if column is None else "a column"
        for name, column in section["columns"].items()
    }
    types = {name: [*section[name]] for name in ("query_event_types", "impression_event_types")}
    single = {name: section[name] for name in ("default_event_type", "sessions_of_users")}
    return {**columns, **types, **single, "identities.others": section["identities"]["others"]}


def counts(events: DataFrame) -> dict[str, int]:
    """The events of each date."""
    found = events.groupBy(_date().alias(_DATE)).count().collect()
    return {row[_DATE]: row["count"] for row in sorted(found)}


def stay(former: Former, found: dict[str, int], config: Config) -> tuple[Day, ...]:
    """Which kept days the new version is made of, besides those that are added.

    Args:
        former: the version that kept them
        found: events of each date that are to be added
        config: says what becomes of days that are known

    Raises:
        DataError: nothing to add; events of a known day, or of one before the last, are refused; or
            a day is to be replaced by less than half of it
    """
    if not found:
        where = ", ".join(config.events.path)
        raise DataError(f"{where}: expected events to add, found none without a fault")
    kept, last = former.manifest.days, max(day.date for day in former.manifest.days)
    if config.prepare.known_days == "refuse":
        early = {date: count for date, count in found.items() if date <= last}
        if early:
            raise DataError(
                f"{', '.join(config.events.path)}: expected events after {last}, the last day that "
                f"is kept, found {sum(early.values())} from {min(early)} to {max(early)}; "
                "prepare.known_days: add takes late events, replace days delivered again"
            )
    if config.prepare.known_days == "replace":
        _require_whole(kept, found, config)
        return tuple(day for day in kept if day.date not in found)
    return kept


def _require_whole(kept: Sequence[Day], found: dict[str, int], config: Config) -> None:
    """Refuses to replace a day by a part of it, as a file that runs over midnight brings it."""
    before: dict[str, int] = {}
    for day in kept:
        before[day.date] = max(before.get(day.date, 0), day.events)  # of what came at once
    for date, count in found.items():
        least = -(-before.get(date, 0) // _LEAST_OF_A_DAY)
        if count < least:
            raise DataError(
                f"{', '.join(config.events.path)}: expected all of {date} (UTC), of which "
                f"{before[date]} events are kept, since prepare.known_days: replace takes the day "
                f"anew, found {count}; add keeps what is there"
            )


def with_faults(former: Former, new: DataFrame, kept: Sequence[Day]) -> DataFrame:
    """QUARANTINE of the new version: the rows at fault of its log, and those that stay.

    Of days that are replaced none stays. Of which day a row without a readable time is nobody
    knows: where days are replaced, it is of the new log if that has it again.

    Args:
        former: the version that days are added to
        new: QUARANTINE of the log
        kept: the days that stay
    """
    before = former.quarantine
    replaced = {day.date for day in former.manifest.days} - {day.date for day in kept}
    if replaced:
        goes = F.coalesce(_date().isin(list(replaced)), F.lit(False))
        before = before.where(~goes).exceptAll(new)
    return new.unionByName(before)


def step(events: int, found: dict[str, int], kept: Sequence[Day], before: Sequence[Day]) -> Step:
    """Of the manifest, where days were added.

    Args:
        events: that were added
        found: of each date
        kept: the days that they are added to, at least one
        before: those that were kept before; what kept lacks of them is replaced
    """
    replaced = sum(day.events for day in before) - sum(day.events for day in kept)
    known = sorted({day.date for day in kept})
    return Step(
        "days kept", events, events + sum(day.events for day in kept),
        f"added: {len(found)} days, {min(found)} to {max(found)}; kept, and not read from the log "
        f"again: {len(known)} days, {known[0]} to {known[-1]}; replaced: {replaced} events of days "
        "that were kept before",
    )  # fmt: skip


def read(spark: SparkSession, place: str, days: Sequence[Day]) -> DataFrame:
    """EVENTS of kept days.

    Args:
        spark: the session
        place: of the dataset
        days: at least one

    Raises:
        DataError: a day is not there any more
    """
    return tables.read(spark, _root(place), EVENTS, [day.path for day in days])


def write(events: DataFrame, version: str, found: dict[str, int]) -> tuple[Day, ...]:
    """Keeps events by date.

    Args:
        events: EVENTS
        version: URL of the dataset's version that they are of
        found: events of each date
    """
    name = version.rsplit("/", 1)[-1]
    parts = -(-max(found.values()) // _EVENTS_PER_FILE)
    part = F.pmod(F.xxhash64("user_id", "timestamp"), F.lit(parts))
    dated = events.withColumn(_DATE, _date()).repartition(_DATE, part)
    schema = {**EVENTS, _DATE: "string"}
    tables.write(dated, kept_by(version), schema, partition_by=(_DATE,))
    return tuple(Day(date, f"{name}/{_DATE}={date}", count, name) for date, count in found.items())


def kept_by(version: str) -> str:
    """The URL of the days that a version has kept."""
    place, name = version.rsplit("/versions/", 1)
    return files.join(_root(place), name)


def dates(events: DataFrame) -> set[str]:
    """The dates of events."""
    return {row[0] for row in events.select(_date()).distinct().collect()}


def _root(place: str) -> str:
    return files.join(files.as_url(place), _FOLDER)


def _date() -> Column:
    seconds = F.floor(F.col("timestamp") / MICROSECONDS_PER_SECOND)
    return F.date_format(F.timestamp_seconds(seconds), "yyyy-MM-dd")
