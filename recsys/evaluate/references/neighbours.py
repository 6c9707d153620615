"""Those who did alike: user-based collaborative filtering, and V-SkNN for sessions.

The past sessions (or users' histories) that share items with a case's own are found, and the
nearest of them recommend what they hold. What a case's own session or history has left in train is
none of them: nobody is nearer to it.

Shapes: U units (sessions or users), from the latest on; q items of a case; m pairs of one of these
and a unit that holds it; c units; n neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from recsys.config import Fading
from recsys.evaluate.cases import Batch
from recsys.evaluate.references.system import (
    Floats,
    Longs,
    Table,
    Training,
    above_popularity,
    known_histories,
)
from recsys.evaluate.references.units import item_sets, user_numbers

# Latest distinct items of a past session or history.
_MOST_ITEMS = 200

# How the weight of an item falls with its place before the end, of `length` (both from 1 on).
_FADINGS: dict[str, Callable[[Floats, int], Floats]] = {
    "none": lambda back, length: np.ones_like(back),
    "linear": lambda back, length: 1 - (back - 1) / length,
    "quadratic": lambda back, length: np.square(1 - (back - 1) / length),
    "harmonic": lambda back, length: 1 / back,
}


@dataclass(frozen=True)
class Past:
    """Sessions or users of train: 28 bytes of each, and 8 of each of its items.

    Args:
        items: the distinct items of each unit
        units: the units that hold each item, rising, so the latest first
        user: of each unit, as of user_numbers, rising [U]
        of_user: the units in the order of their users [U]
        end: the latest event of each of these, seconds since the epoch [U]
    """

    items: Table
    units: Table
    user: Longs
    of_user: Longs
    end: Longs

    @classmethod
    def of(cls, items: pa.ListArray, user: Longs, end: Longs, vocabulary_size: int) -> Past:
        """From the distinct items, the user and the latest event of each unit [U]."""
        length = items.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
        unit = np.repeat(np.arange(len(length)), length)
        item = items.flatten().to_numpy()
        by_user = np.argsort(user, kind="stable")
        return cls(
            items=Table.of(len(length), unit, item),
            units=Table.of(vocabulary_size, item, unit),
            user=user[by_user],
            of_user=by_user,
            end=end[by_user],
        )

    def own(self, user: int, since: int) -> Longs:
        """The units of a user that have not ended before an instant."""
        first, last = (np.searchsorted(self.user, user, side=side) for side in ("left", "right"))
        return self.of_user[first:last][self.end[first:last] >= since]


def past(training: Training, within: str, most_units: int) -> Past:
    """The latest sessions or users of train."""
    sets = item_sets(training.histories, within, _MOST_ITEMS)
    latest = sets.orderBy(F.col("timestamp").desc(), "items", "user").limit(most_units).toArrow()
    items = pa.concat_arrays(latest.column("items").chunks or [pa.array([], pa.list_(pa.int32()))])
    user, end = (latest.column(name).to_numpy() for name in ("user", "timestamp"))
    return Past.of(items, user, end, training.vocabulary_size)


@dataclass(frozen=True)
class Neighbours:
    """The nearest past sessions or users recommend what they hold.

    Args:
        name: of the reference
        past: of train
        popularity: of each item [V]
        neighbours: n
        candidates: so many of the latest that share an item are compared; 0 compares all
        fading: how the weight of an item falls with its place before the end of the case's own
        vote_fading: how a neighbour's vote falls with the place of the latest item that it shares
        regularisation: none takes the sum of the weights of the shared items as similarity; else
            it goes over sqrt((own items + this) * (the other's items + this))
        latest_session: whether the case's own is its latest session, or its whole history
        most_items: latest of the case's own
    """

    name: str
    past: Past
    popularity: Floats
    neighbours: int
    candidates: int = 0
    fading: Fading = "none"
    vote_fading: Fading = "none"
    regularisation: float | None = None
    latest_session: bool = False
    most_items: int = 200

    def scores(self, batch: Batch) -> Floats:
        """The sum of the similarities of the neighbours that hold the item [N, V]."""
        scores_NV = np.zeros((len(batch), len(self.popularity)))
        user_N = user_numbers(batch.user_id)[batch.row]
        for case, item_q, since in self._own(batch):
            unit_n, vote_n = self._votes(item_q, self.past.own(user_N[case], since))
            of, entry = self.past.items.entries(unit_n)
            item = self.past.items.column[entry]
            scores_NV[case] = np.bincount(item, vote_n[of], minlength=len(self.popularity))
        return above_popularity(scores_NV, self.popularity)

    def _own(self, batch: Batch) -> Iterator[tuple[int, Longs, int]]:
        """Each case with its distinct known items, the latest first, and when the first was."""
        for case, place_n in known_histories(batch, self.latest_session):
            latest_n = batch.events.item[place_n[::-1]].astype(np.int64)
            _, first = np.unique(latest_n, return_index=True)
            since = int(batch.events.timestamp[place_n[0]])
            yield case, latest_n[np.sort(first)][: self.most_items], since

    def _votes(self, item_q: Longs, own: Longs) -> tuple[Longs, Floats]:
        """The nearest units but for the own [n], and what each votes with [n]."""
        back_q = np.arange(1.0, len(item_q) + 1)
        of, entry = self.past.units.entries(item_q)
        unit_m = self.past.units.column[entry].astype(np.int64)
        if len(own):
            is_other_m = ~np.isin(unit_m, own)
            of, unit_m = of[is_other_m], unit_m[is_other_m]
        unit_c, of_c = np.unique(unit_m, return_inverse=True)
        weight_q = _FADINGS[self.fading](back_q, len(item_q))
        similar_c = np.bincount(of_c, weight_q[of], minlength=len(unit_c))
        if self.candidates:  # they are numbered from the latest on
            unit_c, similar_c = unit_c[: self.candidates], similar_c[: self.candidates]
        if self.regularisation is not None:
            start = self.past.items.start
            size_c = start[unit_c + 1] - start[unit_c] + self.regularisation
            similar_c = similar_c / np.sqrt(size_c * (len(item_q) + self.regularisation))
        best_n = np.argsort(-similar_c, kind="stable")[: self.neighbours]
        if self.vote_fading == "none":
            return unit_c[best_n], similar_c[best_n]
        latest_c = np.full(of_c.max(initial=-1) + 1, np.inf)
        np.minimum.at(latest_c, of_c, back_q[of])
        vote_n = _FADINGS[self.vote_fading](latest_c[best_n], len(item_q))
        return unit_c[best_n], similar_c[best_n] * vote_n


def user_knn(training: Training) -> Neighbours:
    """Users with the same items: cosine, regularised (Sarwar et al., EC 2000)."""
    settings = training.settings.user_knn
    return Neighbours(
        "user_knn",
        past(training, "sequence", settings.most_users),
        training.popularity,
        neighbours=settings.neighbours,
        regularisation=settings.regularisation,
    )


def session_knn(training: Training) -> Neighbours:
    """V-SkNN: past sessions that share what was seen last (Ludewig & Jannach, UMUAI 2018)."""
    settings = training.settings.session_knn
    return Neighbours(
        "session_knn",
        past(training, settings.within, settings.most_sessions),
        training.popularity,
        neighbours=settings.neighbours,
        candidates=settings.candidates,
        fading=settings.fading,
        vote_fading=settings.vote_fading,
        latest_session=settings.within == "session",
    )
