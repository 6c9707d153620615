"""What is written of each subject, in all splits and of its whole history: one sort, one pass.

Shapes: U subjects, S splits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from operator import add

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys.prepare.cutting import Ints, changes
from recsys.prepare.facts import NEVER, spans
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


def seen(on_disk: DataFrame, stored: DataFrame) -> Found:
    """Looks at all that is written of every subject.

    Args:
        on_disk: FACTS
        stored: of writing.stored()
    """
    names = ("user_id", "split", "last_step", *_OF_SPLITS)
    nothing = {"split": NO_SPLIT, "first_step": -1, "last_step": -1}
    of_stored = [F.lit(nothing.get(name, 0)).alias(name) for name in names if name != "user_id"]
    of_spans = [F.lit(empty).alias(name) for name, (_, empty) in _STORED.items()]
    # The left one decides of the size of batches, and those of FACTS are of one row.
    rows = stored.select("user_id", *of_stored, *_STORED).unionByName(
        spans(on_disk, *names).select(*names, *of_spans)
    )
    # The number first: it decides nearly every comparison of the sort.
    in_order = rows.repartition("user_id").sortWithinPartitions(
        F.xxhash64("user_id"), "user_id", "first_step", "last_step"
    )

    def look(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        stream = Subjects()
        for batch in batches:
            stream.feed(batch)
        yield pa.RecordBatch.from_pylist([asdict(stream.finish())])

    found = _NOTHING
    for row in in_order.mapInArrow(look, ddl(_FOUND)).collect():
        found = found.and_those(Found(**row.asDict()))
    return found


class Subjects:
    """Feed it batches of rows sorted by subject, first and last target step; then finish it."""

    def __init__(self) -> None:
        self._found = _NOTHING
        self._user: str | None = None
        self._last_step = -1
        self._open: _Table = {}  # of the subject that may go on

    def feed(self, batch: pa.RecordBatch) -> None:
        """Looks at rows: SPANS, with start and events, or (split NO_SPLIT) what is stored."""
        if not len(batch):
            return
        users = batch.column("user_id")
        opens = changes(users)
        goes_on = users[0].as_py() == self._user
        opens[0] = not goes_on
        columns = {
            name: batch.column(name).to_numpy().astype(np.int64) for name in batch.schema.names[1:]
        }
        first, last = columns["first_step"], columns["last_step"]
        again = ~opens & (first <= np.append(self._last_step, last[:-1]))
        split = columns["split"]
        overlaps = np.bincount(split[again & (split < NO_SPLIT)], minlength=len(SPLITS))
        opens[0] = True
        table = _together(columns, np.flatnonzero(opens))
        if goes_on:
            for name, (how, _) in (_OF_SPLITS | _STORED).items():
                table[name][0] = how(table[name][0], self._open[name][0])
        elif self._open:
            self._judge(self._open)
        self._judge({name: own[:-1] for name, own in table.items()}, overlaps.tolist())
        self._open = {name: own[-1:] for name, own in table.items()}
        self._user, self._last_step = users[-1].as_py(), int(last[-1])

    def finish(self) -> Found:
        """What was found of all of them."""
        if self._open:
            self._judge(self._open)
        return self._found

    def _judge(self, table: _Table, overlaps: list[int] = _NOTHING.overlaps) -> None:
        self._found = self._found.and_those(_found(table, overlaps))


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
