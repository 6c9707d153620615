"""The gradient of all ranks' targets, from what each rank found on its own.

Shapes: T tables with sparse gradients, N slices of one, R rows that some rank's slices name.
"""

from __future__ import annotations

from collections.abc import Sequence

import horovod.tensorflow as hvd
import tensorflow as tf

from recsys.train.optimizer import Gradient, sum_duplicates

# Lengths that two steps seldom share would be negotiated anew in every step (Horovod's response
# cache goes by shape), so messages are filled up to a multiple of these.
_ROWS, _VALUES = 1024, 65536
_NO_ROW = -1


def mean_gradients(
    gradients: Sequence[Gradient], weight_sum: tf.Tensor, ranks: int
) -> list[Gradient]:
    """The gradients of the weighted mean over the targets of all ranks, of which one is alone.

    Each rank's loss is a sum over its own targets. Gradients are summed over the ranks and
    divided by the global sum of weights (the number of targets, where each weighs 1), so that
    ranks with unequal numbers of targets give what one process would give on all rows.

    Sparse ones stay sparse. The ranks first tell each other which rows their slices name, which
    follows from their batches alone, so that it happens while they compute. Then each lays its
    slices out in the rows that any of them named, and all gradients are added up in one message:
    each message costs more than its contents, and ranks that draw the same negatives name mostly
    the same rows.
    """
    if ranks == 1:
        own, total = [sum_duplicates(gradient) for gradient in gradients], weight_sum
    else:
        own, total = _summed(gradients, weight_sum, ranks)
    return [_divide(gradient, total) for gradient in own]


def _summed(
    gradients: Sequence[Gradient], weight_sum: tf.Tensor, ranks: int
) -> tuple[list[Gradient], tf.Tensor]:
    """The sums over the ranks of gradients, sparse ones with one slice a row, and of weights."""
    rows = iter(_rows_of_all([g.indices for g in gradients if _is_sparse(g)]))
    named = [next(rows) if _is_sparse(gradient) else None for gradient in gradients]
    laid = [
        gradient if row_R is None else _laid_out(gradient, row_R)
        for gradient, row_R in zip(gradients, named, strict=True)
    ]
    *parts, total = _sum_as_one([*laid, weight_sum], ranks)
    return [
        part if row_R is None else tf.IndexedSlices(part, row_R, gradient.dense_shape)
        for part, row_R, gradient in zip(parts, named, gradients, strict=True)
    ], total


def _is_sparse(gradient: Gradient) -> bool:
    return isinstance(gradient, tf.IndexedSlices)


def _rows_of_all(indices_TN: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """The rows of each table that the slices of any rank name, by rising index."""
    if not indices_TN:
        return []
    own = [tf.unique(tf.cast(index_N, tf.int64)).y for index_N in indices_TN]
    # Of several tables in one message: a table's number stands in the digits above its rows.
    told = tf.concat([row_N + (table << 40) for table, row_N in enumerate(own)], axis=0)
    told = hvd.allgather(_filled(told, _ROWS, _NO_ROW), name="gradient_rows")
    row_R = tf.sort(tf.unique(tf.concat([[tf.constant(_NO_ROW, tf.int64)], told], axis=0)).y)[1:]
    ends = tf.searchsorted(row_R, [(table + 1) << 40 for table in range(len(own))])
    sizes = tf.concat([ends[:1], ends[1:] - ends[:-1]], axis=0)
    parts = tf.split(row_R, sizes, num=len(own))
    return [
        tf.cast(part - (table << 40), index_N.dtype)
        for table, (part, index_N) in enumerate(zip(parts, indices_TN, strict=True))
    ]


def _laid_out(slices: tf.IndexedSlices, row_R: tf.Tensor) -> tf.Tensor:
    """The sums of the slices of each row [R, ...], zero where there are none."""
    place_N = tf.searchsorted(row_R, slices.indices)
    return tf.math.unsorted_segment_sum(slices.values, place_N, tf.size(row_R))


def _sum_as_one(values: Sequence[tf.Tensor], ranks: int) -> list[tf.Tensor]:
    """The sum over the ranks of each, in one message."""
    flat = [tf.reshape(value, [-1]) for value in values]
    message = _sum(_filled(tf.concat(flat, axis=0), _VALUES, 0.0), ranks)
    sizes = [tf.size(part) for part in flat]
    *parts, _ = tf.split(message, [*sizes, tf.size(message) - tf.add_n(sizes)])
    return [tf.reshape(part, tf.shape(value)) for part, value in zip(parts, values, strict=True)]


def _sum(message: tf.Tensor, ranks: int) -> tf.Tensor:
    # Two ranks move as many bytes either way, and Gloo's ring needs 3 to 4 ms more (1.8 MB, two
    # processes with a core each).
    if ranks == 2:
        told = hvd.allgather(message, name="gradients")
        return tf.reduce_sum(tf.reshape(told, [ranks, -1]), axis=0)
    return hvd.allreduce(message, op=hvd.Sum, name="gradients")


def _filled(values_N: tf.Tensor, multiple: int, value: float) -> tf.Tensor:
    """The values with some of the given value behind them, as many as fill up a multiple."""
    return tf.pad(values_N, [[0, -tf.size(values_N) % multiple]], constant_values=value)


def _divide(gradient: Gradient, total: tf.Tensor) -> Gradient:
    if isinstance(gradient, tf.IndexedSlices):
        values = tf.math.divide_no_nan(gradient.values, total)
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return tf.math.divide_no_nan(gradient, total)
