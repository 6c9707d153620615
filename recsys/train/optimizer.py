"""Adam on TensorFlow's fused kernels, over plain variables."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-7


class Adam(tf.Module):
    """Adam (Kingma and Ba, 2015) with a learning rate that rises linearly over a warm-up.

    Args:
        variables: what is trained
        learning_rate: after the warm-up
        warmup_steps: steps of the warm-up
    """

    def __init__(
        self, variables: Sequence[tf.Variable], learning_rate: float, warmup_steps: int
    ) -> None:
        super().__init__(name="adam")
        self.trained = list(variables)
        self.learning_rate = learning_rate
        self.warmup_steps = max(warmup_steps, 1)
        self.steps = tf.Variable(0, dtype=tf.int64, trainable=False, name="steps")
        self.means = [_slot(variable, "mean") for variable in variables]
        self.squares = [_slot(variable, "square") for variable in variables]

    def state(self) -> list[tf.Variable]:
        """All that a resumed run needs of the optimizer."""
        return [self.steps, *self.means, *self.squares]

    def apply(self, gradients: Sequence[tf.Tensor]) -> None:
        """One update of every variable; the gradients are dense and in the variables' order."""
        done = tf.cast(self.steps.assign_add(1), tf.float32)
        rate = self.learning_rate * tf.minimum(1.0, done / self.warmup_steps)
        for variable, mean, square, gradient in zip(
            self.trained, self.means, self.squares, gradients, strict=True
        ):
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=mean.handle,
                v=square.handle,
                beta1_power=tf.pow(_BETA_1, done),
                beta2_power=tf.pow(_BETA_2, done),
                lr=rate,
                beta1=_BETA_1,
                beta2=_BETA_2,
                epsilon=_EPSILON,
                grad=gradient,
            )


def _slot(variable: tf.Variable, name: str) -> tf.Variable:
    return tf.Variable(tf.zeros_like(variable), trainable=False, name=name)
