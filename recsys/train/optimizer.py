"""Optimizers on TensorFlow's fused kernels, over plain variables; sparse gradients stay sparse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import tensorflow as tf

# A tf.Tensor or tf.IndexedSlices; TensorFlow carries no types.
Gradient: TypeAlias = Any

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-7
# Of Adagrad: small, so that the first gradient of a rare item moves it by the learning rate.
_ADAGRAD_START, _ADAGRAD_EPSILON = 1e-6, 1e-6


def sum_duplicates(gradient: Gradient) -> Gradient:
    """A sparse gradient with one slice a row; dense ones as they are."""
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    rows, place = tf.unique(gradient.indices)
    values = tf.math.unsorted_segment_sum(gradient.values, place, tf.size(rows))
    return tf.IndexedSlices(values, rows, gradient.dense_shape)


class Optimizer(tf.Module):
    """One update of every variable a step, at a learning rate that the loop sets.

    Args:
        variables: what is trained
    """

    def __init__(self, variables: Sequence[tf.Variable]) -> None:
        super().__init__(name="optimizer")
        self.trained = list(variables)
        self.steps = tf.Variable(0, dtype=tf.int64, trainable=False, name="steps")

    def state(self) -> list[tf.Variable]:
        """All that a resumed run needs of the optimizer."""
        raise NotImplementedError

    def apply(self, gradients: Sequence[Gradient], rate: tf.Tensor) -> None:
        """One update; the gradients are in the variables' order, sparse ones without duplicates."""
        self.steps.assign_add(1)
        for place, gradient in enumerate(gradients):
            if isinstance(gradient, tf.IndexedSlices):
                self._apply_sparse(place, gradient, rate)
            else:
                self._apply_dense(place, gradient, rate)

    def _apply_dense(self, place: int, gradient: tf.Tensor, rate: tf.Tensor) -> None:
        raise NotImplementedError

    def _apply_sparse(self, place: int, gradient: tf.IndexedSlices, rate: tf.Tensor) -> None:
        raise NotImplementedError


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015); of a sparse gradient only the rows that it names are touched."""

    def __init__(self, variables: Sequence[tf.Variable]) -> None:
        super().__init__(variables)
        self.means = [_slot(variable, 0.0, "mean") for variable in variables]
        self.squares = [_slot(variable, 0.0, "square") for variable in variables]

    def state(self) -> list[tf.Variable]:
        """Steps and both moments."""
        return [self.steps, *self.means, *self.squares]

    def _powers(self) -> tuple[tf.Tensor, tf.Tensor]:
        done = tf.cast(self.steps, tf.float32)
        return tf.pow(_BETA_1, done), tf.pow(_BETA_2, done)

    def _apply_dense(self, place: int, gradient: tf.Tensor, rate: tf.Tensor) -> None:
        power_1, power_2 = self._powers()
        tf.raw_ops.ResourceApplyAdam(
            var=self.trained[place].handle,
            m=self.means[place].handle,
            v=self.squares[place].handle,
            beta1_power=power_1,
            beta2_power=power_2,
            lr=rate,
            beta1=_BETA_1,
            beta2=_BETA_2,
            epsilon=_EPSILON,
            grad=gradient,
        )

    def _apply_sparse(self, place: int, gradient: tf.IndexedSlices, rate: tf.Tensor) -> None:
        power_1, power_2 = self._powers()
        rows, values = gradient.indices, gradient.values
        mean = _BETA_1 * tf.gather(self.means[place], rows) + (1 - _BETA_1) * values
        square = _BETA_2 * tf.gather(self.squares[place], rows) + (1 - _BETA_2) * values**2
        self.means[place].scatter_update(tf.IndexedSlices(mean, rows))
        self.squares[place].scatter_update(tf.IndexedSlices(square, rows))
        step = rate * tf.sqrt(1 - power_2) / (1 - power_1) * mean / (tf.sqrt(square) + _EPSILON)
        self.trained[place].scatter_sub(tf.IndexedSlices(step, rows))


class Adagrad(Optimizer):
    """Adagrad (Duchi et al., 2011), which GRU4Rec and its successors train with."""

    def __init__(self, variables: Sequence[tf.Variable]) -> None:
        super().__init__(variables)
        self.sums = [_slot(variable, _ADAGRAD_START, "sum") for variable in variables]

    def state(self) -> list[tf.Variable]:
        """Steps and the sums of squares."""
        return [self.steps, *self.sums]

    def _apply_dense(self, place: int, gradient: tf.Tensor, rate: tf.Tensor) -> None:
        tf.raw_ops.ResourceApplyAdagradV2(
            var=self.trained[place].handle,
            accum=self.sums[place].handle,
            lr=rate,
            epsilon=_ADAGRAD_EPSILON,
            grad=gradient,
        )

    def _apply_sparse(self, place: int, gradient: tf.IndexedSlices, rate: tf.Tensor) -> None:
        tf.raw_ops.ResourceSparseApplyAdagradV2(
            var=self.trained[place].handle,
            accum=self.sums[place].handle,
            lr=rate,
            epsilon=_ADAGRAD_EPSILON,
            grad=gradient.values,
            indices=gradient.indices,
        )


def make(name: Literal["adam", "adagrad"], variables: Sequence[tf.Variable]) -> Optimizer:
    """The optimizer of that name."""
    return {"adam": Adam, "adagrad": Adagrad}[name](variables)


def _slot(variable: tf.Variable, start: float, name: str) -> tf.Variable:
    return tf.Variable(tf.fill(variable.shape, start), trainable=False, name=name)
