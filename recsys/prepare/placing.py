"""Which group each row of a split is in, and where rows of weight 0 fill the groups up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from recsys.prepare.cutting import Ints, starts


@dataclass(frozen=True)
class Layout:
    """How the rows of a split lie in groups.

    Args:
        rows: with weight 1
        groups: of equal size
        group_rows: rows of a group, the filler counted too
    """

    rows: int
    groups: int
    group_rows: int

    @property
    def fillers(self) -> int:
        """Rows of weight 0; of layout() at most one in each of the last groups."""
        return self.groups * self.group_rows - self.rows

    @property
    def rows_of_groups(self) -> Ints:
        """Without fillers."""
        return self.group_rows - (np.arange(self.groups) >= self.groups - self.fillers)

    def first_groups(self, tasks: int) -> Ints:
        """The first group of each task, and behind them the number of groups."""
        return -(-np.arange(tasks + 1) * self.groups // tasks)

    def first_rows(self, tasks: int) -> Ints:
        """The place of the first row of each task among all rows, and behind them their number."""
        return np.append(0, np.cumsum(self.rows_of_groups))[self.first_groups(tasks)]


def layout(rows: int, rows_per_group: int, groups_multiple_of: int) -> Layout:
    """The fewest groups, a multiple of groups_multiple_of, of at most rows_per_group rows.

    >>> layout(5, 2, 2)
    Layout(rows=5, groups=4, group_rows=2)
    >>> layout(0, 128, 4)
    Layout(rows=0, groups=4, group_rows=1)
    """
    most = rows_per_group * groups_multiple_of
    groups = groups_multiple_of * max(1, -(-rows // most))
    return Layout(rows, groups, max(1, -(-rows // groups)))


@dataclass(frozen=True)
class Placed:
    """Rows of a batch that stay, and fillers between them.

    Args:
        row: place in the batch; -1 is a filler
        group: of each
    """

    row: Ints
    group: Ints

    def taken(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows, and nulls for fillers."""
        if len(self.row) and self.row[0] >= 0 and (np.diff(self.row) == 1).all():
            return batch.slice(int(self.row[0]), len(self.row))
        return batch.take(pa.array(self.row, mask=self.row < 0))


class Placing:
    """Feed it the batches of a task in order, then finish it.

    A bucket of rows that two tasks share goes to both of them whole, and each keeps its own.

    Args:
        plan: of the split
        tasks: that share its groups
        task: which of them it is
    """

    def __init__(self, plan: Layout, tasks: int, task: int) -> None:
        self._rows_of_groups = plan.rows_of_groups
        self._end_of_groups: Ints = np.cumsum(self._rows_of_groups)
        self._is_full = self._rows_of_groups == plan.group_rows
        self._begin, self._end = plan.first_rows(tasks)[task : task + 2]
        self._groups = plan.first_groups(tasks)[task : task + 2]
        self._bucket, self._met = -1, 0  # the last one, and how many rows of it there were

    def feed(self, start: Ints) -> Placed:
        """Places rows, in their order.

        Args:
            start: the place of the first row of the bucket of each among all rows of the split
        """
        if not len(start):
            return Placed(start, start)
        number = np.arange(len(start)) - starts(np.diff(start, prepend=self._bucket) != 0)
        number[start == self._bucket] += self._met
        self._bucket, self._met = int(start[-1]), int(number[-1]) + 1
        place = start + number
        row = np.flatnonzero((self._begin <= place) & (place < self._end))
        group = np.searchsorted(self._end_of_groups, place[row], side="right")
        is_last = place[row] + 1 == self._end_of_groups[group]
        behind = np.flatnonzero(is_last & ~self._is_full[group]) + 1
        return Placed(np.insert(row, behind, -1), np.insert(group, behind, group[behind - 1]))

    def finish(self) -> Placed:
        """The fillers of groups without rows."""
        group = np.arange(*self._groups)
        group = group[self._rows_of_groups[group] == 0]
        return Placed(np.full(len(group), -1), group)
