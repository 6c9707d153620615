"""The training job on one rank: dataset in, model out. Rank 0 alone writes."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from recsys import manifest
from recsys.config import Config
from recsys.manifest import Manifest
from recsys.train import elastic, launcher, optimizer, ranks, shards
from recsys.train.candidates import Sampler
from recsys.train.catalogue import read_catalogue
from recsys.train.ensemble import Ensemble
from recsys.train.fit import fit, time_left
from recsys.train.model import Recommender
from recsys.train.progress import Metrics, Progress
from recsys.train.purchase import check_labels
from recsys.train.run import Run, Stage
from recsys.train.shards import Shard
from recsys.train.trainer import Trainer

log = logging.getLogger(__name__)


def run(config: Config) -> None:
    """Joins the other ranks, trains with them and, on rank 0, publishes the model."""
    shard = ranks.start(config.train)
    if not launcher.is_elastic():
        train(config, shard)
        return

    def goes_on(now: Shard, has_begun: bool) -> None:
        resume = has_begun or config.train.resume
        train(replace(config, train=replace(config.train, resume=resume)), now)

    elastic.run(goes_on, config.train.stall_seconds)


def train(config: Config, shard: Shard) -> None:
    """Trains as one of the ranks, which have started, and publishes the model on rank 0."""
    dataset = manifest.read(config.paths.dataset)
    shards.check_shards(dataset, shard.ranks, launcher.is_elastic())
    own = Run(config, dataset) if shard.rank == 0 else None
    trainer, chosen = _train(config, dataset, shard, own)
    if config.train.ensemble_seeds:
        trainer, chosen = _with_others(trainer, chosen, own)
    if own is not None:
        own.finish(trainer, chosen)
    # Rank 0 may stand still there as anywhere else, and nobody would know.
    with trainer.together("published"):
        ranks.sum_over_ranks([0.0], "published")


def _train(
    config: Config, dataset: Manifest, shard: Shard, own: Run | None
) -> tuple[Trainer, Metrics]:
    """The trained model, on rank 0 at least, and the validation metrics that chose it."""
    trainer = build(config, dataset, shard, ("train",), config.train.epochs)
    progress = _fit(trainer, own, "choice")
    chosen = progress.best(config.train.early_stopping_metric) or {}
    if config.train.average_checkpoints:
        chosen = or_mean(trainer, own, chosen, progress.epoch - 1)
    if config.train.refit:
        # Its own has the epochs over which the rate decays, and the time that is left.
        trainer = build(trainer.config, dataset, shard, ("train", "valid"), int(chosen["epoch"]))
        _fit(trainer, own, "refit")
        if own is not None and "averaged" in chosen:
            own.take_mean(trainer, "refit")
        if own is not None:
            own.save_best(trainer, chosen)
    elif own is not None:
        chosen = own.take_best(trainer, chosen)
    return trainer, chosen


def or_mean(trainer: Trainer, own: Run | None, best: Metrics, epoch: int) -> Metrics:
    """The metrics of the best epoch, or those of the mean of the last checkpoints if better.

    What the mean is better than is no longer the best that is kept.
    """
    averaged = own.take_mean(trainer, "choice") if own is not None else 0
    with trainer.together("mean-of-checkpoints"):
        ranks.share_start(trainer.variables)
        shared = ranks.share_plain({"averaged": averaged})
    metrics = {"epoch": epoch, **trainer.validate(), **shared}
    name = trainer.config.train.early_stopping_metric
    log.info("mean of the last checkpoints: %s %.4g, best epoch %.4g",
             name, metrics[name], best[name])  # fmt: skip
    if metrics[name] <= best[name]:
        return best
    if own is not None:
        own.save_best(trainer, metrics)
    return metrics


def _with_others(
    first: Trainer, chosen: Metrics, own: Run | None
) -> tuple[Trainer, dict[str, Any]]:
    """The ensemble of the first model with those of the other seeds, and its metrics.

    After a refit there is nothing left to validate on: only the members' metrics are known.
    """
    models, members, last = [first.model], {str(first.config.seed): chosen}, first
    seeds = first.config.train.ensemble_seeds
    for number, seed in enumerate(seeds, start=1):
        alone = replace(last.config.train, ensemble_seeds=seeds[number:])  # still to come
        config = replace(last.config, seed=seed, train=alone)
        last, found = _train(
            config, first.manifest, first.shard, own.member(seed) if own is not None else None
        )
        models.append(last.model)
        members[str(seed)] = found
    together = replace(first, model=Ensemble(models))
    with together.together("ensemble"):
        ranks.share_start(together.variables)
    metrics = {} if first.config.train.refit else together.validate()
    return together, {"epoch": chosen["epoch"], **metrics, "members": members}


def _fit(trainer: Trainer, own: Run | None, stage: Stage) -> Progress:
    """Trains from where the stage was, on all ranks alike."""
    trainer.make_graph()
    progress = own.restore(trainer, stage) if own is not None else Progress()
    with trainer.together(f"start-of-{stage}-of-seed-{trainer.config.seed}"):
        ranks.share_start([*trainer.variables, *trainer.optimizer.state()])
        version = own.version if own is not None else ""
        told = ranks.share_plain({"version": version, **progress.to_dict()})
        elastic.writes(told.pop("version"))
        progress = Progress(**told)

    def save(reached: Progress) -> None:
        if own is not None:
            own.save(trainer, reached, stage)
        if reached.step == 0:
            with trainer.together(f"changes-after-epoch-{reached.epoch - 1}"):
                elastic.let_change()

    reached = fit(trainer, progress, save)
    trainer.config = time_left(trainer.config, reached.history)
    return reached


def build(
    config: Config, dataset: Manifest, shard: Shard, splits: tuple[str, ...], epochs: int
) -> Trainer:
    """The model and all that trains it, on one rank.

    Args:
        config: the configuration
        dataset: that is trained on
        shard: of the rank
        splits: that are trained on
        epochs: passes over them, at most
    """
    train = config.train
    check_labels(dataset, train)
    catalogue = read_catalogue(dataset, config, splits)
    model = Recommender(train, catalogue, config.seed)
    sampler = None
    if train.negatives or train.negatives_from_batch:
        sampler = Sampler(
            catalogue.train_counts,
            train.negatives,
            train.negatives_power,
            train.negatives_from_batch,
        )
    rule = optimizer.make(train.optimizer, model.trainable_variables)
    return Trainer(config, dataset, shard, model, rule, sampler, splits, epochs)
