"""What every system is: fitted on train with Spark, it scores the whole catalogue for a case.

The model and all references are ranked by the same code, from their scores. A reference may use
all that train holds, and all events of a user before the step to predict, those too that no longer
fit into a row: a reference that forgets is an easy one. What a reference cannot tell apart, the
items that it says nothing of among them, stands by popularity.

Shapes: N cases, V vocabulary, q pairs of a case and an item of its history.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys.config import Evaluate
from recsys.evaluate.cases import Batch
from recsys.schemas import FIRST_ITEM

Scores = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]
Ints = npt.NDArray[np.int32]

# An instant after all others.
NEVER = int(np.iinfo(np.int64).max)
# Of a case's highest score: what differs by less is alike, as sums of single precision say no more.
_LEVELS = 2.0**20
# Pairs of an item of a history and one that it speaks for, spread out at once.
_PAIRS_AT_ONCE = 1 << 22


class System(Protocol):
    """What is evaluated: the model, and every reference."""

    @property
    def name(self) -> str:
        """As in the column `system` of the cases."""

    def scores(self, batch: Batch) -> Scores:
        """Scores of the whole catalogue for each case [N, V]; higher is better."""


@dataclass(frozen=True)
class Training:
    """What references are fitted on.

    Args:
        histories: of train, as of histories.whole
        vocabulary_size: V
        settings: the references' own
        category: the attribute that tells kinds of items apart; none without one
        target_types: indexes of the event types that are predicted; empty means all
        attributes: the indexes of each item's values of each attribute, at least one each
        attribute_sizes: how many values each attribute has, reserved ones counted
        vectors: of the items' numbers, texts and given vectors [V, M]; zeros where no item is
        seed: of what draws
    """

    histories: DataFrame
    vocabulary_size: int
    settings: Evaluate = field(default_factory=Evaluate)
    category: str | None = None
    target_types: tuple[int, ...] = ()
    attributes: Mapping[str, Table] = field(default_factory=dict)
    attribute_sizes: Mapping[str, int] = field(default_factory=dict)
    vectors: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    seed: int = 1

    @cached_property
    def events(self) -> DataFrame:
        """Those of known items: user_id, number, item, event_type, timestamp."""
        event = self.histories.select("user_id", F.explode("history").alias("event"))
        names = ("number", "item", "event_type", "timestamp")
        named = event.select("user_id", *(F.col(f"event.{name}") for name in names))
        return named.where(F.col("item") >= FIRST_ITEM)

    @property
    def bought(self) -> DataFrame:
        """The events of the types that are predicted."""
        if not self.target_types:
            return self.events
        return self.events.where(F.col("event_type").isin(list(self.target_types)))

    @cached_property
    def counts(self) -> Longs:
        """How often each item is bought in train [V]."""
        return self.by_item(self.bought.groupBy("item").count())

    @cached_property
    def popularity(self) -> Floats:
        """From 0 to below 1, rising with the count [V]; the same for equal counts."""
        return places(self.counts)

    @property
    def first_seen(self) -> Longs:
        """The instant of each item's first event [V]; NEVER where there is none."""
        return self.by_item(self.events.groupBy("item").agg(F.min("timestamp")), NEVER)

    def by_item(self, frame: DataFrame, otherwise: int = 0) -> Longs:
        """A table of item and number as an array [V]."""
        table = frame.toArrow()
        values_V = np.full(self.vocabulary_size, otherwise, np.int64)
        values_V[table.column(0).to_numpy()] = table.column(1).to_numpy()
        return values_V


def places(counts_V: npt.NDArray[Any]) -> Floats:
    """From 0 to below 1, rising with the count [V]; the same for equal counts.

    >>> places(np.array([0, 0, 7, 3]))
    array([0.        , 0.        , 0.66666667, 0.33333333])
    """
    counts, place_V = np.unique(counts_V, return_inverse=True)
    return np.asarray(place_V / len(counts))


def above_popularity(scores_NV: Floats, popularity_V: Floats) -> Floats:
    """Scores whose ties popularity breaks [N, V]; what scores 0 follows by popularity alone."""
    lowest_N1 = np.minimum(scores_NV.min(axis=1, keepdims=True), 0)
    range_N1 = scores_NV.max(axis=1, keepdims=True) - lowest_N1
    levels_NV = scores_NV - lowest_N1
    levels_NV *= _LEVELS / np.where(range_N1 > 0, range_N1, 1)
    np.rint(levels_NV, out=levels_NV)
    levels_NV += popularity_V
    return np.asarray(levels_NV)


def known_histories(batch: Batch, latest_session: bool = False) -> Iterator[tuple[int, Longs]]:
    """Each case whose history has a known item, and where among the events all such are, in time.

    Args:
        batch: of the cases
        latest_session: as of Batch.histories
    """
    for case_n, place_n in batch.histories(latest_session):
        is_known_n = batch.events.item[place_n] >= FIRST_ITEM
        case_n, place_n = case_n[is_known_n], place_n[is_known_n]
        cases, start = np.unique(case_n, return_index=True)
        # Nothing is before the first start; where there is no case, there is nothing at all.
        for case, own in zip(cases, np.split(place_n, start)[1:], strict=True):
            yield int(case), own


@dataclass(frozen=True)
class Query:
    """The distinct known items of each case's history, by case.

    Args:
        case: [q]
        item: [q]
        weight: [q]
    """

    case: Longs
    item: Longs
    weight: Floats


def query(batch: Batch, decay: float) -> Query:
    """The items of the histories, weighted by how many steps ago they were last.

    Steps are counted back from the latest that has a known item: what was searched for since, or
    the vocabulary lacks, is nothing to ask and pushes nothing back.

    Args:
        batch: the cases
        decay: an item of that step weighs 1, one of n steps before it decay ** n
    """
    parts = []
    for case_n, place_n in batch.histories():
        item_n = batch.events.item[place_n].astype(np.int64)
        is_known_n = item_n >= FIRST_ITEM
        case_n, place_n, item_n = case_n[is_known_n], place_n[is_known_n], item_n[is_known_n]
        number_n = batch.events.number[place_n]
        latest_n = np.searchsorted(case_n, case_n, side="right") - 1
        weight_n = np.power(decay, (number_n[latest_n] - number_n).astype(float))
        is_asked = weight_n > 0
        parts.append(_distinct(case_n[is_asked], item_n[is_asked], weight_n[is_asked]))
    return Query(*(np.concatenate([part[place] for part in parts]) for place in range(3)))


def _distinct(case_n: Longs, item_n: Longs, weight_n: Floats) -> tuple[Longs, Longs, Floats]:
    """The latest of each case's events of an item; events are in time."""
    most = int(item_n.max(initial=0)) + 1
    key_q, from_end_q = np.unique((case_n * most + item_n)[::-1], return_index=True)
    return key_q // most, key_q % most, weight_n[::-1][from_end_q]


@dataclass(frozen=True)
class Table:
    """What each row of a table has, one row after the other.

    Args:
        start: where each row starts, and the end of the last
        column: of each entry
        value: of each entry; none where all are 1
    """

    start: Longs | Ints
    column: Ints
    value: npt.NDArray[np.float32] | None = None

    @classmethod
    def of(
        cls, rows: int, row: Longs, column: Ints, value: npt.NDArray[Any] | None = None
    ) -> Table:
        """From entries in any order; those of a row keep theirs."""
        order = np.argsort(row, kind="stable")
        start = np.searchsorted(row[order], np.arange(rows + 1))
        if len(row) <= np.iinfo(np.int32).max:
            start = start.astype(np.int32)
        values = None if value is None else value[order].astype(np.float32)
        return cls(start, column[order].astype(np.int32), values)

    def entries(self, row_n: Longs) -> tuple[Longs, Longs]:
        """Of rows, one after the other: which of the n each entry is of, and its place."""
        length_n = self.start[row_n + 1] - self.start[row_n]
        skipped_n = np.cumsum(length_n) - length_n
        of = np.repeat(np.arange(len(row_n)), length_n)
        return of, np.arange(length_n.sum()) + np.repeat(self.start[row_n] - skipped_n, length_n)


def spoken_for(asked: Query, table: Table, cases: int, items: int) -> Floats:
    """The sum of what a history's items say of each item, times their weights [N, V]."""
    result = np.zeros((cases, items))
    for here in _parts(asked, table):
        of, entry = table.entries(asked.item[here])
        case = asked.case[here][of]
        first, last = int(case.min(initial=0)), int(case.max(initial=-1)) + 1
        key = (case - first) * items + table.column[entry]
        weight = asked.weight[here][of]
        if table.value is not None:
            weight = weight * table.value[entry]
        added = np.bincount(key, weight, minlength=max(last - first, 0) * items)
        result[first:last] += added.reshape(-1, items)
    return result


def _parts(asked: Query, table: Table) -> Iterator[slice]:
    """Pairs of the query, so many that their entries fit into memory."""
    entries_q = np.cumsum(table.start[asked.item + 1] - table.start[asked.item])
    part_q = entries_q // _PAIRS_AT_ONCE
    edges = [0, *(np.nonzero(np.diff(part_q))[0] + 1).tolist(), len(part_q)]
    for start, end in itertools.pairwise(edges):
        if end > start:
            yield slice(start, end)
