"""What is written of each subject, in all splits and of its whole history.

Rows go in pieces, as bytes, to the bucket of their subject: to sort them one by one took Spark
twice as long. A bucket is looked at at once, but for subjects of very many steps, of which it sees
so many at a time.

Shapes: U subjects, S splits.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import asdict, dataclass
from operator import add, itemgetter

import numpy as np
import pyarrow as pa
from pandas.util import hash_array
from pyspark.sql import DataFrame

from recsys.arrays import arrow_schema
from recsys.prepare.bundles import as_bytes, as_table, opened
from recsys.prepare.cutting import Ints
from recsys.prepare.facts import NEVER
from recsys.schemas import NO_SPLIT, SPLITS, ddl

_Table = dict[str, Ints]

# How a subject's rows are taken together, those of a split, or those that are stored; and what
# stands where there are none.
_OF_SPLITS: dict[str, tuple[np.ufunc, int]] = {
    "first_step": (np.minimum, NEVER),
    "end_step": (np.maximum, -NEVER),
    "case_steps": (np.add, 0),
    "first_target_time": (np.minimum, NEVER),
    "last_time": (np.maximum, -NEVER),
}
_STORED: dict[str, tuple[np.ufunc, int]] = {"start": (np.minimum, NEVER), "events": (np.add, 0)}
# What a row of the one kind has of the other's columns.
_EMPTY: dict[str, int] = {
    "split": NO_SPLIT, "last_step": -1,
    **{name: empty for name, (_, empty) in (_OF_SPLITS | _STORED).items()}, "first_step": -1,
}  # fmt: skip

# Rows of some of a bucket's users, as bytes; of those that ask for something, those whose first
# target step is in the chunk.
SCATTERED: dict[str, str] = {"bucket": "int", "chunk": "int", "rows": "binary"}
_CHUNK = 2**16  # steps
_AT_ONCE = 250_000  # rows that become pieces
_OF_BUCKET = 500_000  # rows, about


@dataclass
class Found:
    """What was found of all subjects, or of some.

    Args:
        events: that are stored
        overlaps: rows with a target step that an earlier row of the subject has too, be it of the
            same split or another one; by split
        reaching: subjects with a row that reaches into a later split
        several: subjects with rows of several splits
        alone: subjects with a row of test and none of valid
        most_case_steps: of a subject, by split
        first_start: of the subjects of each split; NEVER where there are none
        last_start: likewise
    """

    events: int
    overlaps: list[int]
    reaching: int
    several: int
    alone: int
    most_case_steps: list[int]
    first_start: list[int]
    last_start: list[int]

    def and_those(self, other: Found) -> Found:
        """Of the subjects of both."""
        return Found(
            events=self.events + other.events,
            overlaps=list(map(add, self.overlaps, other.overlaps)),
            reaching=self.reaching + other.reaching,
            several=self.several + other.several,
            alone=self.alone + other.alone,
            most_case_steps=list(map(max, self.most_case_steps, other.most_case_steps)),
            first_start=list(map(min, self.first_start, other.first_start)),
            last_start=list(map(max, self.last_start, other.last_start)),
        )


_NOTHING = Found(
    0, [0] * len(SPLITS), 0, 0, 0, [0] * len(SPLITS),
    [NEVER] * len(SPLITS), [-NEVER] * len(SPLITS),
)  # fmt: skip
_FOUND: dict[str, str] = {
    name: "bigint" if isinstance(value, int) else "array<bigint>"
    for name, value in asdict(_NOTHING).items()
}


def buckets_of(rows: int) -> int:
    """Into how many buckets so many rows go."""
    return max(1, -(-rows // _OF_BUCKET))


def seen(on_disk: DataFrame, stored: DataFrame, buckets: int) -> Found:
    """Looks at all that is written of every subject.

    Args:
        on_disk: FACTS
        stored: STORED
        buckets: of which each is looked at at once
    """
    names = {"user_id", "split", "last_step", *_OF_SPLITS, *_STORED}

    def scatter(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return _scatter((_those_of(spans, names) for spans in opened(batches)), buckets)

    def look(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        pieces = (row for batch in batches for row in batch.to_pylist())
        for _, of_bucket in itertools.groupby(pieces, key=itemgetter("bucket")):
            bucket = Bucket()
            for _, of_chunk in itertools.groupby(of_bucket, key=itemgetter("chunk")):
                bucket.feed([as_table(row["rows"]) for row in of_chunk])
            yield pa.RecordBatch.from_pylist([asdict(bucket.finish())])

    # A task reads files of the one kind, or of the other.
    every = on_disk.select("spans").unionAll(stored.select("spans"))
    pieces = every.mapInArrow(scatter, ddl(SCATTERED))
    together = pieces.repartition("bucket").sortWithinPartitions("bucket", "chunk")
    found = _NOTHING
    for row in together.mapInArrow(look, ddl(_FOUND)).collect():
        found = found.and_those(Found(**row.asDict()))
    return found


def _those_of(table: pa.Table, names: Set[str]) -> pa.Table:
    return table.select([name for name in table.column_names if name in names])


def _scatter(tables: Iterable[pa.Table], buckets: int) -> Iterator[pa.RecordBatch]:
    """Pieces of tables with a user_id, as bytes: of each user all rows are in one bucket."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(map(len, waiting)) >= _AT_ONCE:
            yield from _pieces(pa.concat_tables(waiting), buckets)
            waiting = []
    if waiting:
        yield from _pieces(pa.concat_tables(waiting), buckets)


def _pieces(table: pa.Table, buckets: int) -> Iterator[pa.RecordBatch]:
    bucket = hash_array(table["user_id"].to_numpy(), categorize=False) % buckets
    chunk = np.maximum(_column(table, "first_step", 0), 0) // _CHUNK
    order = np.lexsort((chunk, bucket))
    in_order, rows = np.stack([bucket, chunk]).astype(np.int32)[:, order], table.take(order)
    opens = (np.diff(in_order, axis=1, prepend=-1) != 0).any(axis=0)
    for begin, end in itertools.pairwise([*np.flatnonzero(opens).tolist(), len(rows)]):
        piece = dict(zip(SCATTERED, in_order[:, begin].tolist(), strict=False))
        piece["rows"] = as_bytes(rows.slice(begin, end - begin).combine_chunks())
        yield pa.RecordBatch.from_pylist([piece], schema=arrow_schema(SCATTERED))


class Bucket:
    """Feed it all rows of some subjects, chunk by chunk, then finish it."""

    def __init__(self) -> None:
        self._overlaps = np.zeros(len(SPLITS), np.int64)
        self._users: list[pa.Array] = []
        self._tables: list[_Table] = []
        self._last: dict[str, int] = {}  # of each subject before the last chunk: of its last row
        self._of_last_chunk: tuple[pa.Array, Ints] | None = None

    def feed(self, tables: Sequence[pa.Table]) -> None:
        """Looks at the rows of a chunk, in any order.

        Args:
            tables: SPANS, or start and events, each with user_id
        """
        names, code, columns = _in_order([table for table in tables if len(table)])
        begin = np.flatnonzero(np.diff(code, prepend=-1))
        users = names.take(pa.array(code[begin]))
        first, last, split = (columns[name] for name in ("first_step", "last_step", "split"))
        before = np.append(-1, last[:-1])
        before[begin] = self._last_of(users)
        again = (first <= before) & (split < NO_SPLIT)
        self._overlaps += np.bincount(split[again], minlength=len(SPLITS))
        self._users.append(users)
        self._tables.append(_together(columns, begin))
        self._of_last_chunk = users, last[np.append(begin[1:], len(last)) - 1]

    def _last_of(self, users: pa.Array) -> Ints:
        """The last target step of each one's last row in the chunks before; or -1."""
        if self._of_last_chunk is None:
            return np.full(len(users), -1)
        known, last = self._of_last_chunk
        self._last.update(zip(known.to_pylist(), last.tolist(), strict=True))
        return np.array([self._last.get(user, -1) for user in users.to_pylist()], np.int64)

    def finish(self) -> Found:
        """What was found of all of them."""
        users = pa.chunked_array(self._users).combine_chunks().dictionary_encode()
        code = users.indices.to_numpy()
        order = np.argsort(code, kind="stable")
        begin = np.flatnonzero(np.diff(code[order], prepend=-1))
        table = {
            name: how.reduceat(np.concatenate([own[name] for own in self._tables])[order], begin)
            for name, (how, _) in (_OF_SPLITS | _STORED).items()
        }
        return _found(table, self._overlaps.tolist())


def _in_order(tables: Sequence[pa.Table]) -> tuple[pa.Array, Ints, _Table]:
    """The names of subjects, the place of each row's among them, and its numbers.

    Sorted by subject, first and last target step.
    """
    users = pa.concat_tables([table.select(["user_id"]) for table in tables])["user_id"]
    encoded = users.combine_chunks().dictionary_encode()
    code = encoded.indices.to_numpy()
    columns = {
        name: np.concatenate([_column(table, name, empty) for table in tables])
        for name, empty in _EMPTY.items()
    }
    order = np.lexsort((columns["last_step"], columns["first_step"], code))
    in_order = {name: column[order] for name, column in columns.items()}
    return encoded.dictionary, code[order], in_order


def _column(table: pa.Table, name: str, empty: int) -> Ints:
    if name not in table.column_names:
        return np.full(len(table), empty, dtype=np.int64)
    return np.asarray(table[name].to_numpy().astype(np.int64))


def _together(columns: _Table, begin: Ints) -> _Table:
    """The rows of each subject: [U, S] of the splits, [U] of what is stored."""
    masks = [columns["split"] == split for split in range(len(SPLITS))]
    table = {
        name: np.stack(
            [how.reduceat(np.where(own, columns[name], empty), begin) for own in masks], axis=1
        )
        for name, (how, empty) in _OF_SPLITS.items()
    }
    return table | {name: how.reduceat(columns[name], begin) for name, (how, _) in _STORED.items()}


def _found(table: _Table, overlaps: list[int]) -> Found:
    """Of whole subjects."""
    first_US, end_US, cases_US = (table[name] for name in ("first_step", "end_step", "case_steps"))
    time_US, last_US = table["first_target_time"], table["last_time"]
    has_US = first_US < NEVER
    reaches = (end_US[:, 0] >= first_US[:, 1:].min(axis=1)) | (end_US[:, 1] >= first_US[:, 2])
    # What a row says of its place may be wrong: its times say the same.
    reaches |= (last_US[:, 0] > time_US[:, 1:].min(axis=1)) | (last_US[:, 1] > time_US[:, 2])
    start_US = table["start"][:, None]
    return Found(
        events=int(table["events"].sum()),
        overlaps=overlaps,
        reaching=int(reaches.sum()),
        several=int((has_US.sum(axis=1) > 1).sum()),
        alone=int((has_US[:, 2] & ~has_US[:, 1]).sum()),
        most_case_steps=cases_US.max(axis=0, initial=0).tolist(),
        first_start=np.where(has_US, start_US, NEVER).min(axis=0, initial=NEVER).tolist(),
        last_start=np.where(has_US, start_US, -NEVER).max(axis=0, initial=-NEVER).tolist(),
    )
