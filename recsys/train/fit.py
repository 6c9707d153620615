"""Epoch after epoch: until all are done, none gets better, or the time is over."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median

import numpy as np

from recsys.config import Config
from recsys.errors import DataError
from recsys.train.pace import Work, work_of
from recsys.train.progress import Metrics, Progress
from recsys.train.trainer import Trainer

log = logging.getLogger(__name__)

_NO_MINUTES = 1e-9  # but a limit


def fit(trainer: Trainer, progress: Progress, save: Callable[[Progress], None]) -> Progress:
    """Trains until the epochs are done, or the named metric has not improved for a while.

    Args:
        trainer: this rank's
        progress: where to go on
        save: called with the progress after every so many steps, and after every epoch

    Raises:
        DataError: the metric that chooses the epoch is no number
    """
    _keep_to_time(trainer, progress.history)
    while not _is_over(trainer, progress):
        metrics = {"epoch": progress.epoch, **trainer.train_epoch(progress, save)}
        if "valid" not in trainer.splits:
            metrics |= trainer.validate()
            _check_chosen_by(trainer, metrics)
        progress = Progress(progress.epoch + 1, history=[*progress.history, metrics])
        _keep_to_time(trainer, progress.history)
        save(progress)
    return progress


def _check_chosen_by(trainer: Trainer, metrics: Metrics) -> None:
    name = trainer.config.train.early_stopping_metric
    if not np.isfinite(metrics[name]):
        raise DataError(
            f"train.early_stopping_metric: expected a number of {trainer.manifest.url} for {name}, "
            f"found {metrics[name]}; of the targets in validation that the model knows some must "
            "be bought, and others not"
        )


def _is_over(trainer: Trainer, progress: Progress) -> bool:
    if progress.epoch > trainer.epochs or "valid" in trainer.splits:
        return progress.epoch > trainer.epochs
    train = trainer.config.train
    best = progress.best(train.early_stopping_metric)
    waited = 0 if best is None else progress.epoch - 1 - best["epoch"]
    return bool(waited >= train.patience_epochs)


def _keep_to_time(trainer: Trainer, history: Sequence[Metrics]) -> None:
    """Lowers the epochs, and with them those of later stages, to what train.max_minutes allows."""
    train, ranks = trainer.config.train, trainer.shard.ranks
    minutes = train.max_minutes
    if not minutes:
        return
    # A mean of checkpoints is validated once, and not once an epoch.
    single = replace(train, epochs=1, average_checkpoints=0)
    once = work_of(trainer.manifest, single, ranks, trainer.splits, 1)
    epochs = epochs_within(minutes, trainer.epochs, history, once)
    if epochs == trainer.epochs:
        return
    if trainer.shard.rank == 0:
        log.info("train.max_minutes: %.3g minutes allow %d epochs in place of %d",
                 minutes, epochs, trainer.epochs)  # fmt: skip
    trainer.plan(epochs)


def epochs_within(minutes: float, epochs: int, history: Sequence[Metrics], once: Work) -> int:
    """Epochs that take so many minutes, at the median pace of those that are done.

    It follows from the history, so that a run that goes on with as many ranks comes to the same,
    and it never rises: the learning rate has fallen for the epochs that were expected before. Nor
    does it fall, but behind the first, to what is done: a last epoch takes the rate to 0.

    Args:
        minutes: for all stages together
        epochs: at most
        history: the metrics of the epochs that are done
        once: a single epoch of the stage, with one of each that comes behind

    >>> once = Work(1, steps=100, is_validated=True, later_steps=110, later_validations=0)
    >>> history = [{"train_seconds": seconds, "valid_seconds": 9.0} for seconds in (5.0, 10.0, 5.0)]
    >>> [epochs_within(10, 20, history[:done], once) for done in range(4)]
    [20, 20, 20, 20]
    >>> [epochs_within(2, 20, history[:done], once) for done in range(4)]
    [20, 6, 4, 4]
    >>> [epochs_within(0.1, 20, history[:done], once) for done in range(3)]
    [20, 1, 2]
    """
    for done in range(1, len(history) + 1):
        seconds = median(_seconds(metrics, once) for metrics in history[:done])
        least = done + 1 if done > 1 else 1
        epochs = min(epochs, max(least, int(60 * minutes // seconds)))
    return max(epochs, len(history))


def time_left(config: Config, history: Sequence[Metrics]) -> Config:
    """For the stages that come behind one with such epochs: with the minutes that it has left."""
    if not config.train.max_minutes:
        return config
    spent = sum(own["train_seconds"] + own.get("valid_seconds", 0.0) for own in history) / 60
    minutes = max(config.train.max_minutes - spent, _NO_MINUTES)
    return replace(config, train=replace(config.train, max_minutes=minutes))


def _seconds(metrics: Metrics, once: Work) -> float:
    """Of one epoch of everything, at the pace of an epoch of the stage."""
    training = metrics["train_seconds"] * (once.steps + once.later_steps) / once.steps
    validations = once.is_validated + once.later_validations
    return training + metrics.get("valid_seconds", 0.0) * validations
