"""Cases: the target steps of a batch of test rows, with all that came before each.

Shapes: B rows, L entries of a row, N cases (a row's target step), P targets, E events.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Arrays = Mapping[str, npt.NDArray[Any]]

# Pairs of a case and an event of its history that are spread out at once.
PAIRS_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Events:
    """Events of the rows of a batch, by row and within it in time.

    Args:
        row: of the batch [E]
        item: index in the vocabulary [E]
        event_type: index in the manifest's event types [E]
        timestamp: seconds since the epoch [E]
    """

    row: Longs
    item: Ints
    event_type: Ints
    timestamp: Longs


@dataclass(frozen=True)
class Batch:
    """Test rows, and what happened before their first step.

    Args:
        user_id: of each row [B]
        first_step: number of each row's first step in the user's whole history [B]
        arrays: the columns of schemas.SEQUENCE_ARRAYS [B, L]
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
    def events(self) -> Events:
        """All events, those before the rows and those of the rows."""
        return self._history[0]

    @cached_property
    def history_events(self) -> Longs:
        """How many of the row's events came before each case's step [N]."""
        return self._history[2]

    @cached_property
    def _history(self) -> tuple[Events, Longs, Longs]:
        """The events; for each case, where its history starts [N] and how long it is [N]."""
        row_W, place_W = np.nonzero(self.arrays["step"] >= 0)
        window = {name: values[row_W, place_W] for name, values in self.arrays.items()}
        row_E = np.concatenate([self.earlier.row, row_W])
        order = np.argsort(row_E, kind="stable")  # keeps what was earlier before the rows' own

        def both(name: str) -> npt.NDArray[Any]:
            values = np.concatenate([getattr(self.earlier, name), window[name]])
            return np.asarray(values[order])

        events = Events(row_E[order], both("item"), both("event_type"), both("timestamp"))
        # Steps of a row follow each other, so that (row, step) is sorted: -1 came before the row.
        step_E = np.concatenate([np.full(len(self.earlier.row), -1), window["step"]])[order]
        steps = self.arrays["step"].shape[1] + 1
        key_E = events.row * steps + step_E + 1
        start_N = np.searchsorted(events.row, self.row)
        end_N = np.searchsorted(key_E, self.row * steps + self.step + 1)
        return events, start_N, end_N - start_N

    def histories(self) -> Iterator[tuple[Longs, Longs]]:
        """Every event of every case's history, by case and in time, some cases at a time.

        Yields:
            case [n] and place in `events` [n]; a case is never cut
        """
        _, start_N, length_N = self._history
        part_N = np.cumsum(length_N) // PAIRS_AT_ONCE
        for case_n in np.split(np.arange(len(self)), np.nonzero(np.diff(part_N))[0] + 1):
            length_n = length_N[case_n]
            skipped_n = np.cumsum(length_n) - length_n
            place = np.arange(length_n.sum()) + np.repeat(start_N[case_n] - skipped_n, length_n)
            yield np.repeat(case_n, length_n), place
