"""A batch of sorted events, and what is left of the one before: which rows they give.

Everything is computed for all subjects at once; only the last one may go on in the next batch.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.prepare import purchases, sessions
from recsys.prepare.cutting import (
    Blocks,
    Bools,
    Ints,
    changes,
    cut,
    ends,
    first_of_steps,
    ranges,
    starts,
)
from recsys.prepare.instants import MICROSECONDS_PER_SECOND
from recsys.prepare.rows import COUNTS, EARLIER, HISTORY, KINDS, Cutting
from recsys.schemas import NO_LABEL, SPLITS, VALUE_WEIGHT

_KINDS = {"array<int>": np.int32, "array<bigint>": np.int64, "array<float>": np.float32}


@dataclass
class Open:
    """What is known of the subject that goes on in the next batch, from its first carried step."""

    step_number: int = 0
    covered_steps: int = 0  # steps below this number are in rows already
    previous_time: int | None = None
    session_split: int = 0  # of the start of the session that goes on
    seen: sessions.Seen = field(default_factory=sessions.Seen)
    counts: Ints = field(default_factory=lambda: np.zeros(len(COUNTS), dtype=np.int64))


class Chunk:
    """The events at hand as arrays; `step_…` has an entry a step, everything else one an event."""

    def __init__(self, table: pa.Table, cutting: Cutting, opened: Open) -> None:
        self.cutting, self.open = cutting, opened
        # A session that is a subject was parted whole.
        self.is_parted_anew = cutting.whole_sessions and not cutting.by_session
        self.has_names = cutting.sessions is None and not cutting.by_session
        step_change = self._events(table)
        self.cut_events = np.zeros(int(self.subject_change.sum()), dtype=np.int64)
        keep = first_of_steps(step_change, self.target, cutting.limits.step_events)
        # Of every step something stays.
        self.cut_step = (np.cumsum(step_change) - 1)[~keep]
        self.cut = table.filter(pa.array(~keep)).combine_chunks()
        if not keep.all():
            subject = np.cumsum(self.subject_change) - 1
            self.cut_events += np.bincount(subject[~keep], minlength=len(self.cut_events))
            step_change = self._events(table.filter(pa.array(keep)).combine_chunks())
        self.step = np.cumsum(step_change) - 1
        self._steps(np.flatnonzero(step_change))

    def _events(self, table: pa.Table) -> Bools:
        """Whether each event is the first of its step."""
        self.table, self.time = table, _numpy(table["timestamp"])
        self.subject_change = changes(table["user_id"].chunk(0))
        step_change = self.subject_change | (np.diff(self.time, prepend=self.time[0]) != 0)
        order = _numpy(table["order"])
        repeated = ~step_change & (np.diff(order, prepend=order[0]) == 0)
        self.target = _numpy(table["is_target"]) & ~repeated
        if self.has_names:
            self.session_number = sessions.numbers(table["session_id"].chunk(0))
        return np.asarray(step_change, dtype=np.bool_)

    def _steps(self, first_event: Ints) -> None:
        opened = self.open
        self.step_event = np.append(first_event, len(self.time))
        self.step_time = self.time[first_event]
        self.step_change = self.subject_change[first_event]
        self.step_subject = np.cumsum(self.step_change) - 1
        self.subject_count = int(self.step_subject[-1]) + 1
        number = np.arange(len(first_event)) - starts(self.step_change)
        self.step_number = number + np.where(self.step_subject == 0, opened.step_number, 0)
        previous = np.append(self.step_time[0], self.step_time[:-1])
        previous = np.where(self.step_change, self.step_time, previous)
        if opened.previous_time is not None:
            previous[0] = opened.previous_time
        self.step_previous = previous
        self.session_start = self._session_start()
        self.step_split = _numpy(self.table["part"])[first_event]
        self.strays = np.zeros(len(first_event), np.bool_)
        if self.is_parted_anew:
            whole = self._split_of_whole_sessions()
            self.strays, self.step_split = whole != self.step_split, whole
        asks = np.logical_or.reduceat(self.target, first_event)
        self.step_asks = asks & (self.step_number > 0) & (self.step_split < len(SPLITS))

    def _split_of_whole_sessions(self) -> Ints:
        """NO_SPLIT for the steps of a session that started in another split."""
        self.start_split = self._start_split()
        strays = self.start_split != self.step_split[self.step]
        goes_on = np.logical_or.reduceat(strays, self.step_event[:-1])
        return np.asarray(np.where(goes_on, len(SPLITS), self.step_split), dtype=np.int64)

    def _start_split(self) -> Ints:
        """For every event the split in which its session started."""
        is_first = self.step_subject[self.step] == 0
        if self.cutting.sessions is not None:
            opens = np.logical_or.reduceat(self.session_start, self.step_event[:-1])
            started = self.step_split[starts(opens | self.step_change)]
            goes_on = (np.cumsum(opens) == 0) & (self.step_subject == 0)
            started = np.where(goes_on, self.open.session_split, started)
            return np.asarray(started[self.step], dtype=np.int64)
        first = sessions.first_events(self.session_number, self.step_subject[self.step])
        started = self.step_split[self.step[first]]
        place = self.open.seen.places(self.session_number)
        of_seen = np.append(self.open.seen.split, 0)[place]
        return np.asarray(np.where(is_first & (place >= 0), of_seen, started), dtype=np.int64)

    def _blocks(self) -> Blocks:
        covered = (self.step_subject == 0) & (self.step_number < self.open.covered_steps)
        split_change = self.step_change | (np.diff(self.step_split, prepend=-1) != 0)
        return cut(
            np.diff(self.step_event), self.step_asks & ~covered,
            self.step_change, split_change, self.cutting.limits,
        )  # fmt: skip

    def _labels(self, complete: int) -> tuple[Ints, Bools]:
        """The purchase label of every event, and for every step whether later events leave it."""
        steps, length = len(self.step_time), self.cutting.limits.length
        asked = self.cutting.purchases
        if asked is None:
            return np.zeros(len(self.time), np.int64), np.ones(steps, np.bool_)
        of_step = purchases.sessions(
            opens=np.logical_or.reduceat(self.session_start, self.step_event[:-1]),
            subject=self.step_change,
            step_event=self.step_event,
            is_final=self.step_subject < complete,
            is_past=asked.is_past(self.step_time),
        )
        label = purchases.labels(
            _numpy(self.table["item"]).astype(np.int64),
            np.isin(_numpy(self.table["event_type"]), asked.types),
            self.step, self.step_split, of_step, length,
        )  # fmt: skip
        is_followed = of_step.last < ends(self.step_change)
        return label, is_followed | (of_step.events_left > length)

    def _session_start(self) -> Bools:
        first_step = self.step_number[self.step] == 0
        if self.cutting.by_session:
            return np.asarray(first_step, dtype=np.bool_)
        if self.has_names:
            subject = self.step_subject[self.step]
            return sessions.opened(self.session_number, subject, self.step, self.open.seen)
        assert self.cutting.sessions is not None
        ended = self.cutting.sessions.ended(self.step_previous, self.step_time)
        return np.asarray(first_step | ended[self.step], dtype=np.bool_)

    def _context(self, last: Ints) -> Ints:
        """First step of a row that ends with a step."""
        room = self.step_event[last + 1] - self.cutting.limits.length
        first = np.searchsorted(self.step_event, room, "left")
        return np.asarray(np.maximum(first, starts(self.step_change)[last]), dtype=np.int64)

    def rows(self, complete: int) -> pa.RecordBatch:
        """The rows of the subjects below a number, and of the one behind what it leaves behind."""
        label, is_settled = self._labels(complete)
        blocks = self._blocks()
        self.blocks = replace(blocks, closed=blocks.closed & is_settled[blocks.last])
        done = self.blocks[self.blocks.closed | (self.step_subject[self.blocks.first] < complete)]
        latest = np.unique(ends(self.step_change))[:complete]
        kept = self._context(latest)
        opened, followed = self._left_behind(kept)
        crowd = np.flatnonzero(np.diff(self.cut_step, prepend=-1))
        crowded = self.cut_step[crowd]
        parts = (len(done.first), len(latest), len(opened) + len(crowded))
        context = np.concatenate([done.context, kept, opened, crowded])
        first = np.append(done.first, np.full(sum(parts[1:]), len(self.step_time)))
        last = np.concatenate([done.last, latest, followed - 1, crowded])
        begin, end = self.step_event[context], self.step_event[last + 1]
        begin[len(begin) - len(crowd) :] = len(self.time) + crowd
        end[len(end) - len(crowd) :] = len(self.time) + np.append(crowd, len(self.cut))[1:]
        place = np.repeat([0, KINDS.index(HISTORY), KINDS.index(EARLIER)], parts)
        place[: parts[0]] = self.step_split[done.first]
        names = self.table["user_id"].chunk(0).take(pa.array(self.step_event[last]))
        of_split = place < len(SPLITS)
        marks = pa.array(self.step_number[np.where(of_split, first, 0)]).cast(pa.string())
        marked = pc.binary_join_element_wise(names, marks, "#")
        columns: list[pa.Array] = [
            pa.array(KINDS).take(pa.array(place)),
            pc.if_else(pa.array(of_split), marked, names),
            names,
            *self._arrays(begin, end, context, first, last, label),
            *self._counts(place == KINDS.index(HISTORY), complete),
        ]
        return pa.RecordBatch.from_arrays(columns, names=list(self.cutting.schema))

    def _left_behind(self, kept: Ints) -> tuple[Ints, Ints]:
        """For each subject that keeps less than all its first step, and the first that it keeps.

        Args:
            kept: those of the complete subjects
        """
        if len(kept) < self.subject_count:
            kept = np.append(kept, self._carried()[0])
        opened = np.flatnonzero(self.step_change)
        return opened[opened < kept], kept[opened < kept]

    def _carried(self) -> tuple[int, int]:
        """The first step that the last subject's next rows need, and their first target step."""
        final = len(self.step_time) - 1
        of_last = self.step_subject[self.blocks.first] == self.subject_count - 1
        pending = ~self.blocks.closed & of_last
        end = int(self.blocks.first[pending][0]) if pending.any() else final
        return int(self._context(np.array([end]))[0]), end

    def _arrays(
        self, begin: Ints, end: Ints, context: Ints, first: Ints, last: Ints, label: Ints
    ) -> list[pa.Array]:
        """Of rows of the events from begin to before end, behind which those stand that were cut.

        Args:
            begin: event of each row
            end: event behind each row
            context: first step of each row
            first: first step of each row that is asked for
            last: last step of each row
            label: of each event
        """
        index, offsets = ranges(begin, end)
        table, step = pa.concat_tables([self.table, self.cut]), np.append(self.step, self.cut_step)
        of_step = self.session_start[self.step_event[self.cut_step]]
        session_start = np.append(self.session_start, of_step)
        asked, label = (
            np.append(own, np.zeros(len(self.cut), own.dtype)) for own in (self.target, label)
        )
        step, length = step[index], end - begin
        seconds = self.step_time // MICROSECONDS_PER_SECOND
        gap = np.minimum(seconds - self.step_previous // MICROSECONDS_PER_SECOND, 2**31 - 1)
        target = asked[index] & (step >= np.repeat(first, length))
        values = {
            "item": table["item"].to_numpy()[index],
            "event_type": table["event_type"].to_numpy()[index],
            "gap_seconds": gap[step],
            "session_start": session_start[index],
            "step": step - np.repeat(context, length),
            "timestamp": seconds[step],
            "target": target,
            "purchase": np.where(target, label[index], NO_LABEL),
            "split": self.step_split[step],
            **{name: table[name].to_numpy()[index] for name in self.cutting.inputs},
        }
        if VALUE_WEIGHT in values:
            values[VALUE_WEIGHT] = np.where(target, values[VALUE_WEIGHT], 0)
        schema, ends_of_rows = self.cutting.schema, pa.array(offsets, pa.int32())
        lists = [
            pa.ListArray.from_arrays(ends_of_rows, pa.array(value.astype(_KINDS[schema[name]])))
            for name, value in values.items()
        ]
        sizes = np.append(np.diff(self.step_event), 0)
        most = np.maximum.reduceat(sizes, np.column_stack([context, last + 1]).ravel())[::2]
        scalars = [pa.array(column, pa.int32()) for column in (length, last + 1 - context, most)]
        return [*scalars, pa.array(self.step_number[context]), *lists]

    def _subject_counts(self, upto_step: int | None = None) -> Ints:
        """COUNTS, a row a subject: events cut and astray, and steps asked for in each split."""
        subject, sizes = self.step_subject[:upto_step], np.diff(self.step_event)[:upto_step]
        strays = np.where(self.strays[:upto_step], sizes, 0)
        stray_events = np.bincount(subject, strays, self.subject_count).astype(np.int64)
        asks = np.flatnonzero(self.step_asks[:upto_step])
        cell = self.step_subject[asks] * len(SPLITS) + self.step_split[asks]
        steps = np.bincount(cell, minlength=self.subject_count * len(SPLITS))
        counts = np.column_stack([self.cut_events, stray_events, steps.reshape(-1, len(SPLITS))])
        counts[0] += self.open.counts
        return np.asarray(counts, dtype=np.int64)

    def _counts(self, history: Bools, complete: int) -> list[pa.Array]:
        table = np.zeros((len(history), len(COUNTS)), dtype=np.int64)
        table[history] = self._subject_counts()[:complete]
        return [pa.array(column) for column in table.T]

    def rest(self) -> tuple[pa.Table, Open]:
        """What the last subject's next rows need: its events from some step on, and its state."""
        begin, end = self._carried()
        subject = self.subject_count - 1
        subject_first = int(starts(self.step_change)[-1])
        event, first_event = int(self.step_event[begin]), int(self.step_event[subject_first])
        same = subject == 0
        seen = self.open.seen if same else sessions.Seen()
        if self.has_names:
            seen = self._with_sessions(seen, slice(first_event, event))
        previous: int | None = int(self.step_previous[begin])
        if self.step_number[begin] == 0:
            previous = None
        return self.table.slice(event), Open(
            step_number=int(self.step_number[begin]),
            covered_steps=int(self.step_number[end]),
            previous_time=previous,
            session_split=int(self.start_split[event]) if self.is_parted_anew else 0,
            seen=seen,
            counts=self._subject_counts(upto_step=begin)[subject],
        )

    def _with_sessions(self, seen: sessions.Seen, events: slice) -> sessions.Seen:
        """The sessions of a user's events beside those before."""
        number = self.session_number[events]
        split = self.start_split[events] if self.is_parted_anew else np.zeros(len(number), np.int64)
        found = seen.and_then(number, split)
        return found if self.cutting.interleaved or not len(number) else found.only(number[-1])


def _numpy(column: pa.ChunkedArray) -> Ints:
    return np.asarray(column.chunk(0).to_numpy(zero_copy_only=False))
