"""Cases: the target steps of a batch of test rows, with all that came before each.

Shapes: B rows, L entries of a row, N cases (a row's target step), P targets, E events.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.schemas import PADDING

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Arrays = Mapping[str, npt.NDArray[Any]]

# Pairs of a case and an event of its history that are spread out at once.
PAIRS_AT_ONCE = 1 << 20
# Above every index of an item.
_MOST_ITEMS = 1 << 31


@dataclass(frozen=True)
class Events:
    """Events of the rows of a batch, by row and within it in time.

    Args:
        row: of the batch [E]
        item: index in the vocabulary [E]
        event_type: index in the manifest's event types [E]
        timestamp: seconds since the epoch [E]
        number: of the step in the user's whole history [E]
        session_start: 1 on the events of a session's first step [E]
    """

    row: Longs
    item: Ints
    event_type: Ints
    timestamp: Longs
    number: Longs
    session_start: Ints

    @cached_property
    def session(self) -> Longs:
        """The session of each event [E], numbered through all rows."""
        starts = np.ones(len(self.row), bool)
        is_next_row = self.row[1:] != self.row[:-1]
        is_next_step = self.number[1:] != self.number[:-1]
        starts[1:] = is_next_row | (is_next_step & (self.session_start[1:] == 1))
        return np.cumsum(starts)

    def of_rows(self, first: int, last: int) -> Events:
        """Those of the rows from first to before last, which are numbered from 0."""
        here = slice(*np.searchsorted(self.row, (first, last)))
        own = {field.name: getattr(self, field.name)[here] for field in fields(self)}
        return Events(**{**own, "row": own["row"] - first})


@dataclass(frozen=True)
class Batch:
    """Test rows, and what happened before their first step.

    Args:
        user_id: of each row [B]
        first_step: number of each row's first step in the user's whole history [B]
        arrays: of schemas.SEQUENCES, with_inputs() [B, L]
        earlier: the events before each row's first step
    """

    user_id: npt.NDArray[np.object_]
    first_step: Longs
    arrays: Arrays
    earlier: Events

    @cached_property
    def _targets(self) -> tuple[Longs, Longs, Longs, Ints]:
        """Row [N] and step [N] of each case; case [P] and item [P] of each target."""
        target_BL, step_BL = self.arrays["target"], self.arrays["step"].astype(np.int64)
        row_P, place_P = np.nonzero(target_BL)
        steps = step_BL.shape[1]
        key_P = row_P * steps + step_BL[row_P, place_P]
        key_N, case_P = np.unique(key_P, return_inverse=True)
        item_P = self.arrays["item"][row_P, place_P].astype(np.int32)
        return key_N // steps, key_N % steps, case_P, item_P

    @property
    def row(self) -> Longs:
        """The row of each case [N]; cases are ordered by row and step."""
        return self._targets[0]

    @property
    def step(self) -> Longs:
        """The step of each case within its row [N]."""
        return self._targets[1]

    @property
    def target_case(self) -> Longs:
        """The case of each target [P]."""
        return self._targets[2]

    @property
    def target_item(self) -> Ints:
        """The item of each target [P]; UNKNOWN where the vocabulary does not have it."""
        return self._targets[3]

    def __len__(self) -> int:
        return len(self.row)

    def number(self) -> Longs:
        """The number of each case's step in the user's whole history [N]."""
        return np.asarray(self.first_step[self.row] + self.step)

    def target_values(self, name: str) -> Ints:
        """The value of an array at each target [P]; PADDING where the log has no such array."""
        is_target_BL = self.arrays["target"] > 0
        if name not in self.arrays:
            return np.full(is_target_BL.sum(), PADDING, np.int32)
        return np.asarray(self.arrays[name][is_target_BL], np.int32)

    def parts(self, most_cases: int) -> Iterator[Batch]:
        """The batch in parts of at most so many cases; a row may be in several."""
        if len(self) <= most_cases:
            yield self
            return
        for start in range(0, len(self), most_cases):
            end = min(start + most_cases, len(self))
            first, last = int(self.row[start]), int(self.row[end - 1]) + 1
            row_P, place_P = np.nonzero(self.arrays["target"])
            is_here = (self.target_case >= start) & (self.target_case < end)
            target_BL = np.zeros_like(self.arrays["target"])
            target_BL[row_P[is_here], place_P[is_here]] = 1
            arrays = {**self.arrays, "target": target_BL}
            yield Batch(
                user_id=self.user_id[first:last],
                first_step=self.first_step[first:last],
                arrays={name: values[first:last] for name, values in arrays.items()},
                earlier=self.earlier.of_rows(first, last),
            )

    def timestamp(self) -> Longs:
        """Seconds since the epoch of each case's step [N]."""
        is_target = self.arrays["target"] > 0
        timestamp_P = self.arrays["timestamp"][is_target].astype(np.int64)
        timestamp_N = np.zeros(len(self), np.int64)
        timestamp_N[self.target_case] = timestamp_P
        return timestamp_N

    def window_items(self) -> Ints:
        """The items of the row before each case's step [N, L], 0 elsewhere: the model's input."""
        before_NL = self.arrays["step"][self.row] < self.step[:, None]
        return np.where(before_NL, self.arrays["item"][self.row], 0).astype(np.int32)

    @cached_property
    def whole_items(self) -> Ints:
        """The distinct items of each case's history, as far as is known [N, most of them], then 0.

        Of more events than window_items, where a row does not hold the whole history.
        """
        case_M, item_M = np.divmod(self._own_pairs, _MOST_ITEMS)
        count_N = np.bincount(case_M, minlength=len(self))
        place_M = np.arange(len(case_M)) - np.repeat(np.cumsum(count_N) - count_N, count_N)
        items_NL = np.zeros((len(self), int(count_N.max(initial=0))), np.int32)
        items_NL[case_M, place_M] = item_M
        return items_NL

    @cached_property
    def events(self) -> Events:
        """All events, those before the rows and those of the rows."""
        return self._history[0]

    @cached_property
    def history_events(self) -> Longs:
        """How many of the user's events came before each case's step [N], as far as is known."""
        return self._history[2]

    def history_start(self) -> Longs:
        """Seconds since the epoch of the first event of each case's history [N]."""
        events, start_N, length_N = self._history
        if len(events.row) == 0:
            return self.timestamp()
        first_N = events.timestamp[np.minimum(start_N, len(events.row) - 1)]
        return np.where(length_N > 0, first_N, self.timestamp())

    @cached_property
    def _history(self) -> tuple[Events, Longs, Longs]:
        """The events; for each case, where its history starts [N] and how long it is [N]."""
        row_W, place_W = np.nonzero(self.arrays["step"] >= 0)
        window = {name: values[row_W, place_W] for name, values in self.arrays.items()}
        window["number"] = self.first_step[row_W] + window["step"]
        row_E = np.concatenate([self.earlier.row, row_W])
        order = np.argsort(row_E, kind="stable")  # keeps what was earlier before the rows' own

        def both(name: str) -> npt.NDArray[Any]:
            values = np.concatenate([getattr(self.earlier, name), window[name]])
            return np.asarray(values[order])

        names = (field.name for field in fields(Events) if field.name != "row")
        events = Events(row_E[order], **{name: both(name) for name in names})
        # Steps of a row follow each other, so that (row, number) is sorted.
        number_N = self.number()
        most = max(events.number.max(initial=0), number_N.max(initial=0)) + 1
        start_N = np.searchsorted(events.row, self.row)
        end_N = np.searchsorted(events.row * most + events.number, self.row * most + number_N)
        return events, start_N, end_N - start_N

    def histories(self, latest_session: bool = False) -> Iterator[tuple[Longs, Longs]]:
        """Every event of every case's history, by case and in time, some cases at a time.

        Args:
            latest_session: only those of the session that the latest event belongs to

        Yields:
            case [n] and place in `events` [n]; a case is never cut
        """
        events, start_N, length_N = self._history
        if latest_session and len(events.row):
            end_N = start_N + length_N
            latest_N = events.session[np.maximum(end_N, 1) - 1]
            start_N = np.maximum(start_N, np.searchsorted(events.session, latest_N))
            length_N = np.maximum(end_N - start_N, 0)
        part_N = np.cumsum(length_N) // PAIRS_AT_ONCE
        for case_n in np.split(np.arange(len(self)), np.nonzero(np.diff(part_N))[0] + 1):
            length_n = length_N[case_n]
            skipped_n = np.cumsum(length_n) - length_n
            place = np.arange(length_n.sum()) + np.repeat(start_N[case_n] - skipped_n, length_n)
            yield np.repeat(case_n, length_n), place

    def is_new(self, case_m: Longs, item_m: Ints) -> npt.NDArray[np.bool_]:
        """Whether the history of a case lacks an item [m]."""
        found = np.searchsorted(self._own_pairs, case_m * _MOST_ITEMS + item_m)
        found = np.minimum(found, max(len(self._own_pairs) - 1, 0))
        if len(self._own_pairs) == 0:
            return np.ones(len(case_m), bool)
        return np.asarray(self._own_pairs[found] != case_m * _MOST_ITEMS + item_m)

    @cached_property
    def _own_pairs(self) -> Longs:
        """Each case and item of its history, as one number, rising."""
        pairs = [
            np.unique(case_n * _MOST_ITEMS + self.events.item[place_n])
            for case_n, place_n in self.histories()
        ]
        return np.concatenate(pairs)
