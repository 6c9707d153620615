"""What a batch of rows says: its steps, its cases, its padding.

Shapes: B rows, L events, T steps, N events of the whole batch, C cases, P targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import tensorflow as tf

from recsys.arrays import pad
from recsys.schemas import EVENT_NUMBERS, FIRST_ITEM, PADDING, VALUE_WEIGHT

SECONDS_PER_DAY = 86400.0

# Name to values [B, L], as schemas.SEQUENCES has them; ITEM_READS, where there, is [B, L, R].
Batch = dict[str, tf.Tensor]


def spec(name: str, rows: int | None = None, length: int | None = None) -> tf.TensorSpec:
    """Of an array of a batch [B, L]; None is any number."""
    kinds = {"timestamp": tf.int64, **dict.fromkeys((VALUE_WEIGHT, *EVENT_NUMBERS), tf.float32)}
    return tf.TensorSpec([rows, length], kinds.get(name, tf.int32), name)


@dataclass(frozen=True)
class Cases:
    """The target steps of a batch and their targets.

    Args:
        row_C: row of each case
        step_C: step of each case
        case_P: case of each target
        item_P: item of each target
        type_P: event type of each target, where it is asked for
        value_weight_P: of each target, where the dataset has them
    """

    row_C: tf.Tensor
    step_C: tf.Tensor
    case_P: tf.Tensor
    item_P: tf.Tensor
    type_P: tf.Tensor | None = None
    value_weight_P: tf.Tensor | None = None


def trim(batch: Batch) -> Batch:
    """Cuts the padding that no row of the batch needs."""
    return _used(batch, batch["item"] != PADDING)


def joined(batches: Sequence[Batch]) -> Batch:
    """The rows of several batches as one, filled up to the widest of them."""
    width = max(batch["item"].shape[1] for batch in batches)

    def wide(name: str, values: tf.Tensor) -> tf.Tensor:
        return tf.pad(values, [[0, 0], [0, width - values.shape[1]]], constant_values=pad(name))

    return {
        name: tf.concat([wide(name, batch[name]) for batch in batches], axis=0)
        for name in batches[0]
    }


def lanes(batch: Batch, count: int) -> list[Batch]:
    """The rows of a batch in so many parts of like size, of which some may have none."""
    rows = tf.shape(batch["item"])[0]
    borders = [rows * lane // count for lane in range(count + 1)]
    return [
        {name: values[begin:end] for name, values in batch.items()}
        for begin, end in pairwise(borders)
    ]


def before(batch: Batch, step_C: tf.Tensor) -> Batch:
    """Cuts the events, at the ends of the rows, that come before none of the given steps."""
    return _used(batch, (batch["step"] >= 0) & (batch["step"] < tf.reduce_max(step_C)))


def _used(batch: Batch, is_used_BL: tf.Tensor) -> Batch:
    """The columns that some row uses, which stand in front; one at least."""
    used_L = tf.reduce_any(is_used_BL, axis=0)
    longest = tf.maximum(tf.reduce_sum(tf.cast(used_L, tf.int32)), 1)
    return {name: values[:, :longest] for name, values in batch.items()}


def flat_steps(step_BL: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Each event's step numbered through the batch [N], -1 on padding, and steps a row."""
    steps = tf.maximum(tf.reduce_max(step_BL) + 1, 1)
    row_B1 = tf.range(tf.shape(step_BL)[0])[:, None]
    return tf.reshape(tf.where(step_BL >= 0, row_B1 * steps + step_BL, -1), [-1]), steps


def largest(values_BL: tf.Tensor, step_BL: tf.Tensor, steps: tf.Tensor) -> tf.Tensor:
    """The largest value of every step [B, T], 0 at least, for so many steps a row."""
    rows = tf.shape(step_BL)[0]
    place_BL = tf.where(step_BL >= 0, tf.range(rows)[:, None] * steps + step_BL, -1)
    found_N = tf.math.unsorted_segment_max(
        tf.reshape(values_BL, [-1]), tf.reshape(place_BL, [-1]), rows * steps
    )
    return tf.reshape(tf.maximum(found_N, 0), [rows, steps])


def pooled(event_BLD: tf.Tensor, step_BL: tf.Tensor) -> tf.Tensor:
    """The events of every step as one vector [B, T, D]: their sum, over the root of their number.

    The root keeps the scale of a large basket near that of a single item.
    """
    step_N, steps = flat_steps(step_BL)
    rows, width = tf.shape(step_BL)[0], event_BLD.shape[-1]
    events_ND = tf.reshape(event_BLD, [-1, width])
    total = tf.math.unsorted_segment_sum(events_ND, step_N, rows * steps)
    count = tf.math.unsorted_segment_sum(tf.ones_like(step_N, tf.float32), step_N, rows * steps)
    return tf.reshape(total / tf.sqrt(tf.maximum(count, 1.0))[:, None], [rows, steps, width])


def step_days(batch: Batch) -> tf.Tensor:
    """The time of each event [B, L] in days, counted from the row's first step."""
    step_BL = batch["step"]
    before_BL = tf.concat([step_BL[:, :1], step_BL[:, :-1]], axis=1)
    # All events of a step carry the gap before it: count it once.
    gap_BL = tf.where(step_BL > before_BL, batch["gap_seconds"], 0)
    return tf.cumsum(tf.cast(gap_BL, tf.float32) / SECONDS_PER_DAY, axis=1)


def target_cases(batch: Batch) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """The target steps of a batch, and their targets.

    Returns:
        row [C] and step [C] of each case, ordered by row and step; then, an entry a target event,
        case [P] and item [P], ordered by row and place
    """
    step_BL, target_BL = batch["step"], batch["target"]
    flat_N, steps = flat_steps(step_BL)
    place_P = tf.where(tf.reshape(target_BL, [-1]) > 0)[:, 0]
    of_P = tf.gather(flat_N, place_P)
    is_case = tf.math.unsorted_segment_max(tf.ones_like(of_P), of_P, tf.shape(step_BL)[0] * steps)
    case_C = tf.cast(tf.where(is_case > 0)[:, 0], tf.int32)
    item_P = tf.gather(tf.reshape(batch["item"], [-1]), place_P)
    return case_C // steps, case_C % steps, tf.searchsorted(case_C, of_P), item_P


def after_last(batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
    """Row [B] and step [B] of what comes after each row's last step."""
    step_B = tf.reduce_max(batch["step"], axis=1) + 1
    return tf.range(tf.shape(step_B)[0]), step_B


def not_finite(batch: Batch) -> dict[str, list[int]]:
    """The columns that hold what is no finite number, and in which rows of the batch, from 0."""
    found = {
        name: np.flatnonzero(~np.isfinite(values.numpy()).all(axis=1)).tolist()
        for name, values in batch.items()
        if values.dtype.is_floating
    }
    return {name: rows for name, rows in found.items() if rows}


def known(item: tf.Tensor) -> tf.Tensor:
    """Whether an index stands for an item of the vocabulary."""
    return item >= FIRST_ITEM
