"""The learning rate of each step."""

from __future__ import annotations

import math

import tensorflow as tf

from recsys.config import Train


def learning_rate(train: Train, step: int, steps: int, ranks: int) -> float:
    """Rises linearly over the warm-up, then stays, or falls to zero at the last step.

    What it rises to can grow with the ranks, as the batch does (the linear rule of Goyal et al.,
    2017).

    Args:
        train: the configuration
        step: number of the step, from 0
        steps: of the whole run, if it is not stopped early
        ranks: that train together
    """
    rising = min(1.0, (step + 1) / max(train.warmup_steps, 1))
    done = step / max(steps, 1)
    falling = {"none": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}
    highest = train.learning_rate * (ranks if train.learning_rate_by_ranks else 1)
    return highest * rising * falling[train.decay]


def length_factor(targets: tf.Tensor, rows: tf.Tensor, mean: float, power: float) -> tf.Tensor:
    """What a step's learning rate is multiplied by for the length of its sequences.

    Batches hold about equally many targets, so that one of short sequences holds more of them:
    with power -1 a step moves the weights in proportion to its sequences.

    Args:
        targets: of the step, on all ranks
        rows: of the step, on all ranks
        mean: targets a row, of all that is trained on
        power: of the ratio of the two lengths
    """
    length = tf.cast(targets, tf.float32) / tf.maximum(tf.cast(rows, tf.float32), 1.0)
    return tf.where(targets > 0, tf.pow(tf.maximum(length, 1e-6) / mean, power), 1.0)
