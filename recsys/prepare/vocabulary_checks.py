"""The certificate's checks of the vocabulary: counted and sorted anew, from the events of train."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from recsys.config import Prepare
from recsys.prepare.certificate import Check, none_of
from recsys.schemas import FIRST_ITEM, UNKNOWN

# Of an item: events of train, and of valid.
Counts = Mapping[str, tuple[int, int]]


def vocabulary_checks(
    vocabulary: DataFrame,
    recounted: DataFrame,
    catalogue: DataFrame | None,
    prepare: Prepare,
    former: DataFrame | None = None,
) -> list[Check]:
    """The vocabulary is what the train events alone give, counted and sorted anew, and its tail
    what validation and the catalogue add.

    Args:
        vocabulary: as written
        recounted: item_id, train and valid: how many events of each; an item may come again
        catalogue: with item_id, or none
        prepare: the least count of an item, and the tail
        former: the vocabulary of the version that days were added to, which stays; or none
    """
    before = [] if former is None else [r.item_id for r in former.orderBy("item_index").collect()]
    counts = {**dict.fromkeys(before, (0, 0)), **_counts(vocabulary, recounted, prepare, former)}
    of_train, tail = _ranges(counts, before, prepare)
    if prepare.vocabulary_tail == "catalogue" and catalogue is not None:
        offered = {row.item_id for row in catalogue.select("item_id").collect()}
        tail += sorted(offered - {*of_train, *tail})
    order, written = [*of_train, *tail], vocabulary.collect()
    differing = _that_differ(written, order, counts)
    wrong = sum(place < len(of_train) for place in differing)
    size = len(written) if len({row.item_index for row in written}) == len(written) else 0
    behind = ", behind those of the version that days were added to" if before else ""
    return [
        Check(
            "vocabulary from train alone",
            f"the {len(of_train)} items that train gives, with its counts, in its order{behind}",
            f"{wrong} entries that differ",
            not wrong,
        ),
        Check(
            "vocabulary behind train",
            f"the {len(tail)} items that {prepare.vocabulary_tail} adds, in order",
            f"{len(differing) - wrong} entries that differ",
            len(differing) == wrong,
        ),
        Check("vocabulary entries", f"{len(order)}", f"{size}", size == len(order)),
    ]


def written_checks(used: DataFrame, item_events: DataFrame, train_events: int) -> list[Check]:
    """What is written of train has as many events of each item as the vocabulary says.

    Args:
        used: the entries of the vocabulary that sequences know
        item_events: ITEM_EVENTS, of what is written
        train_events: of all items, and of none
    """
    both = used.select("item_index", "train_count").join(item_events, "item_index", "full")
    counts = [F.coalesce(name, F.lit(0)) for name in ("train_count", "events")]
    is_wrong = (counts[0] != counts[1]) & (F.col("item_index") != UNKNOWN)
    found = both.agg(F.sum("events").alias("events"), F.count_if(is_wrong).alias("wrong")).first()
    events, wrong = (found["events"] or 0, found["wrong"]) if found else (0, 0)
    name = "events of train as written"
    return [
        Check(name, f"{train_events}", f"{events}", events == train_events),
        none_of("items whose events of train as written the vocabulary does not have", wrong),
    ]


def _counts(
    vocabulary: DataFrame, recounted: DataFrame, prepare: Prepare, former: DataFrame | None
) -> Counts:
    """Of the items that may be in the vocabulary; of what is written wrongly, too."""
    known = recounted.groupBy("item_id").agg(
        F.sum("train").alias("train"), F.sum("valid").alias("valid")
    )
    named = vocabulary.select("item_id")
    if former is not None:
        named = named.unionByName(former.select("item_id")).distinct()
    asked = F.col("is_named").isNotNull() | (F.col("train") >= prepare.vocabulary_min_count)
    if prepare.vocabulary_tail != "none":
        asked |= F.col("valid") > 0
    marked = known.join(named.withColumn("is_named", F.lit(True)), on="item_id", how="left")
    return {row.item_id: (row.train, row.valid) for row in marked.where(asked).collect()}


def _ranges(counts: Counts, before: Sequence[str], prepare: Prepare) -> tuple[list[str], list[str]]:
    """The items of train, behind those that were there before, and what validation adds."""
    least, has_tail = prepare.vocabulary_min_count, prepare.vocabulary_tail != "none"
    stay = set(before)
    new = {item: found for item, found in counts.items() if item not in stay}
    head = sorted((-train, item) for item, (train, _) in new.items() if train >= least)
    behind = sorted(
        (-valid, item)
        for item, (train, valid) in new.items()
        if has_tail and train < least <= train + valid and valid
    )
    return [*before, *(item for _, item in head)], [item for _, item in behind]


def _that_differ(written: Iterable[Row], order: Sequence[str], counts: Counts) -> list[int]:
    """The places of the entries that are not what is expected there."""
    wrong = []
    for row in written:
        place = row.item_index - FIRST_ITEM
        expected = order[place] if 0 <= place < len(order) else None
        counted = counts.get(row.item_id, (0, 0))
        if (row.item_id, row.train_count, row.valid_count) != (expected, *counted):
            wrong.append(place)
    return wrong
