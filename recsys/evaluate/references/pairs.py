"""Items that go with items: item kNN, association rules, sequential rules.

All three are a table of what each item speaks for, counted from pairs of items in sessions (or in
users' histories); a history is asked item by item.

Shapes: V vocabulary, E events of some units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from recsys.config import AssociationRules, ItemKnn, SequentialRules
from recsys.evaluate.cases import Batch
from recsys.evaluate.references import units
from recsys.evaluate.references.system import (
    Floats,
    Longs,
    Table,
    Training,
    above_popularity,
    query,
    spoken_for,
)
from recsys.evaluate.references.units import Units

Pairs = tuple[Longs, Longs, Longs]  # item, item that it speaks for, weight

# Weights are summed as whole numbers: the same whatever the order. Divides by 1 to 10.
_UNIT = 2520 << 10
# Latest events of a session or history that make pairs.
_MOST_EVENTS = 200
# Pairs that a task keeps before it sums them up.
_PAIRS_AT_ONCE = 1 << 22
_PAIRS = "item int, other int, weight bigint"


@dataclass(frozen=True)
class ItemsToItems:
    """What the items of a history speak for.

    Args:
        name: of the reference
        table: of each item, what it speaks for and how much
        popularity: of each item [V]
        decay: of the weight of a history's item with every step that it lies back
    """

    name: str
    table: Table
    popularity: Floats
    decay: float

    def scores(self, batch: Batch) -> Floats:
        """The weighted sum of what the history's items say [N, V]."""
        asked = query(batch, self.decay)
        said_NV = spoken_for(asked, self.table, len(batch), len(self.popularity))
        return above_popularity(said_NV, self.popularity)


def item_knn(training: Training) -> ItemsToItems:
    """Items that are in the same sessions: cosine, regularised for rare ones.

    together / sqrt((own + regularisation) * (other's + regularisation)), in numbers of sessions
    (Hidasi et al., ICLR 2016, 4).
    """
    settings = training.settings.item_knn
    counted = _counted(training, settings.within, together)
    own = counted.where("item = other").select("item", "weight")
    root_V = np.sqrt(training.by_item(own) / _UNIT + settings.regularisation)
    pairs = _both_ways(counted.where("item < other"))
    roots = training.histories.sparkSession.createDataFrame(
        pa.table({"other": pa.array(np.arange(len(root_V)), pa.int32()), "root": root_V})
    )
    # The own root is the same for all of an item's neighbours and changes no order among them,
    # but counts where several items of a history speak.
    own_root = roots.toDF("item", "own_root")
    rooted = pairs.join(roots, on="other").join(own_root, on="item")
    cosine = F.col("weight") / F.lit(float(_UNIT)) / (F.col("root") * F.col("own_root"))
    return _fitted("item_knn", training, rooted, cosine, settings)


def association_rules(training: Training) -> ItemsToItems:
    """Items that are in the same sessions, by how often (Ludewig & Jannach, UMUAI 2018, AR)."""
    settings = training.settings.association_rules
    pairs = _both_ways(_counted(training, settings.within, together).where("item < other"))
    return _fitted("association_rules", training, pairs, F.col("weight"), settings)


def sequential_rules(training: Training) -> ItemsToItems:
    """Items that follow in the same sessions: each time 1 / the steps between.

    Ludewig & Jannach, UMUAI 2018, SR; no more than `steps` apart.
    """
    settings = training.settings.sequential_rules

    def following(events: Units) -> Iterator[Pairs]:
        return follow(events, settings.steps)

    pairs = _counted(training, settings.within, following)
    return _fitted("sequential_rules", training, pairs, F.col("weight"), settings)


def together(events: Units) -> Iterator[Pairs]:
    """Each unordered pair of distinct items of each unit, and each item with itself, once."""
    own = events.latest(_MOST_EVENTS).distinct()
    for here, there in _apart(own, with_itself=True):
        yield own.item[here], own.item[there], np.full(len(here), _UNIT)


def follow(events: Units, steps: int) -> Iterator[Pairs]:
    """Each item with those of later steps of its unit, 1 / the steps between."""
    own = events.latest(_MOST_EVENTS)
    for here, there in _apart(own, with_itself=False):
        between = own.number[there] - own.number[here]
        is_near = (between > 0) & (between <= steps) & (own.item[here] != own.item[there])
        here, there, between = here[is_near], there[is_near], between[is_near]
        yield own.item[here], own.item[there], np.rint(_UNIT / between).astype(np.int64)


def _apart(events: Units, with_itself: bool) -> Iterator[tuple[Longs, Longs]]:
    """The places of all pairs within a unit, by how far apart they stand."""
    here = np.arange(len(events.unit))
    if with_itself:
        yield here, here
    for distance in range(1, _MOST_EVENTS):
        here = here[here + distance < len(events.unit)]
        here = here[events.unit[here] == events.unit[here + distance]]
        if len(here) == 0:
            return
        yield here, here + distance


def _counted(
    training: Training, within: str, pairs_of: Callable[[Units], Iterator[Pairs]]
) -> DataFrame:
    """The summed weight of each pair (_PAIRS)."""

    def work(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        kept: list[Pairs] = []
        for events in units.read(batches, within):
            for pairs in pairs_of(events):
                kept.append(pairs)
                if sum(len(own[0]) for own in kept) > _PAIRS_AT_ONCE:
                    yield _summed(kept)
                    kept = []
        if kept:
            yield _summed(kept)

    pairs = training.histories.select("user_id", "history").mapInArrow(work, _PAIRS)
    return pairs.groupBy("item", "other").agg(F.sum("weight").alias("weight"))


def _summed(kept: list[Pairs]) -> pa.RecordBatch:
    item, other, weight = (np.concatenate([own[place] for own in kept]) for place in range(3))
    most = int(other.max(initial=0)) + 1
    key, of = np.unique(item * most + other, return_inverse=True)
    total = np.zeros(len(key), np.int64)
    np.add.at(total, of, weight)
    columns = [
        pa.array(key // most, pa.int32()), pa.array(key % most, pa.int32()), pa.array(total)
    ]  # fmt: skip
    return pa.RecordBatch.from_arrays(columns, names=["item", "other", "weight"])


def _both_ways(pairs: DataFrame) -> DataFrame:
    turned = pairs.select(F.col("other").alias("item"), F.col("item").alias("other"), "weight")
    return pairs.unionByName(turned)


def _fitted(
    name: str,
    training: Training,
    pairs: DataFrame,
    value: Column,
    settings: ItemKnn | AssociationRules | SequentialRules,
) -> ItemsToItems:
    """Of each item those that it speaks for most; of equals those with the lower index."""
    order = Window.partitionBy("item").orderBy(F.col("value").desc(), F.col("other"))
    best = (
        pairs.select("item", "other", value.cast("double").alias("value"))
        .withColumn("place", F.row_number().over(order))
        .where(F.col("place") <= settings.neighbours)
        .select("item", "other", "value")
        .toArrow()
    )
    item, other, values = (best.column(name).to_numpy() for name in ("item", "other", "value"))
    order_n = np.lexsort((other, item))
    values = values / max(values.max(initial=0), np.finfo(float).tiny)
    table = Table.of(training.vocabulary_size, item[order_n], other[order_n], values[order_n])
    return ItemsToItems(name, table, training.popularity, settings.decay)
