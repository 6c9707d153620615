"""The second pass, over train alone: vocabulary, event types, categories, and their tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys import files
from recsys.config import Config
from recsys.errors import ConfigError, DataError
from recsys.manifest import Step
from recsys.prepare import dense, features, tfidf
from recsys.prepare.catalogue import check as check_items
from recsys.prepare.days import Former
from recsys.prepare.events import input_arrays, input_columns
from recsys.prepare.parts import Parted
from recsys.prepare.split import PART
from recsys.prepare.statistics import KINDS as STATISTICS
from recsys.prepare.statistics import TALLIED, statistics
from recsys.prepare.tally import met, tally, tally_schema
from recsys.prepare.vocabulary import came_with_valid, train_counts, vocabulary
from recsys.prepare.walk import Walk
from recsys.prepare.work import Work, together
from recsys.schemas import CATEGORIES, EVENT_NUMBERS, FIRST_ITEM, NO_SPLIT, VOCABULARY, items_schema

# Of event types, and of platforms.
_MOST_NAMES = 200


@dataclass(frozen=True)
class Indexes:
    """What stands for what.

    Args:
        vocabulary: VOCABULARY, as written
        items: of schemas.items_schema(), as written
        used: those of it that sequences know: not what has become too rare since days are added
        event_types: from index FIRST_ITEM on
        by_type: events of each of them, of all splits and of none
        of_no_split: events
        platforms: from index FIRST_ITEM on
        inputs: the arrays of events that not every dataset has, with the number of their indexes,
            which is 0 where they are numbers
        step: of the manifest
        ranges: entries of the vocabulary that are of train, came with valid, with the catalogue
        fingerprint: of the item ids in their order
        categories: attribute to the number of its indexes
        features: feature to the length of its vectors
    """

    vocabulary: DataFrame
    items: DataFrame
    used: DataFrame
    event_types: tuple[str, ...]
    by_type: dict[str, int]
    of_no_split: int
    platforms: tuple[str, ...]
    inputs: dict[str, int]
    step: Step
    ranges: tuple[int, int, int]
    fingerprint: str
    categories: dict[str, int]
    features: dict[str, int]


def index(
    work: Work, parted: Parted, catalogue: DataFrame | None, former: Former | None = None
) -> Indexes:
    """Counts train, and writes vocabulary, categories and items.

    Args:
        work: where to
        parted: events with PART
        catalogue: item_id and the attributes, or none
        former: the version whose indexes stay, or none

    Raises:
        ConfigError: a type of targets or purchases that train does not have
        DataError: more event types or platforms than a log of behaviour has
    """
    prepare = work.config.prepare
    columns = TALLIED if prepare.item_statistics else ("item_id", "event_type")
    tallied = work.stage(tally(parted.source, *columns), "tally", tally_schema(*columns))
    found = vocabulary(tallied, catalogue, prepare, former.vocabulary if former else None)
    has_platforms = "platform" in input_columns(work.config)
    types, platforms, of_no_split, known = together(
        lambda: _names(tallied, "event_type", former.manifest.event_types if former else ()),
        lambda: _platforms(parted.source, former) if has_platforms else (),
        lambda: tallied.agg(met(F.col(PART) == NO_SPLIT)).collect()[0][0] or 0,
        lambda: work.keep(found, "vocabulary.parquet", VOCABULARY),
    )
    for key in ("target_event_types", "purchase_event_types"):
        for name in getattr(prepare, key):
            if name not in types:
                raise ConfigError(
                    f"prepare.{key}: expected types that train has "
                    f"({', '.join(types)}), found {name!r}"
                )
    in_order, (items, categories, lengths) = together(
        lambda: sorted(known.collect(), key=lambda row: row.item_index),
        lambda: _write_features(work, known, tallied, catalogue, tuple(types), former),
    )
    least = prepare.vocabulary_min_count
    of_train = [row for row in in_order if former or row.train_count >= least]
    tail = in_order[len(of_train) :]
    of_valid = sum(came_with_valid(row.train_count, row.valid_count, least) for row in tail)
    if not of_train:
        raise DataError(
            f"{', '.join(work.config.events.path)}: expected items with at least "
            f"{prepare.vocabulary_min_count} events in train (prepare.vocabulary_min_count), "
            "found none"
        )
    train_events = sum(own.train_count for own in types.values())
    known_events = sum(
        row.train_count for row in in_order if not former or row.train_count >= least
    )
    unknown = train_events - known_events
    used = sum(row.train_count >= least for row in of_train)
    added = f", and {len(tail)} behind them ({prepare.vocabulary_tail})" if tail else ""
    step = Step(
        "vocabulary", train_events, train_events,
        f"{used} items with at least {least} events in train{added}; all else is the unknown item: "
        f"{unknown} of its events, searches among them",
    )  # fmt: skip
    return Indexes(
        vocabulary=known,
        items=items,
        used=known.where(F.col("train_count") >= least) if former else known,
        event_types=tuple(types),
        by_type={name: own.events for name, own in types.items()},
        of_no_split=of_no_split,
        platforms=platforms,
        inputs=_inputs(work.config, platforms),
        step=step,
        ranges=(len(of_train), of_valid, len(tail) - of_valid),
        fingerprint=files.fingerprint(row.item_id for row in in_order),
        categories=categories,
        features=lengths,
    )


def _inputs(config: Config, platforms: tuple[str, ...]) -> dict[str, int]:
    sizes = {"platform": len(platforms) + FIRST_ITEM, **dict.fromkeys(EVENT_NUMBERS, 0)}
    of_word = config.prepare.query_buckets + 1
    return {name: sizes.get(name, of_word) for name in input_arrays(config)}


class _Count(NamedTuple):
    """Of the events that have a value."""

    train_count: int
    events: int


def _platforms(events: DataFrame | Walk, former: Former | None) -> tuple[str, ...]:
    before = former.manifest.platforms if former else ()
    return tuple(_names(tally(events, "platform"), "platform", before))


def _names(tallied: DataFrame, column: str, former: tuple[str, ...]) -> dict[str, _Count]:
    """The former values and those of train, with their counts; by falling count, ties by name."""
    rows = train_counts(tallied, column).limit(_MOST_NAMES + 1).collect()
    if len(rows) > _MOST_NAMES:
        raise DataError(
            f"events.columns.{column}: expected at most {_MOST_NAMES} different values in train, "
            f"found more, such as {rows[0][column]!r}"
        )
    found = {
        row[column]: _Count(row.train_count, row.events) for row in rows if row[column] is not None
    }
    in_order = sorted(found, key=lambda name: (-found[name].train_count, name))
    return {**dict.fromkeys(former, _Count(0, 0)), **{name: found[name] for name in in_order}}


def _write_features(
    work: Work,
    known: DataFrame,
    tallied: DataFrame,
    catalogue: DataFrame | None,
    event_types: tuple[str, ...],
    former: Former | None,
) -> tuple[DataFrame, dict[str, int], dict[str, int]]:
    """Writes categories and items: items, the number of each attribute's indexes, and vectors'
    lengths.
    """
    prepare, own = work.config.prepare, work.config.items
    attributes, kinds, least = own.categorical, own.dense, prepare.vocabulary_min_count
    items = features.attach(known, catalogue)
    named = features.categories(items, attributes, former.categories if former else None)
    table = work.keep(named, "categories.parquet", CATEGORIES)
    sizes = check_items(catalogue, own) if catalogue is not None else {}
    by = dict.fromkeys(kinds, prepare.numbers)
    if prepare.item_statistics:
        items = statistics(tallied, items, event_types, own.first_category, least)
        kinds, sizes = {**kinds, **STATISTICS}, {**sizes, "conversion": len(event_types)}
        by |= dict.fromkeys(STATISTICS, "standard")
    lengths = dense.widths(kinds, sizes, prepare)
    texts = [name for name, kind in kinds.items() if kind == "text"]
    reductions = {
        name: tfidf.fitted(items, name, lengths[name], work.config.seed, least)
        for name in texts if prepare.text_method == "tfidf_svd"
    }  # fmt: skip
    found = dense.vectors(items, kinds, lengths, by, reductions, least) if kinds else None
    with_all = features.item_table(items, table, attributes, found)
    written = work.keep(with_all, "items.parquet", items_schema(attributes, lengths))
    counts = {row.attribute: row["count"] for row in table.groupBy("attribute").count().collect()}
    return written, {name: counts.get(name, 0) + FIRST_ITEM for name in attributes}, lengths
