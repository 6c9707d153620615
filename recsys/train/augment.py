"""Sequences changed at random before the network reads them; what is asked for stays.

A changed sequence stands for what another shopper with the same taste might have done. Of the ways
crop, mask and reorder are those of CL4SRec (Xie et al., ICDE 2022), and leaving items out is the
insertion of CoSeRec (Liu et al., 2021) the other way round. Here they are no second task: the
network learns the next items from changed histories.

Shapes: B rows, L events, T steps, C cases.
"""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from recsys.config.augment import Augment
from recsys.schemas import FIRST_ITEM, PADDING, UNKNOWN
from recsys.train.batch import Batch, flat_steps, largest
from recsys.train.noise import Noise


@dataclass(frozen=True)
class Augmented:
    """A changed batch, and the cases of the one before.

    Args:
        batch: to be read; its column target means nothing any more
        step_C: of each case in it
        is_asked_C: false where nothing is left before the case, or its own step may be
    """

    batch: Batch
    step_C: tf.Tensor
    is_asked_C: tf.Tensor


@dataclass(frozen=True)
class _Change:
    # What happens to a batch: events that go [B, L], the new place of every step [B, T], and the
    # stretch of steps that change places [B].
    is_hidden_BL: tf.Tensor
    place_BT: tf.Tensor
    begin_B: tf.Tensor
    length_B: tf.Tensor


def augmented(
    batch: Batch, row_C: tf.Tensor, step_C: tf.Tensor, augment: Augment, noise: Noise
) -> Augmented:
    """Changes a share of the rows, each in one way.

    Args:
        batch: trimmed rows
        row_C: of the cases
        step_C: of the cases
        augment: the ways and their shares
        noise: of the step, for this alone
    """
    change, item_BL = _draw(batch, augment, noise)
    before_BT, rebuilt = _rebuilt({**batch, "item": item_BL}, change)
    # Before a case stand as many steps as are left of those that stood there.
    places_C2 = tf.stack([row_C, step_C], axis=1)
    new_step_C = tf.gather_nd(before_BT, places_C2)
    # Within the stretch that is mixed, the asked step might have moved before itself.
    begin_C = tf.gather(change.begin_B, row_C)
    end_C = begin_C + tf.gather(change.length_B, row_C)
    is_mixed_C = (step_C > begin_C) & (step_C < end_C)
    return Augmented(rebuilt, new_step_C, (new_step_C > 0) & ~is_mixed_C)


def _draw(batch: Batch, augment: Augment, noise: Noise) -> tuple[_Change, tf.Tensor]:
    """What happens, and the items [B, L] with the unknown one where they are masked."""
    item_BL, step_BL = batch["item"], batch["step"]
    rows, events = tf.unstack(tf.shape(item_BL))
    steps_B = tf.reduce_max(step_BL, axis=1) + 1
    ways = augment.ways
    way_B = _whole(noise.uniform(rows) * len(ways))
    way_B = tf.where(noise.uniform(rows) < augment.rows, way_B, -1)

    def chosen(way: str) -> tf.Tensor:
        return way_B == (ways.index(way) if way in ways else len(ways))

    draw_B, draw_BL = noise.uniform(rows), noise.uniform(rows, events)
    cut_B = _whole(draw_B * (1 + tf.floor(augment.crop * _real(steps_B))))
    # Two steps stay: one to read, one to ask for.
    cut_B = tf.where(chosen("crop"), tf.minimum(cut_B, tf.maximum(steps_B - 2, 0)), 0)
    is_dropped_BL = chosen("drop")[:, None] & (draw_BL < augment.drop)
    is_masked_BL = chosen("mask")[:, None] & (draw_BL < augment.mask) & (item_BL >= FIRST_ITEM)
    length_B = tf.where(chosen("reorder"), _whole(augment.reorder * _real(steps_B)), 0)
    begin_B = _whole(draw_B * _real(steps_B - length_B + 1))
    _, steps = flat_steps(step_BL)
    place_BT = _places(begin_B, length_B, noise.uniform(rows, steps))
    hidden_BL = (step_BL < cut_B[:, None]) | is_dropped_BL | (step_BL < 0)
    change = _Change(hidden_BL, place_BT, begin_B, length_B)
    return change, tf.where(is_masked_BL, UNKNOWN, item_BL)


def _places(begin_B: tf.Tensor, length_B: tf.Tensor, draw_BT: tf.Tensor) -> tf.Tensor:
    """The new place of every step [B, T]: by chance within the stretch, its own outside it."""
    step_T = tf.range(tf.shape(draw_BT)[1])[None, :]
    begin_B1, length_B1 = begin_B[:, None], length_B[:, None]
    is_inside_BT = (step_T >= begin_B1) & (step_T < begin_B1 + length_B1)
    inside_BT = _real(begin_B1) + draw_BT * _real(length_B1)
    key_BT = tf.where(is_inside_BT, inside_BT, _real(step_T))
    return tf.argsort(tf.argsort(key_BT, stable=True))


def _rebuilt(batch: Batch, change: _Change) -> tuple[tf.Tensor, Batch]:
    """How many steps are left before each [B, T + 1], and the batch of what is left.

    Steps take the times of their new places; the time of what is left out counts for the step
    behind it, and a session starts with the first of its steps that is left.
    """
    steps = tf.shape(change.place_BT)[1]
    place_BL = tf.gather(change.place_BT, tf.maximum(batch["step"], 0), batch_dims=1)
    place_BL = tf.where(change.is_hidden_BL, -1, place_BL)
    left_BT = largest(tf.ones_like(place_BL), place_BL, steps)
    before_BT = tf.pad(tf.cumsum(left_BT, axis=1), [[0, 0], [1, 0]])
    # The places of what is left, by time.
    place_BK = tf.argsort(1 - left_BT, stable=True)
    gap_BT = largest(batch["gap_seconds"], batch["step"], steps)
    start_BT = largest(batch["session_start"], batch["step"], steps)
    gap_BK, sessions_BK = _since_before(gap_BT, place_BK), _since_before(start_BT, place_BK)
    first_gap_B1 = tf.gather(gap_BT, place_BK[:, :1], batch_dims=1)
    gap_BK = tf.concat([first_gap_B1, gap_BK[:, 1:]], axis=1)
    step_BL = tf.gather(before_BT, tf.maximum(place_BL, 0), batch_dims=1)
    left = {
        **batch,
        "gap_seconds": tf.gather(gap_BK, step_BL, batch_dims=1),
        "session_start": tf.minimum(tf.gather(sessions_BK, step_BL, batch_dims=1), 1),
    }
    if "timestamp" in batch:
        time_BT = largest(batch["timestamp"], batch["step"], steps)
        left["timestamp"] = tf.gather(time_BT, tf.maximum(place_BL, 0), batch_dims=1)
    return before_BT, _in_order(left, tf.where(place_BL < 0, -1, step_BL))


def _since_before(values_BT: tf.Tensor, place_BK: tf.Tensor) -> tf.Tensor:
    """The sum of the values of each place and of those between it and the one before [B, K]."""
    sum_BK = tf.gather(tf.cumsum(values_BT, axis=1), place_BK, batch_dims=1)
    return sum_BK - tf.pad(sum_BK[:, :-1], [[0, 0], [1, 0]])


def _in_order(batch: Batch, step_BL: tf.Tensor) -> Batch:
    """The events by their steps, padding in place of those that have none."""
    order_BL = tf.argsort(tf.where(step_BL < 0, tf.int32.max, step_BL), stable=True)
    is_event_BL = tf.gather(step_BL, order_BL, batch_dims=1) >= 0

    def ordered(values_BL: tf.Tensor, padding: int) -> tf.Tensor:
        return tf.where(is_event_BL, tf.gather(values_BL, order_BL, batch_dims=1), padding)

    padded = {name: ordered(values_BL, PADDING) for name, values_BL in batch.items()}
    return {**padded, "step": ordered(step_BL, -1)}


def _real(values: tf.Tensor) -> tf.Tensor:
    return tf.cast(values, tf.float64)


def _whole(values: tf.Tensor) -> tf.Tensor:
    return tf.cast(values, tf.int32)
