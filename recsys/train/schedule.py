"""The learning rate of each step."""

from __future__ import annotations

import math

from recsys.config import Train


def learning_rate(train: Train, step: int, steps: int) -> float:
    """Rises linearly over the warm-up, then stays, or falls to zero at the last step.

    Args:
        train: the configuration
        step: number of the step, from 0
        steps: of the whole run, if it is not stopped early
    """
    rising = min(1.0, (step + 1) / max(train.warmup_steps, 1))
    done = step / max(steps, 1)
    falling = {"none": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}
    return train.learning_rate * rising * falling[train.decay]
