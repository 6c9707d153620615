"""The training job on one rank: dataset in, model out. Rank 0 alone writes."""

from __future__ import annotations

from recsys import manifest
from recsys.config import Config
from recsys.manifest import Manifest
from recsys.train import batches, optimizer, ranks
from recsys.train.batches import Shard
from recsys.train.candidates import Sampler
from recsys.train.catalogue import read_catalogue
from recsys.train.loop import Trainer, fit
from recsys.train.model import Recommender
from recsys.train.progress import Progress
from recsys.train.run import Run, Stage


def run(config: Config) -> None:
    """Trains on this rank and, on rank 0, publishes the model."""
    shard = ranks.start(config.train)
    dataset = manifest.read(config.paths.dataset)
    batches.check_shards(dataset, shard.ranks)
    own = Run(config, dataset) if shard.rank == 0 else None
    trainer = build(config, dataset, shard, ("train",), config.train.epochs)
    chosen = _fit(trainer, own, "choice").best(config.train.early_stopping_metric) or {}
    if config.train.refit:
        trainer = build(config, dataset, shard, ("train", "valid"), int(chosen["epoch"]))
        _fit(trainer, own, "refit")
    elif own is not None:
        own.take_best(trainer)
    if own is not None:
        own.finish(trainer, chosen)


def _fit(trainer: Trainer, own: Run | None, stage: Stage) -> Progress:
    """Trains from where the stage was, on all ranks alike."""
    progress = own.restore(trainer, stage) if own is not None else Progress()
    ranks.share_start([*trainer.variables, *trainer.optimizer.state()])
    progress = Progress(**ranks.share_plain(progress.to_dict()))

    def save(reached: Progress) -> None:
        if own is not None:
            own.save(trainer, reached, stage)

    return fit(trainer, progress, save)


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
    catalogue = read_catalogue(dataset, config, splits)
    model = Recommender(train, catalogue, config.seed)
    sampler = None
    if train.negatives:
        sampler = Sampler(
            catalogue.train_counts,
            train.negatives,
            train.negatives_power,
            train.negatives_from_batch,
        )
    rule = optimizer.make(train.optimizer, model.trainable_variables)
    return Trainer(config, dataset, shard, model, rule, sampler, splits, epochs)
