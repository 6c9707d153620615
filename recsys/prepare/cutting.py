"""Where the rows of a subject's history begin and end, in NumPy, for many subjects at once.

Legend: a step is the set of a subject's events at one instant; steps stand in the order of
subjects, then time. `before[i]` counts the events of all steps before step i, so that the steps
from i to j hold `before[j + 1] - before[i]` events.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.config import Prepare

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Limits:
    """How much a row holds.

    Args:
        length: events of a row
        target_events: events from a row's first target step to its last, one step at least
    """

    length: int
    target_events: int

    @classmethod
    def of(cls, prepare: Prepare) -> Limits:
        """As configured."""
        return cls(prepare.sequence_length, prepare.sequence_target_events)

    @property
    def step_events(self) -> int:
        """Most events of a step: half a row, so that the step before fits beside any step."""
        return self.length // 2


@dataclass(frozen=True)
class Blocks:
    """Rows to be: target steps from first to last, with context from context on.

    Args:
        context: first step of each row
        first: first target step
        last: last target step
        closed: whether more events of the subject could not change the block
    """

    context: Ints
    first: Ints
    last: Ints
    closed: Bools

    def __getitem__(self, which: Bools) -> Blocks:
        """Those blocks for which it holds."""
        return Blocks(self.context[which], self.first[which], self.last[which], self.closed[which])


def changes(names: pa.Array) -> Bools:
    """Whether each entry differs from the one before; the first one does."""
    result = np.ones(len(names), dtype=np.bool_)
    changed = pc.not_equal(names.slice(1), names.slice(0, len(names) - 1))
    result[1:] = changed.to_numpy(zero_copy_only=False)
    return result


def starts(changes: Bools) -> Ints:
    """For every entry the index of the last entry up to it where a change is marked."""
    index = np.arange(len(changes), dtype=np.int64)
    return np.asarray(np.maximum.accumulate(np.where(changes, index, 0)), dtype=np.int64)


def ends(changes: Bools) -> Ints:
    """For every entry the index of the last entry of its run; changes mark the runs' starts."""
    count = len(changes)
    last_of_run = np.append(changes[1:], True)
    index = np.where(last_of_run, np.arange(count), count - 1)
    return np.asarray(np.minimum.accumulate(index[::-1])[::-1], dtype=np.int64)


def first_of_steps(step: Bools, is_target: Bools, most: int) -> Bools:
    """Whether an event stays where a step keeps so many: its targets first, then its first events.

    Which stay is the same whether a step comes at once, or what stays of its beginning first.

    >>> step, is_target = np.array([1, 0, 0, 0, 1, 0]) > 0, np.array([0, 0, 1, 0, 0, 0]) > 0
    >>> first_of_steps(step, is_target, 2)
    array([ True, False,  True, False,  True,  True])

    Args:
        step: whether an event is the first of its step
        is_target: whether it may be predicted
        most: events of a step
    """
    first = starts(step)
    place = np.arange(len(step)) - first
    if place.max(initial=0) < most:
        return np.ones(len(step), dtype=np.bool_)
    upto: Ints = np.cumsum(is_target)
    before: Ints = (upto - is_target)[first]
    targets_before, targets = upto - is_target - before, upto[ends(step)] - before
    others_before = place - targets_before
    stays = np.where(is_target, targets_before < most, others_before < most - targets)
    return np.asarray(stays, dtype=np.bool_)


def cut(sizes: Ints, is_target: Bools, subject: Bools, split: Bools, limits: Limits) -> Blocks:
    """Cuts steps into blocks, each of which becomes a row with the steps before it.

    A block starts at the first target step that no block covers. It takes steps while its events
    are at most limits.target_events and the step before it fits into the row too, one step at
    least, and ends with its last target step. No block holds steps of two splits.

    Args:
        sizes: events of each step, at most limits.step_events
        is_target: whether a step asks for something; a subject's first step never does
        subject: whether a step is the first of its subject here
        split: whether a step is the first of its subject and split here
        limits: of a row
    """
    count = len(sizes)
    before = np.concatenate([[0], np.cumsum(sizes)])
    index = np.arange(count, dtype=np.int64)
    next_target = np.append(np.where(is_target, index, count), count)
    next_target = np.minimum.accumulate(next_target[::-1])[::-1]
    last_target = np.maximum.accumulate(np.where(is_target, index, -1))
    split_end, subject_start = ends(split), starts(subject)

    first = next_target[np.flatnonzero(split)]
    first = np.unique(first[first < count])
    found_first, found_reach = [first[:0]], [first[:0]]
    while len(first):
        by_targets = np.searchsorted(before, before[first] + limits.target_events, "right") - 2
        by_length = np.searchsorted(before, before[first - 1] + limits.length, "right") - 2
        reach = np.minimum(np.minimum(by_targets, by_length), split_end[first])
        reach = np.maximum(reach, first)
        found_first.append(first)
        found_reach.append(reach)
        # Each split's first block was there from the start: go on within the split alone.
        following = next_target[reach + 1]
        first = following[following <= split_end[first]]
    first, reach = np.concatenate(found_first), np.concatenate(found_reach)
    order = np.argsort(first)
    first, reach = first[order], reach[order]
    last = last_target[reach]
    context = np.searchsorted(before, before[last + 1] - limits.length, "left")
    return Blocks(
        np.maximum(context, subject_start[first]), first, last, closed=reach < ends(subject)[first]
    )


def ranges(begin: Ints, end: Ints) -> tuple[Ints, Ints]:
    """The indexes of several ranges one after another, and where each range starts in them.

    >>> ranges(np.array([5, 0]), np.array([7, 3]))
    (array([5, 6, 0, 1, 2]), array([0, 2, 5]))
    """
    offsets = np.concatenate([[0], np.cumsum(end - begin)])
    index = np.arange(offsets[-1]) + np.repeat(begin - offsets[:-1], end - begin)
    return index, offsets
