"""The second pass, over train alone: vocabulary, event types, categories, and their tables."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import DataFrame

from recsys import files
from recsys.errors import ConfigError
from recsys.manifest import Step
from recsys.prepare import features
from recsys.prepare.cleaning import Clean
from recsys.prepare.split import SplitTimes
from recsys.prepare.vocabulary import indexed, train_counts, vocabulary
from recsys.prepare.work import Work
from recsys.schemas import CATEGORIES, FIRST_ITEM, VOCABULARY, items_schema


@dataclass(frozen=True)
class Indexes:
    """What stands for what.

    Args:
        vocabulary: VOCABULARY, as written
        event_types: event_type and type_index
        step: of the manifest
        items: entries of the vocabulary
        fingerprint: of the item ids in their order
        event_type_names: from index FIRST_ITEM on
        categories: attribute to the number of its indexes
    """

    vocabulary: DataFrame
    event_types: DataFrame
    step: Step
    items: int
    fingerprint: str
    event_type_names: tuple[str, ...]
    categories: dict[str, int]


def index(work: Work, clean: Clean, times: SplitTimes) -> Indexes:
    """Counts train, and writes vocabulary, categories and items.

    Raises:
        ConfigError: a target type that train does not have
    """
    prepare, train = work.config.prepare, times.valid_start
    types = indexed(train_counts(clean.events, "event_type", train), "event_type", "type_index")
    type_rows = sorted(types.collect(), key=lambda row: row.type_index)
    names = tuple(row.event_type for row in type_rows)
    for name in prepare.target_event_types:
        if name not in names:
            raise ConfigError(
                f"prepare.target_event_types: expected types that train has "
                f"({', '.join(names)}), found {name!r}"
            )
    found = vocabulary(clean.events, train, prepare.vocabulary_min_count)
    known = work.keep(found, "vocabulary.parquet", VOCABULARY)
    in_order = sorted(known.collect(), key=lambda row: row.item_index)
    train_events = sum(row.train_count for row in type_rows)
    unknown = train_events - sum(row.train_count for row in in_order)
    step = Step(
        "vocabulary", train_events, train_events,
        f"{len(in_order)} items; those with fewer than {prepare.vocabulary_min_count} events in "
        f"train are the unknown item: {unknown} of its events",
    )  # fmt: skip
    return Indexes(
        vocabulary=known,
        event_types=work.spark.createDataFrame(
            [(row.event_type, row.type_index) for row in type_rows],
            "event_type string, type_index int",
        ),
        step=step,
        items=len(in_order),
        fingerprint=files.fingerprint(row.item_id for row in in_order),
        event_type_names=names,
        categories=_write_features(work, known, clean.items),
    )


def _write_features(work: Work, known: DataFrame, catalogue: DataFrame | None) -> dict[str, int]:
    attributes = tuple(work.config.items.attributes)
    items = features.attach(known, catalogue)
    table = work.keep(features.categories(items, attributes), "categories.parquet", CATEGORIES)
    schema = items_schema(attributes)
    work.keep(features.item_table(items, table, attributes), "items.parquet", schema)
    sizes = {row.attribute: row["count"] for row in table.groupBy("attribute").count().collect()}
    return {name: sizes.get(name, 0) + FIRST_ITEM for name in attributes}
