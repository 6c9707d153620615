"""A model in training on one rank: its steps, its epochs, its validation."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from recsys.config import Config
from recsys.manifest import Manifest
from recsys.schemas import VALUE_WEIGHT
from recsys.train import batches, exchange, finite, ranks, shards, unreadable
from recsys.train.batch import Batch, spec
from recsys.train.candidates import Sampler
from recsys.train.judge import of_purchases
from recsys.train.model import Recommender
from recsys.train.noise import Noise
from recsys.train.objective import batch_loss, penalized
from recsys.train.optimizer import Gradient, Optimizer
from recsys.train.pace import Pace, Work, work_of
from recsys.train.progress import METRICS, Metrics, Progress, metric_sums
from recsys.train.purchase import LABEL
from recsys.train.rollcall import Others
from recsys.train.schedule import learning_rate, length_factor
from recsys.train.shards import Shard
from recsys.train.validation import TargetRanks
from recsys.train.watch import Nobody, Watch

log = logging.getLogger(__name__)

# Batches that each rank reads on its own, of those that are done when a run goes on.
_PASSED_TOGETHER = 32
_RATE = tf.TensorSpec([], tf.float32, "rate")


@dataclass
class Trainer:
    """A model in training on one rank, with all that its loop needs.

    Args:
        config: the configuration
        manifest: of the dataset
        shard: of this rank
        model: that is trained
        optimizer: of its variables
        sampler: of negatives; None takes the whole vocabulary
        splits: that are trained on; without valid among them each epoch is validated
        epochs: passes over them, at most
    """

    config: Config
    manifest: Manifest
    shard: Shard
    model: Recommender
    optimizer: Optimizer
    sampler: Sampler | None
    splits: tuple[str, ...]
    epochs: int

    def __post_init__(self) -> None:
        train = self.config.train
        self._targets = sum(self.manifest.splits[split].targets for split in self.splits)
        self.variables = list(self.model.trainable_variables)
        self.steps_per_epoch = shards.steps_per_epoch(
            self.manifest, self.splits, self.shard.ranks, train.batch_targets_per_rank
        )
        label = () if self.model.purchase is None else (LABEL,)
        weight = (VALUE_WEIGHT,) if self.manifest.weighs_by_value else ()
        self.columns = (*self.model.reads, "target", *label, *weight)
        batch = {name: spec(name) for name in self.columns}
        self.watch = Watch(train.stall_seconds)
        self.pace = Pace(self._work(), self.shard.ranks, shown=self.shard.rank == 0)
        compiled = partial(tf.function, autograph=False)
        self.train_step = compiled(self.train_batch, input_signature=[batch, _RATE])
        self.ranks_of = TargetRanks(
            self.model, self.config.ranking.exclude_history, batch, lanes=train.lanes
        )

    def _work(self) -> Work:
        train, ranks = self.config.train, self.shard.ranks
        return work_of(self.manifest, train, ranks, self.splits, self.epochs)

    def plan(self, epochs: int) -> None:
        """Puts so many epochs in place of those planned, of this stage and of later ones.

        The learning rate decays over them from the next step on.
        """
        self.config = replace(self.config, train=replace(self.config.train, epochs=epochs))
        self.epochs = epochs
        self.pace.plan(self._work())

    def make_graph(self) -> None:
        """Makes that of a step, which takes seconds, before others wait for it."""
        if not tf.config.functions_run_eagerly():
            # Alone it does not look anew at every step what its arguments are.
            self.train_step = self.train_step.get_concrete_function()

    def noise(self) -> Noise:
        """What the next step draws on this rank."""
        return Noise(self.config.seed, self.optimizer.steps, self.shard.rank)

    def gradients(self, batch: Batch) -> tuple[list[Gradient], tf.Tensor, tf.Tensor]:
        """Of the batch's loss sum by every variable; the loss sum, and the sum of weights."""
        with tf.GradientTape() as tape:
            loss_sum, weight_sum = self.loss(batch, self.noise())
        return tape.gradient(loss_sum, self.variables), loss_sum, weight_sum

    def train_batch(self, batch: Batch, rate: tf.Tensor) -> tf.Tensor:
        """One step; loss sum and sum of weights of this rank, norm of the gradient of all [3]."""
        train = self.config.train
        gradients, loss_sum, weight_sum = self.gradients(batch)
        gradients = exchange.mean_gradients(gradients, weight_sum, self.shard.ranks)
        if train.l1 or train.l2:
            gradients = penalized(gradients, self.variables, train.l1, train.l2)
        if train.learning_rate_length_power:
            rate *= self._length_factor(batch)
        clipped, norm = ranks.clip(gradients, train.clip_norm)
        self.optimizer.apply(clipped, rate)
        return tf.stack([loss_sum, weight_sum, norm])  # to be waited for and copied once

    def _length_factor(self, batch: Batch) -> tf.Tensor:
        mean = self._targets / sum(self.manifest.splits[split].rows for split in self.splits)
        sums = tf.stack([tf.reduce_sum(batch["target"]), tf.shape(batch["item"])[0]])
        if self.shard.ranks > 1:
            sums = ranks.sum_tensor(sums, "lengths")
        targets, rows = tf.unstack(sums)
        return length_factor(targets, rows, mean, self.config.train.learning_rate_length_power)

    def loss(self, batch: Batch, noise: Noise | None) -> tuple[tf.Tensor, tf.Tensor]:
        """The weighted sum of the losses of a batch's known targets, and the sum of weights."""
        train, total = self.config.train, tf.identity
        if self.shard.ranks > 1:
            total = partial(ranks.sum_tensor, name="labels")
        return batch_loss(
            self.model, batch, train.loss, train.basket_power, self.sampler, noise, total,
            train.lanes,
        )  # fmt: skip

    def train_epoch(self, progress: Progress, every: Callable[[Progress], None]) -> Metrics:
        """The rest of an epoch on this rank; `every` is called when a checkpoint is due."""
        train, since = self.config.train, time.monotonic()
        own = np.zeros(3)  # rows, loss_sum, weight_sum since the last sum over the ranks
        self.pace.begin(progress.epoch, progress.step)
        with self._opened(self.splits, self._seed(progress)) as epoch:
            since += self._pass_over(epoch, progress)
            for batch in epoch:
                own += self._step(batch, progress)
                progress.step, progress.ranks = progress.step + 1, self.shard.ranks
                self.pace.step(int(np.count_nonzero(batch["target"])))
                if train.checkpoint_steps and progress.step % train.checkpoint_steps == 0:
                    since = self._add(progress, own, since, f"{progress.epoch}-{progress.step}")
                    every(progress)
        self.pace.close()
        self._add(progress, own, since, f"end-of-{progress.epoch}")
        shards.check_rows(self.manifest, self.splits, int(progress.rows))
        seconds = progress.seconds / self.shard.ranks
        return {
            "loss": progress.loss_sum / max(progress.weight_sum, 1e-9),
            "events_per_second": self._targets / seconds,
            "train_seconds": seconds,
        }

    def _seed(self, progress: Progress) -> int:
        """Of the order of the rows of an epoch."""
        return self.config.seed * 1000 + progress.epoch

    def _file_of(self, progress: Progress) -> str | None:
        """URL of the row group that the next step's batch is of; None if it has no rows."""
        return shards.file_of(
            self.manifest, self.splits, self.shard, self.config.train.batch_targets_per_rank,
            self._seed(progress), progress.step,
        )  # fmt: skip

    def _pass_over(self, epoch: Iterator[Batch], progress: Progress) -> float:
        """Reads the batches that are done, and returns the seconds that it took.

        The ranks keep together, so that none waits for long.
        """
        started = time.monotonic()
        for number in range(progress.step):
            next(epoch, None)
            if number % _PASSED_TOGETHER == 0:
                with self.together(f"passed-{progress.epoch}-{number}"):
                    ranks.sum_over_ranks([0.0], "passed")
        return time.monotonic() - started

    @contextmanager
    def _opened(self, splits: Sequence[str], seed: int | None) -> Iterator[Iterator[Batch]]:
        """The batches of an epoch; to wait long for one is an end."""
        targets, columns = self.config.train.batch_targets_per_rank, self.columns
        what = f"rank {self.shard.rank}: expected a batch of {' and '.join(splits)} of "
        what += self.manifest.url
        with ExitStack() as open_files:
            with self.watch.waiting(Nobody(what)):
                dataset = open_files.enter_context(
                    batches.open_epoch(self.manifest, splits, self.shard, targets, seed, columns)
                )
            own = shards.own_files(self.manifest, splits, self.shard)
            read = unreadable.named_in(dataset, self.manifest, own, columns)
            yield self.watch.each(read, what)

    def _step(self, batch: Batch, progress: Progress) -> npt.NDArray[np.float64]:
        """Trains on one batch; its rows, loss sum and weight sum on this rank."""
        done = (progress.epoch - 1) * self.steps_per_epoch + progress.step
        train = self.config.train
        rate = learning_rate(train, done, train.epochs * self.steps_per_epoch, self.shard.ranks)
        with self.together(f"step-{done}"):
            own = self.train_step(batch, tf.constant(rate, tf.float32))
            loss_sum, weight_sum, norm = own.numpy().tolist()
            if finite.is_wrong(loss_sum, norm):
                where = f"epoch {progress.epoch}, step {progress.step}, rank {self.shard.rank}"
                finite.fail(where, batch, loss_sum, norm, self._file_of(progress))
        return np.array([len(batch["item"]), loss_sum, weight_sum])

    def together(self, place: str) -> AbstractContextManager[None]:
        """Inside, this rank waits for all others to come to the same place (rollcall.Others)."""
        return self.watch.waiting(Others(self.shard, place))

    def _add(
        self, progress: Progress, own: npt.NDArray[np.float64], since: float, place: str
    ) -> float:
        """Adds what all ranks did since then to the progress, and empties own; the time of now."""
        now = time.monotonic()
        with self.together(f"sums-{place}"):
            rows, loss_sum, weight_sum, seconds = ranks.sum_over_ranks(
                [*own, now - since], "progress"
            )
        progress.rows += rows
        progress.loss_sum += loss_sum
        progress.weight_sum += weight_sum
        progress.seconds += seconds
        own[:] = 0.0
        return now

    def validate(self, split: str = "valid") -> Metrics:
        """METRICS over the cases of all ranks, and of the purchase head over their labels.

        Unknown targets are misses.
        """
        started = time.monotonic()
        own = np.zeros(2 + len(METRICS))  # rows, cases, then the metrics' sums
        purchases: list[list[npt.NDArray[Any]]] = [[], []]
        vectors_VE = self.model.item_vectors()
        with self._opened((split,), seed=None) as epoch:
            for batch in epoch:
                found, case_P, rank_P, labelled = self.ranks_of.of(batch, vectors_VE)
                for parts, values_P in zip(purchases, labelled, strict=False):
                    parts.append(values_P.numpy())
                own += [len(batch["item"]), found, *metric_sums(found, case_P, rank_P)]
        of_head: Metrics = {}
        with self.together("validation"):
            rows, cases, *sums = ranks.sum_over_ranks(list(own), "validation")
            if self.model.purchase is not None:
                of_head = of_purchases(*(np.concatenate(parts) for parts in purchases))
            [seconds] = ranks.sum_over_ranks([time.monotonic() - started], "validated")
        shards.check_rows(self.manifest, (split,), int(rows))
        means = {name: value / max(cases, 1) for name, value in zip(METRICS, sums, strict=True)}
        seconds /= self.shard.ranks
        self.pace.validated(seconds)
        return {**means, **of_head, "valid_seconds": seconds}
