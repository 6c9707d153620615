"""References: methods that cost nothing, which a model must beat to be worth its training.

A reference scores the whole catalogue for each case, as the model does, and the same code ranks
the scores. It may use all that train holds and all events of a user before the step to predict,
those too that no longer fit into a row: a reference that forgets is an easy one.

Shapes: N cases, V vocabulary, n pairs of a case and an event of its history, p distinct pairs of
a case and an item.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from recsys.evaluate.cases import Batch
from recsys.schemas import FIRST_ITEM

Scores = npt.NDArray[np.float32]
Longs = npt.NDArray[np.int64]
Key = npt.NDArray[np.generic]

_SECONDS_PER_DAY = 86400.0


class System(Protocol):
    """What is evaluated: the model, and every reference."""

    @property
    def name(self) -> str:
        """As in the column `system` of the cases."""

    def scores(self, batch: Batch) -> Scores:
        """Scores of the whole catalogue for each case [N, V]; higher is better."""


@dataclass(frozen=True)
class Facts:
    """What references are fitted on.

    Args:
        bought: how often each item is a target of train [V]
        target_types: indexes of the event types that are predicted; empty means all
        half_life_days: after which an event counts half, for own_items_recent
    """

    bought: Longs
    target_types: tuple[int, ...] = ()
    half_life_days: float = 60.0

    def popularity(self) -> Scores:
        """From 0 to below 1, rising with the count [V]; the same for equal counts."""
        counts, place_V = np.unique(self.bought, return_inverse=True)
        return (place_V / len(counts)).astype(np.float32)


@dataclass(frozen=True)
class Popular:
    """The items that were bought most often in train, the same for everybody."""

    facts: Facts
    name: str = "popular"

    def scores(self, batch: Batch) -> Scores:
        """The popularity [N, V]."""
        return _for_each_case(self.facts.popularity(), batch)


@dataclass(frozen=True)
class OwnItems:
    """The user's own most bought items: by count, then by the last time, then by popularity.

    What the user never bought follows, by popularity.
    """

    facts: Facts
    name: str = "own_items"

    def keys(self, pair_n: Longs, timestamp_n: Longs, age_days_n: Key) -> tuple[Key, ...]:
        """What the own items are ordered by, for each pair [p]; the last key decides first."""
        return _latest(pair_n, timestamp_n), np.bincount(pair_n)

    def scores(self, batch: Batch) -> Scores:
        """From 1 on, own items by their place in the order; below 1 all others [N, V]."""
        scores_NV = _for_each_case(self.facts.popularity(), batch)
        items = len(self.facts.bought)
        for case_n, place_n in batch.histories():
            is_bought_n = self._bought(batch, place_n)
            case_n, place_n = case_n[is_bought_n], place_n[is_bought_n]
            distinct_p, pair_n = np.unique(
                case_n * items + batch.events.item[place_n], return_inverse=True
            )
            case_p, item_p = np.divmod(distinct_p, items)
            timestamp_n = batch.events.timestamp[place_n]
            age_days_n = (_latest(case_n, timestamp_n)[case_n] - timestamp_n) / _SECONDS_PER_DAY
            keys = self.keys(pair_n, timestamp_n, age_days_n)
            scores_NV[case_p, item_p] = 1 + _places(self.facts.bought[item_p], *keys, case_p)
        return scores_NV

    def _bought(self, batch: Batch, place_n: Longs) -> npt.NDArray[np.bool_]:
        is_known_n = batch.events.item[place_n] >= FIRST_ITEM
        if not self.facts.target_types:
            return is_known_n
        return is_known_n & np.isin(batch.events.event_type[place_n], self.facts.target_types)


@dataclass(frozen=True)
class OwnItemsRecent(OwnItems):
    """The user's own items, where each event counts half after every half-life.

    The sum over an item's events of 2 ^ -((now - timestamp) / half-life), then popularity. Now is
    the user's latest event: any later time would scale all sums of the case alike.
    """

    name: str = "own_items_recent"

    def keys(self, pair_n: Longs, timestamp_n: Longs, age_days_n: Key) -> tuple[Key, ...]:
        """The decayed counts [p]."""
        weight_n = np.exp2(-age_days_n.astype(np.float64) / self.facts.half_life_days)
        return (np.bincount(pair_n, weights=weight_n),)


def _for_each_case(scores_V: Scores, batch: Batch) -> Scores:
    return np.tile(scores_V, (len(batch), 1))


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


REFERENCES: dict[str, type[Popular] | type[OwnItems]] = {
    "popular": Popular,
    "own_items": OwnItems,
    "own_items_recent": OwnItemsRecent,
}


def fit(names: Sequence[str], facts: Facts) -> list[System]:
    """The named references, ready to score."""
    return [REFERENCES[name](facts) for name in names]
