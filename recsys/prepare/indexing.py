"""The second pass, over train alone: vocabulary, event types, categories, and their tables."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys import files
from recsys.errors import ConfigError, DataError
from recsys.manifest import Step
from recsys.prepare import features
from recsys.prepare.days import Former
from recsys.prepare.vocabulary import came_with_valid, train_counts, vocabulary
from recsys.prepare.work import Work, together
from recsys.schemas import CATEGORIES, FIRST_ITEM, VOCABULARY, items_schema

_MOST_EVENT_TYPES = 200


@dataclass(frozen=True)
class Indexes:
    """What stands for what.

    Args:
        vocabulary: VOCABULARY, as written
        used: those of it that sequences know: not what has become too rare since days are added
        event_types: from index FIRST_ITEM on
        step: of the manifest
        ranges: entries of the vocabulary that are of train, came with valid, with the catalogue
        fingerprint: of the item ids in their order
        categories: attribute to the number of its indexes
    """

    vocabulary: DataFrame
    used: DataFrame
    event_types: tuple[str, ...]
    step: Step
    ranges: tuple[int, int, int]
    fingerprint: str
    categories: dict[str, int]


def index(
    work: Work, events: DataFrame, catalogue: DataFrame | None, former: Former | None = None
) -> Indexes:
    """Counts train, and writes vocabulary, categories and items.

    Args:
        work: where to
        events: with PART
        catalogue: item_id and the attributes, or none
        former: the version whose indexes stay, or none

    Raises:
        ConfigError: a type of targets or purchases that train does not have
        DataError: more event types than a log of behaviour has
    """
    prepare = work.config.prepare
    found = vocabulary(events, catalogue, prepare, former.vocabulary if former else None)
    type_counts, known = together(
        lambda: _event_types(events, former.manifest.event_types if former else ()),
        lambda: work.keep(found, "vocabulary.parquet", VOCABULARY),
    )
    for key in ("target_event_types", "purchase_event_types"):
        for name in getattr(prepare, key):
            if name not in type_counts:
                raise ConfigError(
                    f"prepare.{key}: expected types that train has "
                    f"({', '.join(type_counts)}), found {name!r}"
                )
    in_order, categories = together(
        lambda: sorted(known.collect(), key=lambda row: row.item_index),
        lambda: _write_features(work, known, catalogue, former),
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
    train_events = sum(type_counts.values())
    known_events = sum(
        row.train_count for row in in_order if not former or row.train_count >= least
    )
    unknown = train_events - known_events
    added = f", and {len(tail)} behind them ({prepare.vocabulary_tail})" if tail else ""
    step = Step(
        "vocabulary", train_events, train_events,
        f"{len(of_train)} items with at least {least} events in train{added}; the others are the "
        f"unknown item: {unknown} of its events",
    )  # fmt: skip
    return Indexes(
        vocabulary=known,
        used=known.where(F.col("train_count") >= least) if former else known,
        event_types=tuple(type_counts),
        step=step,
        ranges=(len(of_train), of_valid, len(tail) - of_valid),
        fingerprint=files.fingerprint(row.item_id for row in in_order),
        categories=categories,
    )


def _event_types(events: DataFrame, former: tuple[str, ...]) -> dict[str, int]:
    """The former ones and those of train, with their counts; by falling count, ties by name."""
    rows = train_counts(events, "event_type").limit(_MOST_EVENT_TYPES + 1).collect()
    if len(rows) > _MOST_EVENT_TYPES:
        raise DataError(
            f"events.columns.event_type: expected at most {_MOST_EVENT_TYPES} types of events, "
            f"found more, such as {rows[0].event_type!r}"
        )
    in_order = sorted((-row.train_count, row.event_type) for row in rows)
    return {**dict.fromkeys(former, 0), **{event_type: -count for count, event_type in in_order}}


def _write_features(
    work: Work, known: DataFrame, catalogue: DataFrame | None, former: Former | None
) -> dict[str, int]:
    attributes = work.config.items.attributes
    items = features.attach(known, catalogue)
    found = features.categories(items, attributes, former.categories if former else None)
    table = work.keep(found, "categories.parquet", CATEGORIES)
    schema = items_schema(attributes)
    work.keep(features.item_table(items, table, attributes), "items.parquet", schema)
    sizes = {row.attribute: row["count"] for row in table.groupBy("attribute").count().collect()}
    return {name: sizes.get(name, 0) + FIRST_ITEM for name in attributes}
