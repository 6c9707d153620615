"""Epochs: train, validate, keep the best, stop in time."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tqdm import tqdm

from recsys import ranking
from recsys.config import Config
from recsys.errors import DataError
from recsys.manifest import Manifest
from recsys.train import batches, ranks
from recsys.train.batches import COLUMNS, Shard
from recsys.train.losses import cross_entropy_sum, target_weights
from recsys.train.model import Batch, Recommender, known, target_cases, trim
from recsys.train.optimizer import Adam

log = logging.getLogger("recsys")

Metrics = dict[str, float]

_AT = 20
_BATCH = {name: tf.TensorSpec([None, None], tf.int32, name) for name in COLUMNS}


@dataclass
class Trainer:
    """A model in training on one rank, with all that its loop needs."""

    config: Config
    manifest: Manifest
    shard: Shard
    model: Recommender
    optimizer: Adam

    def __post_init__(self) -> None:
        self.variables = list(self.model.trainable_variables)
        compiled = partial(tf.function, input_signature=[_BATCH], autograph=False)
        self._train_step = compiled(self._train_batch)
        self._valid_step = compiled(self._valid_batch)

    def _train_batch(self, batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            power = self.config.train.basket_power
            loss_sum, weight_sum = batch_loss(self.model, batch, power, training=True)
        gradients = ranks.sum_gradients(tape, loss_sum, weight_sum, self.variables)
        gradients, _ = tf.clip_by_global_norm(gradients, self.config.train.clip_norm)
        self.optimizer.apply(gradients)
        return loss_sum, weight_sum

    def _valid_batch(self, batch: Batch) -> tuple[tf.Tensor, ...]:
        batch = trim(batch)
        row_C, step_C, case_P, item_P, _ = target_cases(batch)
        scores_CV = ranking.without_reserved(self.model.scores(batch, row_C, step_C))
        if self.config.ranking.exclude_history:
            seen_CL = tf.where(
                tf.gather(batch["step"], row_C) < step_C[:, None],
                tf.gather(batch["item"], row_C),
                0,
            )
            scores_CV = ranking.without_history(scores_CV, seen_CL)
        top_CK, _ = ranking.top_k(scores_CV, _AT + 1)
        target_P = tf.gather_nd(scores_CV, tf.stack([case_P, item_P], axis=1))
        rank_P = ranking.target_ranks(top_CK, target_P, case_P)
        return tf.size(row_C), case_P, tf.where(known(item_P), rank_P, 0)

    def train_epoch(self, epoch: int) -> Metrics:
        """One pass over this rank's training rows."""
        started = time.monotonic()
        batch_rows = self.config.train.batch_size_per_rank
        steps = batches.steps_per_epoch(self.manifest, "train", self.shard, batch_rows)
        rows = loss_sum = weight_sum = 0.0
        seed = self.config.seed * 1000 + epoch
        with batches.open_epoch(self.manifest, "train", self.shard, batch_rows, seed) as dataset:
            for step, batch in enumerate(self._progress(dataset, steps, f"epoch {epoch}")):
                batch_loss_sum, batch_weight_sum = self._train_step(batch)
                if not math.isfinite(float(batch_loss_sum)):
                    raise DataError(
                        f"epoch {epoch}, step {step}, rank {self.shard.rank}: expected a finite "
                        f"loss, found {float(batch_loss_sum)}"
                    )
                rows += len(batch["item"])
                loss_sum += float(batch_loss_sum)
                weight_sum += float(batch_weight_sum)
        rows, loss_sum, weight_sum = ranks.sum_over_ranks([rows, loss_sum, weight_sum], "epoch")
        batches.check_rows(self.manifest, "train", int(rows))
        seconds = time.monotonic() - started
        return {
            "loss": loss_sum / max(weight_sum, 1),
            "targets_per_second": self.manifest.splits["train"].targets / seconds,
            "train_seconds": seconds,
        }

    def validate(self) -> Metrics:
        """Recall@20 and MRR@20 over the cases of all ranks; unknown targets are misses."""
        started = time.monotonic()
        rows = cases = recall = reciprocal = 0.0
        batch_rows = self.config.train.batch_size_per_rank
        with batches.open_epoch(self.manifest, "valid", self.shard, batch_rows, None) as dataset:
            for batch in dataset:
                found, case_P, rank_P = (value.numpy() for value in self._valid_step(batch))
                batch_recall, batch_reciprocal = recall_and_reciprocal_rank(found, case_P, rank_P)
                rows, cases = rows + len(batch["item"]), cases + found
                recall, reciprocal = recall + batch_recall, reciprocal + batch_reciprocal
        sums = ranks.sum_over_ranks([rows, cases, recall, reciprocal], "validation")
        rows, cases, recall, reciprocal = sums
        batches.check_rows(self.manifest, "valid", int(rows))
        return {
            "recall@20": recall / max(cases, 1),
            "mrr@20": reciprocal / max(cases, 1),
            "valid_seconds": time.monotonic() - started,
        }

    def _progress(self, dataset: tf.data.Dataset, steps: int, what: str) -> tqdm[Batch]:
        # A bar on a terminal; a log gets its line when the epoch ends.
        hide = None if self.shard.rank == 0 else True
        return tqdm(dataset, desc=what, total=steps, disable=hide, leave=False)


def batch_loss(
    model: Recommender, batch: Batch, basket_power: float, training: bool
) -> tuple[tf.Tensor, tf.Tensor]:
    """The weighted sum of the losses of a batch's known targets, and the sum of the weights."""
    batch = trim(batch)
    row_C, step_C, case_P, item_P, _ = target_cases(batch)
    is_known = known(item_P)
    case_P, item_P = tf.boolean_mask(case_P, is_known), tf.boolean_mask(item_P, is_known)
    weight_P = target_weights(case_P, tf.size(row_C), basket_power)
    scores_CV = model.scores(batch, row_C, step_C, training)
    return cross_entropy_sum(scores_CV, case_P, item_P, weight_P), tf.reduce_sum(weight_P)


def recall_and_reciprocal_rank(
    cases: int, case_P: npt.NDArray[np.int32], rank_P: npt.NDArray[np.int32]
) -> tuple[float, float]:
    """Sums over cases of the share of targets found and of 1 / the best rank.

    >>> recall_and_reciprocal_rank(2, np.array([0, 0, 1]), np.array([2, 0, 0]))
    (0.5, 0.5)
    """
    targets_C = np.bincount(case_P, minlength=cases)
    found_C = np.bincount(case_P, weights=rank_P > 0, minlength=cases)
    best_C = np.zeros(cases)
    np.maximum.at(best_C, case_P, np.where(rank_P > 0, 1 / np.maximum(rank_P, 1), 0.0))
    return float((found_C / np.maximum(targets_C, 1)).sum()), float(best_C.sum())


def fit(trainer: Trainer, after_epoch: Callable[[int, Metrics, bool], None]) -> Metrics:
    """Trains until the named metric has not improved for a while; the best epoch's metrics.

    Args:
        trainer: this rank's
        after_epoch: called with the epoch, its metrics and whether it is the best so far
    """
    train = trainer.config.train
    best: Metrics = {}
    for epoch in range(1, train.epochs + 1):
        metrics = {"epoch": epoch, **trainer.train_epoch(epoch), **trainer.validate()}
        is_best = metrics[train.early_stopping_metric] > best.get(train.early_stopping_metric, -1)
        best = metrics if is_best else best
        after_epoch(epoch, metrics, is_best)
        if epoch - best["epoch"] >= train.patience_epochs:
            log.info(
                "no better %s for %d epochs", train.early_stopping_metric, train.patience_epochs
            )
            break
    return best
