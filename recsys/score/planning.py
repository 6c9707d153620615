"""Builds the plan on the driver, out of the configuration and the dataset's tables."""

from __future__ import annotations

import datetime
import logging
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsys import files, hashing, tables
from recsys.config import Config
from recsys.errors import ConfigError, DataError
from recsys.manifest import Manifest
from recsys.schemas import CATEGORIES, FIRST_ITEM, HISTORIES, items_schema, with_inputs
from recsys.score.catalogue import Catalogue, catalogue, check_attributes
from recsys.score.plan import Floats, Plan, Popular
from recsys.score.subjects import (
    RECENT_UNIT,
    SECONDS_PER_DAY,
    best_of_groups,
    named,
    popular_in_groups,
    popular_on_platforms,
    recent_counts,
    until,
)
from recsys.trained import Trained

log = logging.getLogger(__name__)

# What score.fallback_by may name beside an attribute of the items.
_GROUP, PLATFORM = "group", "platform"


def plan(spark: SparkSession, config: Config, dataset: Manifest, model: Trained) -> Plan:
    """How the lists are made.

    Raises:
        ConfigError: a rule names an attribute or an event type that the dataset does not have, or
            a kind of list that it or the model has nothing for
        DataError: a table that cannot be read, or nothing that may be recommended
    """
    _check(config, dataset, model)
    _warn_of_what_is_known(config, dataset, model)
    rules = config.score.rules
    by = config.score.fallback_by
    wanted = [*rules.at_most, *([by] if by not in (None, _GROUP, PLATFORM) else [])]
    url = files.join(dataset.url, "items.parquet")
    items = tables.read(spark, url, items_schema(dataset.attributes, dataset.features))
    stock = tables.read_stock(spark, rules.stock) if rules.stock.path else None
    with tables.reading("the items or score.rules.stock"):
        found = catalogue(
            items, dataset.vocabulary_size, model.known_items, rules, dict.fromkeys(wanted), stock
        )
    if lost := _lost(spark, config, dataset):
        found = replace(found, ignored={**found.ignored, "score.as_of": lost})
    result = Plan(
        kind="home",
        export=model.export,
        encoder=model.encoder,
        model_version=model.model_version,
        inputs=model.inputs,
        catalogue=found,
        score=config.score,
        known_items=model.known_items,
        of_sessions=is_of_sessions(dataset),
        exclude_history=config.ranking.exclude_history,
        bias=_bias(spark, config, dataset, found),
    )
    return result.with_fallback(_popular(spark, config, dataset, result))


def _check(config: Config, dataset: Manifest, model: Trained) -> None:
    score, rules = config.score, config.score.rules
    known = list(dataset.categories)
    check_attributes("score.rules.at_most", rules.at_most, known)
    check_attributes("score.rules.allow", rules.allow, ["item_id", *known])
    check_attributes("score.rules.deny", rules.deny, ["item_id", *known])
    by = [score.fallback_by] if score.fallback_by else []
    check_attributes("score.fallback_by", by, [_GROUP, PLATFORM, *known])
    if score.fallback_by == PLATFORM and not dataset.platforms:
        raise ConfigError(
            "score.fallback_by: expected a dataset with platforms (events.columns.platform) for "
            f"{PLATFORM}, found {dataset.url} without"
        )
    for name in rules.leave_out:
        if name not in dataset.event_types:
            types = ", ".join(dataset.event_types)
            raise ConfigError(f"score.rules.leave_out: expected one of {types}; found {name!r}")
    if score.neighbours.above_items is not None and find_spec("faiss") is None:
        raise ConfigError(
            "score.neighbours.above_items: expected the package faiss-cpu "
            "(pip install recsys[neighbours]), found none"
        )
    if not files.exists(model.encoder):
        raise DataError(
            f"{model.encoder}: expected the SavedModel of what reads histories, found none; run "
            "jobs/train.py again"
        )
    kind = "next" if is_of_sessions(dataset) else "home"
    for name in score.lists:
        if name == "pairs" and model.purchase_threshold is None:
            raise ConfigError(
                f"score.lists: expected a model with a purchase head (train.purchase_weight) for "
                f"pairs, found {model.url} without"
            )
        if name not in (kind, "similar", "pairs"):
            raise ConfigError(
                f"score.lists: expected {kind}, similar or pairs for {dataset.url}, a dataset of "
                f"{'sessions' if kind == 'next' else 'users'} (prepare.sequence_unit), found {name}"
            )


def _warn_of_what_is_known(config: Config, dataset: Manifest, model: Trained) -> None:
    """Says so where the model was trained on what happened after the lists' instant."""
    known = dataset.ends(model.trained_on) // 1_000_000
    if as_of(config, dataset) < known:
        until = datetime.datetime.fromtimestamp(known, datetime.UTC).isoformat()
        log.warning(
            "score.as_of: %s, but the model, and the popularity of items, know of events until %s",
            config.score.as_of, until,
        )  # fmt: skip


def _lost(spark: SparkSession, config: Config, dataset: Manifest) -> int:
    """How many have done more since the lists' instant than a history holds; says so in the log."""
    instant = cut_after(config, dataset)
    if instant is None:
        return 0
    url = files.join(dataset.url, "histories")
    stored = tables.read(spark, url, with_inputs(HISTORIES, dataset.inputs))
    is_full = F.size("item") >= dataset.sequence_length
    with tables.reading(url):
        lost = stored.where(is_full & (F.array_min("timestamp") > instant)).count()
    if lost:
        log.warning(
            "score.as_of: %s, but the histories of %d, of %d events each, begin later: to their "
            "lists they are without any (prepare.sequence_length)",
            config.score.as_of, lost, dataset.sequence_length,
        )  # fmt: skip
    return lost


def is_of_sessions(dataset: Manifest) -> bool:
    """Whether the dataset's histories are of sessions, not of users."""
    prepare, columns = dataset.config["prepare"], dataset.config["events"]["columns"]
    return prepare["sequence_unit"] == "session" or columns["user_id"] is None


def _popular(
    spark: SparkSession, config: Config, dataset: Manifest, plan: Plan
) -> dict[str, Popular]:
    """Group to what is popular there and may be recommended."""
    by = config.score.fallback_by
    if by is None:
        return {}
    if by not in (_GROUP, PLATFORM):
        return _of_values(spark, dataset, plan, by)
    histories = _histories(spark, config, dataset)
    if by == PLATFORM:
        counts = popular_on_platforms(histories, dataset.platforms)
    else:
        counts = popular_in_groups(histories, subjects(spark, config))
    allowed = spark.createDataFrame(pa.table({"item_index": plan.catalogue.allowed}))
    best = best_of_groups(counts, allowed, plan.popular_items).orderBy("group", "place")
    with tables.reading("the histories or score.subjects, for score.fallback_by"):
        table = best.toArrow().to_pandas()
    return {
        str(group): Popular.counted(rows["item_index"].to_numpy(), rows["count"].to_numpy())
        for group, rows in table.groupby("group", sort=False)
    }


def _histories(spark: SparkSession, config: Config, dataset: Manifest) -> DataFrame:
    """Of everybody, up to the lists' instant."""
    schema = with_inputs(HISTORIES, dataset.inputs)
    stored = tables.read(spark, files.join(dataset.url, "histories"), schema)
    return until(stored, cut_after(config, dataset))


def _bias(spark: SparkSession, config: Config, dataset: Manifest, found: Catalogue) -> Floats:
    """What each item scores with everybody, beyond what the model says [V]."""
    rules = config.score.rules
    if not rules.popularity or rules.half_life_days is None:
        return np.asarray(rules.popularity * found.log_count, np.float32)
    histories = _histories(spark, config, dataset)
    counts = recent_counts(histories, as_of(config, dataset), rules.half_life_days)
    with tables.reading("the histories, for score.rules.half_life_days"):
        table = counts.toArrow()
    count_V = np.zeros(len(found.train_count))
    count_V[table.column("item_index").to_numpy()] = table.column("count").to_numpy() / RECENT_UNIT
    return np.asarray(rules.popularity * np.log1p(count_V), np.float32)


def _of_values(
    spark: SparkSession, dataset: Manifest, plan: Plan, attribute: str
) -> dict[str, Popular]:
    """Value of an attribute to the popular items that have it."""
    url = files.join(dataset.url, "categories.parquet")
    named = tables.read(spark, url, CATEGORIES).where(F.col("attribute") == attribute)
    with tables.reading(url):
        names = {row["value_index"]: row["value"] for row in named.collect()}
    everything = plan.catalogue
    by_count = np.argsort(-everything.train_count[everything.allowed], kind="stable")
    item_N = everything.allowed[by_count]
    value_NC = everything.values[attribute][item_N]
    value, item = value_NC.ravel(), np.repeat(item_N, value_NC.shape[1])
    by_value = np.argsort(value, kind="stable")
    value, item = value[by_value], item[by_value]
    found, first = np.unique(value, return_index=True)
    ends = np.minimum(np.append(first[1:], len(value)), first + plan.popular_items)
    return {
        names[index]: Popular.counted(item[start:end], everything.train_count[item[start:end]])
        for index, start, end in zip(found.tolist(), first, ends, strict=True)
        if index >= FIRST_ITEM
    }


def subjects(spark: SparkSession, config: Config) -> DataFrame:
    """Who gets a list, as the configuration names them."""
    return _keyed(config, named(tables.read_subjects(spark, config.score.subjects)))


def pairs(spark: SparkSession, config: Config) -> DataFrame:
    """The pairs that a probability is asked for, as the configuration names them."""
    table = tables.read_pairs(spark, config.score.pairs).select(
        F.col("id").cast("string").alias("user_id"), F.col("item_id").cast("string")
    )
    return _keyed(config, table)


def _keyed(config: Config, table: DataFrame) -> DataFrame:
    """The table with user_id as the dataset stores it."""
    key = hashing.key_of(config.events)
    return table if key is None else hashing.keyed(table, ("user_id",), key)


def left_out_since(config: Config, dataset: Manifest) -> dict[int, int | None]:
    """Index of an event type to the earliest second at which such an event leaves an item out."""
    now = as_of(config, dataset)
    return {
        dataset.event_types.index(name) + FIRST_ITEM: (
            None if days is None else int(now - days * SECONDS_PER_DAY)
        )
        for name, days in config.score.rules.leave_out.items()
    }


def as_of(config: Config, dataset: Manifest) -> int:
    """The instant that the lists are made for, in seconds since the epoch."""
    if config.score.as_of is None:
        return dataset.last_event // 1_000_000
    return instant(config.score.as_of)


def cut_after(config: Config, dataset: Manifest) -> int | None:
    """The second after which no event counts; none where there are no such events."""
    now = as_of(config, dataset)
    return now if now < dataset.last_event // 1_000_000 else None


def instant(text: str) -> int:
    """Seconds since the epoch of a time in ISO 8601, UTC where it names no zone."""
    when = datetime.datetime.fromisoformat(text)
    if when.tzinfo is None:
        when = when.replace(tzinfo=datetime.UTC)
    return int(when.timestamp())
