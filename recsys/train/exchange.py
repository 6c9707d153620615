"""The gradient of all ranks' targets, from what each rank found on its own.

Shapes: T tables with sparse gradients, N slices of one, R rows that some rank's slices name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import horovod.tensorflow as hvd
import tensorflow as tf

from recsys.train.optimizer import Gradient, sum_duplicates

# Lengths that two steps seldom share would be negotiated anew in every step (Horovod's response
# cache goes by shape), so messages are filled up to a multiple of these.
_ROWS, _VALUES = 1024, 65536
_NO_ROW = -1
_TABLE = 2**40  # more rows than a table has


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
    named = iter(_named([g.indices for g in gradients if _is_sparse(g)]))
    rows = [next(named) if _is_sparse(gradient) else None for gradient in gradients]
    laid = [
        gradient if of_table is None else of_table.laid_out(gradient.values)
        for gradient, of_table in zip(gradients, rows, strict=True)
    ]
    *parts, total = _sum_as_one([*laid, weight_sum], ranks)
    return [
        part if of_table is None else tf.IndexedSlices(part, of_table.row_R, gradient.dense_shape)
        for part, of_table, gradient in zip(parts, rows, gradients, strict=True)
    ], total


def _is_sparse(gradient: Gradient) -> bool:
    return isinstance(gradient, tf.IndexedSlices)


@dataclass(frozen=True)
class _Rows:
    """The rows of a table that the slices of any rank name.

    Args:
        row_R: in the same order on all ranks
        place_N: of each of this rank's slices among them
    """

    row_R: tf.Tensor
    place_N: tf.Tensor

    def laid_out(self, values_N: tf.Tensor) -> tf.Tensor:
        """The sums of the slices of each row [R, ...], zero where there are none."""
        return tf.math.unsorted_segment_sum(values_N, self.place_N, tf.size(self.row_R))


def _named(indices_TN: Sequence[tf.Tensor]) -> list[_Rows]:
    """Of each table."""
    if not indices_TN:
        return []
    own = [tf.unique(tf.cast(index_N, tf.int64)).y for index_N in indices_TN]
    # Of several tables in one message: a table's number stands in the digits above its rows.
    told = tf.concat([row_N + table * _TABLE for table, row_N in enumerate(own)], axis=0)
    filler = tf.fill([-tf.size(told) % _ROWS], tf.constant(_NO_ROW, tf.int64))
    told = hvd.allgather(tf.concat([told, filler], axis=0), name="gradient_rows")
    return [_named_of(told, table, index_N) for table, index_N in enumerate(indices_TN)]


def _named_of(told: tf.Tensor, table: int, index_N: tf.Tensor) -> _Rows:
    told = tf.boolean_mask(told, told // _TABLE == table) - table * _TABLE
    # All ranks were told the same, and its own rows are among it. A sort of 6,000 rows would take
    # half a millisecond more.
    row_R, place = tf.unique(tf.concat([told, tf.cast(index_N, tf.int64)], axis=0))
    return _Rows(tf.cast(row_R, index_N.dtype), place[tf.size(told) :])


def _sum_as_one(values: Sequence[tf.Tensor], ranks: int) -> list[tf.Tensor]:
    """The sum over the ranks of each, in one message."""
    flat = [tf.reshape(value, [-1]) for value in values]
    sizes = [tf.size(part) for part in flat]
    filler = tf.zeros([-tf.add_n(sizes) % _VALUES])
    message = _sum(tf.concat([*flat, filler], axis=0), ranks)
    *parts, _ = tf.split(message, [*sizes, tf.size(filler)])
    return [tf.reshape(part, tf.shape(value)) for part, value in zip(parts, values, strict=True)]


def _sum(message: tf.Tensor, ranks: int) -> tf.Tensor:
    # Two ranks move as many bytes either way, and Gloo's ring needs 3 to 4 ms more (1.8 MB, two
    # processes with a core each).
    if ranks == 2:
        told = hvd.allgather(message, name="gradients")
        return tf.add_n(tf.split(told, ranks))
    return hvd.allreduce(message, op=hvd.Sum, name="gradients")


def _divide(gradient: Gradient, total: tf.Tensor) -> Gradient:
    if isinstance(gradient, tf.IndexedSlices):
        values = tf.math.divide_no_nan(gradient.values, total)
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return tf.math.divide_no_nan(gradient, total)
