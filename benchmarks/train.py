"""Speed of a run that reaches Recall@20 0.70 on YooChoose 1/64, and where its time goes.

python benchmarks/train.py [--events FILE]

The training job's own loop on one rank with two threads, a lane each: 100 units, 2,048 sampled
negatives, 2,048 targets a step at most, no inputs but the items, no repeat scores, the last state
read out, the rest as in conf/yoochoose64.yaml. Only targets count as events and as work; padding
and the items that come before the first target are done, and count for nothing:

    work of a target = 3 * (2 * 2 * units * 3 * units + 2 * negatives * units) FLOP = 1.59 MFLOP

which is the two products of a step of the GRU and the scores of the negatives, each once forward
and twice backward. Some of the 2,048 draws of a step repeat each other: the loss counts each item
once, by its chance to be drawn at all, and so the step scores it once. share_of_gemm counts all
draws as work, share_of_gemm_distinct what was in fact multiplied. The last line is JSON:
    events_per_second       targets over the time of the epochs, reading included
    share_of_gemm           work a second over the throughput of the GEMM, found before and after
                            each epoch, of all negatives that are drawn: the median of the epochs
    share_of_gemm_total     events_per_second times the work, over gemm_gflops: epochs while the
                            machine was busy with others' work count fully
    share_of_gemm_distinct  as share_of_gemm, of negatives_scored in place of all that are drawn
    gemm_gflops             TensorFlow's float32 product of [2048, 100] and [100, 2048] on the same
                            two threads, in a process of its own: the mean over the run
    negatives_scored        distinct items among those drawn, in the mean: the rest are repeats,
                            and are scored once
    seconds_to_recall_0.70  from the start of the job, graphs and validations included, to where
                            the first epoch with a Recall@20 of 0.70 or more on validation is saved
    valid_recall@20         of that validation; null where no epoch reached 0.70
    recall@20, mrr@20       on test, of the epoch that validation chose, which may be a later one
    epochs                  that were trained
    share_reading ...       of the time of an epoch: what it takes longer than the same steps on
                            batches in memory; and of these steps what each part adds: input
                            (candidates, and the vectors of all items and events), forward,
                            backward, exchange (of one rank: summing duplicates, clipping), update;
                            differences of medians, of which noise may take one below 0
"""

from __future__ import annotations

import json
import logging
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

_STARTED = time.monotonic()  # loading TensorFlow is part of a job

import tensorflow as tf

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import training
from recsys import manifest
from recsys.config import Config
from recsys.train import batches, exchange, pipeline, ranks
from recsys.train.batch import Batch, before, lanes
from recsys.train.candidates import Sampler
from recsys.train.fit import fit
from recsys.train.objective import drawn, learnt, vectors_to_learn
from recsys.train.optimizer import Gradient
from recsys.train.progress import Metrics, Progress
from recsys.train.run import Run
from recsys.train.trainer import Trainer

_LOADING_SECONDS = time.monotonic() - _STARTED

_GOAL = 0.70
# Items alone go in, and scores are products alone, as in GRU4Rec.
_PLAIN = ("--train.event_inputs=[]", "--train.repeat=false")
_SETTINGS = (*training.SETTINGS, *_PLAIN, "--train.lanes=2")
_STEPS = 60


class _Stopwatch:
    """What happens between the epochs: the time is taken, and the throughput of the GEMM."""

    def __init__(self, threads: int) -> None:
        self._gemm = training.Gemm(threads)
        self.started = time.monotonic() - _LOADING_SECONDS
        self.gflops: list[float] = []
        self.seconds_to_goal: float | None = None
        self.recall: float | None = None
        self._measuring = 0.0

    def look(self, metrics: Metrics | None = None) -> None:
        now = time.monotonic()
        if metrics and self.seconds_to_goal is None and metrics["recall@20"] >= _GOAL:
            self.seconds_to_goal = round(now - self.started - self._measuring, 1)
            self.recall = round(metrics["recall@20"], 4)
        self.gflops.append(self._gemm.gflops())
        self._measuring += time.monotonic() - now


def figures(config: Config) -> dict[str, float | None]:
    watch = _Stopwatch(config.train.cpu_threads)
    shard = ranks.start(config.train)
    watch.look()
    dataset = manifest.read(config.paths.dataset)
    trainer = pipeline.build(config, dataset, shard, ("train",), config.train.epochs)
    run = Run(config, dataset)
    start = run.restore(trainer, "choice")
    trainer.make_graph()

    def save(progress: Progress) -> None:
        run.save(trainer, progress, "choice")
        if progress.step == 0:
            watch.look(progress.history[-1])

    progress = fit(trainer, start, save)
    history = progress.history
    seconds = [metrics["train_seconds"] for metrics in history]
    rows, epoch_seconds = _batches(trainer), statistics.median(seconds)
    shares = _shares(trainer, rows, epoch_seconds)
    run.take_best(trainer, progress.best(config.train.early_stopping_metric) or {})
    test = trainer.validate("test")
    targets, train = dataset.splits["train"].targets, config.train
    scored = _negatives_scored(trainer, rows)
    # The machine's speed changes: each epoch is set against what was found before and after it.
    found = [statistics.mean(both) for both in pairwise(watch.gflops)]
    per_gflop = statistics.median(
        targets / own / gflops for own, gflops in zip(seconds, found, strict=True)
    )

    def share_of_gemm(negatives: float) -> float:
        return round(per_gflop * _gflop(train.embedding_size, negatives), 3)

    per_second, gemm = len(history) * targets / sum(seconds), statistics.mean(watch.gflops)
    total = per_second * _gflop(train.embedding_size, train.negatives) / gemm
    return {
        "events_per_second": round(per_second),
        "share_of_gemm": share_of_gemm(train.negatives),
        "share_of_gemm_total": round(total, 3),
        "share_of_gemm_distinct": share_of_gemm(scored),
        "gemm_gflops": round(gemm, 1),
        "negatives_scored": round(scored),
        "seconds_to_recall_0.70": watch.seconds_to_goal,
        "valid_recall@20": watch.recall,
        "recall@20": round(test["recall@20"], 4),
        "mrr@20": round(test["mrr@20"], 4),
        "epochs": len(history),
        **{f"share_{name}": round(share, 3) for name, share in shares.items()},
    }


def _gflop(units: int, negatives: float) -> float:
    """The work of a target."""
    return 3 * (2 * 2 * units * 3 * units + 2 * negatives * units) / 1e9


def _batches(trainer: Trainer) -> list[Batch]:
    """Some of an epoch's, of all lengths."""
    targets, every = trainer.config.train.batch_targets_per_rank, trainer.steps_per_epoch // _STEPS
    with batches.open_epoch(
        trainer.manifest, ("train",), trainer.shard, targets, 0, trainer.columns
    ) as epoch:
        return list(epoch.shard(max(1, every), 0))


def _sampler(trainer: Trainer) -> Sampler:
    if trainer.sampler is None:
        sys.exit("train.negatives: expected 1 or more, found 0")
    return trainer.sampler


def _negatives_scored(trainer: Trainer, rows: list[Batch]) -> float:
    sampler = _sampler(trainer)

    def count(batch: Batch) -> int:
        loss = trainer.config.train.loss
        return int(tf.size(drawn(trainer.model, batch, loss, sampler, trainer.noise()).item_K))

    return statistics.mean(count(batch) for batch in rows[:10])


def _shares(trainer: Trainer, rows: list[Batch], epoch_seconds: float) -> dict[str, float]:
    """Shares of the time of an epoch, by leaving out."""
    rate = tf.constant(1e-6)  # the weights stay about where they are
    compiled = {
        name: tf.function(partial(part, trainer), autograph=False, reduce_retracing=True)
        for name, part in _PARTS.items()
    }
    rounds = [
        {name: _seconds(part, rows, rate) for name, part in compiled.items()} for _ in range(5)
    ]
    per_epoch = trainer.steps_per_epoch / len(rows)
    seconds = {name: per_epoch * statistics.median(own[name] for own in rounds) for name in _PARTS}
    shares, before = {}, 0.0
    for name, value in seconds.items():
        shares[name] = (value - before) / epoch_seconds
        before = value
    return {"reading": 1 - before / epoch_seconds, **shares}


def _input(trainer: Trainer, batch: Batch, rate: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """What the network reads, and what its states are multiplied with."""
    noise, train = trainer.noise(), trainer.config.train
    candidates = drawn(trainer.model, batch, train.loss, _sampler(trainer), noise)
    found = [*vectors_to_learn(trainer.model, candidates)]
    for lane, own in enumerate(lanes(batch, train.lanes)):
        of_lane = noise.of_lane(lane)
        cases, history, _ = learnt(trainer.model, own, of_lane)
        found.append(trainer.model.output_tower(cases.item_P))
        found.append(trainer.model.step_inputs(before(history, cases.step_C), of_lane))
    return tuple(found)


def _forward(trainer: Trainer, batch: Batch, rate: tf.Tensor) -> tuple[tf.Tensor, ...]:
    return trainer.loss(batch, trainer.noise())


def _backward(trainer: Trainer, batch: Batch, rate: tf.Tensor) -> tuple[tf.Tensor, ...]:
    return _flat(trainer.gradients(batch)[0])


def _exchange(trainer: Trainer, batch: Batch, rate: tf.Tensor) -> tuple[tf.Tensor, ...]:
    gradients, _, weight_sum = trainer.gradients(batch)
    summed = exchange.mean_gradients(gradients, weight_sum, trainer.shard.ranks)
    return _flat(ranks.clip(summed, 1.0)[0])


def _update(trainer: Trainer, batch: Batch, rate: tf.Tensor) -> tuple[tf.Tensor, ...]:
    return (trainer.train_batch(batch, rate),)


def _flat(gradients: list[Gradient]) -> tuple[tf.Tensor, ...]:
    return tuple(getattr(gradient, "values", gradient) for gradient in gradients)


# Each with all that stands before it.
_PARTS = {
    "input": _input,
    "forward": _forward,
    "backward": _backward,
    "exchange": _exchange,
    "update": _update,
}


def _seconds(part: Callable[..., Any], rows: list[Any], rate: Any) -> float:
    part(rows[0], rate)
    started = time.monotonic()
    for batch in rows:
        done = part(batch, rate)
    [value.numpy() for value in done]
    return time.monotonic() - started


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    with training.prepared(training.arguments(__doc__), _SETTINGS) as config:
        print(json.dumps(figures(config)))
