"""The work of one Spark task: histories (or items) in, lists out.

A worker process loads once what reads histories, and maps what its machine knows of the items. An
executor has as many of them as tasks at a time; spark.task.cpus makes fewer, of more threads each.

Shapes: B users, K length of a list, W width of a vector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark import Broadcast, SparkContext, TaskContext
from pyspark.sql import DataFrame

from recsys import cache, saved_model
from recsys.encoding import Encode, Pairs, Rows
from recsys.reasons import reasons
from recsys.saved_model import Encoder
from recsys.schemas import FIRST_ITEM, PADDING, ddl
from recsys.score import histories, mapped
from recsys.score.arrange import Lists
from recsys.score.maker import ListMaker
from recsys.score.pairs import Purchases
from recsys.score.plan import EVERYBODY, VECTORS, Plan
from recsys.score.table import to_table
from recsys.score.users import Vectors

Batches = Iterable[pa.RecordBatch]


def scored(subjects: DataFrame, plan: Plan) -> DataFrame:
    """The lists of the subjects.

    Args:
        subjects: user_id, the arrays of the plan's inputs, and, where the plan's rules need them,
            left_out and group; of similar items: item_index; of pairs also candidate_id and
            candidate
        plan: what the lists shall be

    Returns:
        the plan's schema
    """
    sent = _sent(subjects.sparkSession.sparkContext, plan)
    return subjects.mapInArrow(_work(sent), ddl(plan.schema))


# The plan that the executors have; one is worked on at a time.
_plans: dict[tuple[str, ...], Broadcast[Plan]] = {}


def _sent(context: SparkContext, plan: Plan) -> Broadcast[Plan]:
    """The plan on its way to the executors, once for all parts: it names every item."""
    key = (context.applicationId, *_named(plan))
    if key not in _plans:
        _plans.clear()
        _plans[key] = context.broadcast(plan)
    return _plans[key]


def _work(sent: Broadcast[Plan]) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    def work(batches: Batches) -> Iterator[pa.RecordBatch]:
        plan = sent.value
        for batch in batches:
            if batch.num_rows == 0:
                continue
            worker = _worker(plan)
            ordered = worker.in_order(batch)
            for start in range(0, batch.num_rows, plan.score.batch_users):
                yield worker.lists(ordered.slice(start, plan.score.batch_users))

    return work


class Maker(Protocol):
    """Makes the rows of a kind of list; a process keeps one of them."""

    def __init__(self, plan: Plan) -> None: ...

    def in_order(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The subjects of a batch, those that are scored together side by side."""

    def lists(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows of a block of at most batch_users subjects."""


_workers: dict[tuple[str, str], Maker] = {}


def _named(plan: Plan) -> tuple[str, str]:
    """Tells the plan from others; computed where it is made, and sent along."""
    return plan.fingerprint, plan.export


def _worker(plan: Plan) -> Maker:
    """The process's own, kept from task to task."""
    name = _named(plan)
    if name not in _workers:
        _workers.clear()
        cache.let_go()
        saved_model.limit_threads(_cores())
        _workers[name] = _MAKERS.get(plan.kind, Histories)(plan)
    return _workers[name]


class Histories:
    """Lists for users or sessions, from their histories."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        allowed = plan.catalogue.allowed
        explored = plan.explored if plan.score.rules.explore_share else allowed[:0]
        wanted = {"reads": mapped.reads(plan), "scores": mapped.scores(plan, allowed)}
        if len(explored):
            wanted["rare"] = mapped.scores(plan, explored)
        found = mapped.made(plan, wanted)
        self._encoder = Encoder(plan.encoder, found["reads"])
        exact = mapped.shelf(plan, allowed, found["scores"])
        self._shelf = mapped.with_index(plan, exact, "scores", _cores())
        rare = mapped.shelf(plan, explored, found["rare"]) if len(explored) else None
        self._maker = ListMaker(plan, self._shelf, rare, width=-1)

    @staticmethod
    def in_order(batch: pa.RecordBatch) -> pa.RecordBatch:
        """By length, so that short histories are not padded to long ones."""
        return histories.by_length(batch)

    def lists(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The lists of a block of at most batch_users."""
        plan, count = self._plan, batch.num_rows
        rows = histories.read(batch, plan.block_rows, plan.arrays)
        encode = partial(
            histories.encode, self._encoder, names=batch.column("user_id"),
            rules=plan.score.rules,
        )  # fmt: skip
        has_history_B = plan.is_known(rows["item"]).any(axis=1)
        if has_history_B.any():
            lists = self._lists(batch, rows, encode)
        else:
            lists = plan.lists(len(has_history_B))
        lists.size[~has_history_B] = 0
        self._fall_back(lists, batch)
        reason_BK = None
        if plan.score.reason:
            item_vectors = self._shelf.vectors(lists.item)
            reason_BK = reasons(rows, lists.item, item_vectors, encode)[..., 0]
            reason_BK[lists.is_from("fallback")] = PADDING
        subject = batch.column("user_id")
        return to_table(plan, subject, lists.first(count), reason_BK)

    def _lists(self, batch: pa.RecordBatch, rows: Rows, encode: Encode) -> Lists:
        encoded = encode(rows)
        pairs = [encoded.pairs]
        if self._plan.exclude_history:
            pairs.append(histories.in_history(rows["item"]))
        if self._plan.score.rules.leave_out:
            pairs.append(histories.left_out(batch))
        explored_B = self._plan.explore_places(batch.column("user_id"), len(encoded.vectors))
        return self._maker.make(encoded.vectors, Pairs.joined(pairs), explored_B)

    def _fall_back(self, lists: Lists, batch: pa.RecordBatch) -> None:
        """Fills the lists that are empty."""
        empty = np.flatnonzero(lists.size[: batch.num_rows] == 0)
        if len(empty) == 0:
            return
        groups = list(self._plan.fallback)
        code = np.full(len(empty), groups.index(EVERYBODY))
        if "group" in batch.schema.names:
            found = pc.index_in(batch.column("group").take(pa.array(empty)), pa.array(groups))
            code = found.fill_null(groups.index(EVERYBODY)).to_numpy()
        for place in np.unique(code):
            chosen = empty[code == place]
            lists.replace(chosen, self._plan.fallback[groups[place]].repeated(len(chosen)))
        if self._plan.score.rules.leave_out:
            for row, place in zip(empty, code, strict=True):
                self._leave_out(lists, row, groups[place], batch.column("left_out")[row].values)

    def _leave_out(self, lists: Lists, row: np.intp, group: str, left_out: pa.Array) -> None:
        """Takes what a user's rules leave out from its fallback, unless that is all there is."""
        if np.isin(lists.item[row], left_out).any():
            others = self._plan.fallback_without(group, np.asarray(left_out))
            if others.size[0] > 0:
                lists.replace(np.array([row]), others)


class Items:
    """Lists of similar items, from the cosines of item vectors; of unknown ones what is popular."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        everything = np.arange(FIRST_ITEM, len(plan.catalogue.train_count), dtype=np.int32)
        allowed = plan.catalogue.allowed
        wanted = {"all": everything, "allowed": allowed}
        found = mapped.made(
            plan, {name: mapped.directions(plan, items) for name, items in wanted.items()}
        )
        self._all = found["all"]
        exact = mapped.shelf(plan, allowed, found["allowed"])
        shelf = mapped.with_index(plan, exact, "directions", _cores())
        self._maker = ListMaker(plan, shelf, None, width=self._all.shape[1])

    @staticmethod
    def in_order(batch: pa.RecordBatch) -> pa.RecordBatch:
        """As it is."""
        return batch

    def lists(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The lists of a block of at most batch_users items."""
        item = np.asarray(batch.column("item_index"))
        padded = np.resize(item, self._plan.block_rows)
        row = np.arange(len(padded), dtype=np.int32)
        itself = Pairs(row, padded, np.full(len(padded), -np.inf, np.float32))
        vectors_BD = self._all[padded - FIRST_ITEM]
        lists = self._maker.make(vectors_BD, itself)
        unknown = np.flatnonzero(~self._plan.is_known(padded))
        lists.replace(unknown, self._plan.fallback[EVERYBODY].repeated(len(unknown)))
        subject = self._plan.catalogue.item_id.take(pa.array(item))
        return to_table(self._plan, subject, lists.first(len(item)), None)


_MAKERS: dict[str, type[Maker]] = {"similar": Items, "pairs": Purchases, VECTORS: Vectors}


def _cores() -> int:
    """Of one task."""
    task = TaskContext.get()
    return task.cpus() if task else 1
