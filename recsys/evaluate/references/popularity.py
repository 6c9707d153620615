"""What is popular: with everybody, lately, in the session, with the user.

Shapes: N cases, V vocabulary, n pairs of a case and an event of its history, p distinct pairs of
a case and an item.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pyspark.sql import functions as F

from recsys.evaluate.cases import Batch
from recsys.evaluate.references.system import Floats, Longs, Training, places
from recsys.schemas import FIRST_ITEM

Key = npt.NDArray[np.generic]

_SECONDS_PER_DAY = 86400.0
# Decayed counts are summed as whole numbers: the same whatever the order of the events.
_UNIT = 1 << 30


@dataclass(frozen=True)
class Everybody:
    """The same list for every case.

    Args:
        name: of the reference
        score: of each item [V]
    """

    name: str
    score: Floats

    def scores(self, batch: Batch) -> Floats:
        """The score [N, V]."""
        return np.tile(self.score, (len(batch), 1))


def popular(training: Training) -> Everybody:
    """The items that were bought most often in train."""
    return Everybody("popular", training.popularity)


def popular_recent(training: Training) -> Everybody:
    """The same, where an event counts half after every half-life before the latest.

    Before any later instant all would count less alike, until nothing is left of them.
    """
    half_life, bought = training.settings.popular_recent.half_life_days, training.bought
    latest = bought.agg(F.max("timestamp")).collect()[0][0]
    days = (F.lit(latest) - F.col("timestamp")) / F.lit(_SECONDS_PER_DAY)
    weight = F.round(F.pow(F.lit(2.0), -days / F.lit(half_life)) * F.lit(_UNIT)).cast("bigint")
    decayed = bought.groupBy("item").agg(F.sum(weight).alias("weight"))
    return Everybody("popular_recent", places(training.by_item(decayed)))


@dataclass(frozen=True)
class OwnItems:
    """The user's own most bought items: by count, then by the last time, then by popularity.

    What the user never bought follows, by popularity.

    Args:
        counts: how often each item is bought in train [V]
        target_types: indexes of the event types that are predicted; empty means all
        name: of the reference
    """

    counts: Longs
    target_types: tuple[int, ...] = ()
    name: str = "own_items"
    latest_session = False

    def keys(self, pair_n: Longs, timestamp_n: Longs, age_days_n: Floats) -> tuple[Key, ...]:
        """What the own items are ordered by, for each pair [p]; the last key decides first."""
        return _latest(pair_n, timestamp_n), np.bincount(pair_n)

    def scores(self, batch: Batch) -> Floats:
        """From 1 on, own items by their place in the order; below 1 all others [N, V]."""
        scores_NV = np.tile(places(self.counts), (len(batch), 1))
        items = len(self.counts)
        for case_n, place_n in batch.histories(self.latest_session):
            is_bought_n = self._bought(batch, place_n)
            case_n, place_n = case_n[is_bought_n], place_n[is_bought_n]
            distinct_p, pair_n = np.unique(
                case_n * items + batch.events.item[place_n], return_inverse=True
            )
            case_p, item_p = np.divmod(distinct_p, items)
            timestamp_n = batch.events.timestamp[place_n]
            age_days_n = (_latest(case_n, timestamp_n)[case_n] - timestamp_n) / _SECONDS_PER_DAY
            keys = self.keys(pair_n, timestamp_n, age_days_n)
            scores_NV[case_p, item_p] = 1 + _places(self.counts[item_p], *keys, case_p)
        return scores_NV

    def _bought(self, batch: Batch, place_n: Longs) -> npt.NDArray[np.bool_]:
        is_known_n = batch.events.item[place_n] >= FIRST_ITEM
        if not self.target_types:
            return is_known_n
        return is_known_n & np.isin(batch.events.event_type[place_n], self.target_types)


@dataclass(frozen=True)
class OwnItemsRecent(OwnItems):
    """The user's own items, where each event counts half after every half-life.

    The sum over an item's events of 2 ^ -((now - timestamp) / half-life), then popularity. Now is
    the user's latest event: any later time would scale all sums of the case alike.
    """

    name: str = "own_items_recent"
    half_life_days: float = 60.0

    def keys(self, pair_n: Longs, timestamp_n: Longs, age_days_n: Floats) -> tuple[Key, ...]:
        """The decayed counts [p]."""
        weight_n = np.exp2(-age_days_n.astype(np.float64) / self.half_life_days)
        return (np.bincount(pair_n, weights=weight_n),)


@dataclass(frozen=True)
class InSession(OwnItems):
    """The items of the latest session, by count, then by popularity (Hidasi et al., ICLR 2016)."""

    name: str = "in_session"
    latest_session = True

    def keys(self, pair_n: Longs, timestamp_n: Longs, age_days_n: Floats) -> tuple[Key, ...]:
        """The counts [p]."""
        return (np.bincount(pair_n),)


def own_items(training: Training) -> OwnItems:
    """The user's own items, the most frequent first."""
    return OwnItems(training.counts, training.target_types)


def own_items_recent(training: Training) -> OwnItemsRecent:
    """The user's own items, recent ones first."""
    half_life = training.settings.own_items_recent.half_life_days
    return OwnItemsRecent(training.counts, training.target_types, half_life_days=half_life)


def in_session(training: Training) -> InSession:
    """The items of the latest session."""
    return InSession(training.counts, training.target_types)


def _latest(group_n: Longs, timestamp_n: Longs) -> Longs:
    """The latest timestamp of each group."""
    latest = np.zeros(group_n.max(initial=-1) + 1, np.int64)
    np.maximum.at(latest, group_n, timestamp_n)
    return latest


def _places(*keys: Key) -> Longs:
    """Each entry's place in the order of the keys, the last of which decides first.

    Equal entries share a place, so that ties stay ties.

    >>> _places(np.array([5, 7, 5, 5]), np.array([1, 1, 0, 0]))
    array([1, 2, 0, 0])
    """
    order = np.lexsort(keys)
    differs = np.zeros(len(order), bool)
    for key in keys:
        differs[1:] |= key[order][1:] != key[order][:-1]
    place = np.empty(len(order), np.int64)
    place[order] = np.cumsum(differs)
    return place
