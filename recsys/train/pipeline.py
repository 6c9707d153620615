"""The training job on one rank: dataset in, model out. Rank 0 alone writes."""

from __future__ import annotations

import json
import logging
import tempfile

import fsspec
import numpy as np
import pyarrow.parquet as pq
import tensorflow as tf

from recsys import files, manifest
from recsys.command import to_yaml
from recsys.config import Config
from recsys.errors import ConfigError
from recsys.manifest import Manifest
from recsys.schemas import FIRST_ITEM, UNKNOWN
from recsys.train import batches, checkpoints, export, ranks
from recsys.train.curves import draw_curves
from recsys.train.loop import Metrics, Trainer, fit
from recsys.train.model import Catalogue, Recommender
from recsys.train.optimizer import Adam

log = logging.getLogger("recsys")


def check(config: Config) -> None:
    """Says what a run would do, and raises what a user should read before the ranks start."""
    dataset = manifest.read(config.paths.dataset)
    catalogue, _ = read_catalogue(dataset, config)
    groups = len(dataset.splits["train"].files)
    train = dataset.splits["train"]
    log.info("dataset %s: %d items, %d rows", dataset.url, dataset.items, train.rows)
    log.info(
        "train: %d target steps, %d targets, %d row groups", train.steps, train.targets, groups
    )
    possible = [ranks for ranks in range(1, groups + 1) if _fits(dataset, ranks)]
    log.info("ranks that share the row groups equally: %s", ", ".join(map(str, possible)))
    model = Recommender(config.train, catalogue, config.seed)
    weights = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    log.info("model: %d weights, %.0f MiB with the optimizer", weights, weights * 12 / 2**20)


def _fits(dataset: Manifest, count: int) -> bool:
    return all(len(dataset.splits[name].files) % count == 0 for name in ("train", "valid"))


def run(config: Config) -> None:
    """Trains on this rank and, on rank 0, publishes the model."""
    shard = ranks.start(config.train.cpu_threads)
    tf.random.set_seed(config.seed * 1000 + shard.rank)
    dataset = manifest.read(config.paths.dataset)
    batches.check_shards(dataset, shard.ranks)
    catalogue, item_ids = read_catalogue(dataset, config)
    model = Recommender(config.train, catalogue, config.seed)
    optimizer = Adam(
        model.trainable_variables, config.train.learning_rate, config.train.warmup_steps
    )
    ranks.share_start([*model.trainable_variables, *optimizer.state()])
    trainer = Trainer(config, dataset, shard, model, optimizer)
    writer = RunWriter(config, dataset, trainer, item_ids) if shard.rank == 0 else None

    def after_epoch(epoch: int, metrics: Metrics, is_best: bool) -> None:
        if writer is not None:
            writer.after_epoch(epoch, metrics, is_best)

    best = fit(trainer, after_epoch)
    if writer is not None:
        writer.finish(best)


class RunWriter:
    """What rank 0 writes: checkpoints, metrics, curves, and at the end the exported model."""

    def __init__(
        self, config: Config, dataset: Manifest, trainer: Trainer, item_ids: list[str]
    ) -> None:
        self.config = config
        self.dataset = dataset
        self.trainer = trainer
        self.item_ids = item_ids
        self.version = files.new_version(config.paths.model)
        self.checkpoints = files.join(self.version, "checkpoints")
        self.best = files.join(self.version, "best")
        self.history: list[Metrics] = []
        files.write_bytes(files.join(self.version, "config.yaml"), to_yaml(config).encode())

    def after_epoch(self, epoch: int, metrics: Metrics, is_best: bool) -> None:
        """Writes the epoch's checkpoint and metrics."""
        self.history.append(metrics)
        shown = " ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        log.info("%s%s", shown, " (best)" if is_best else "")
        state = [*self.trainer.variables, *self.trainer.optimizer.state()]
        name = f"epoch-{epoch:04d}"
        checkpoints.save(self.checkpoints, name, state, {"history": self.history})
        checkpoints.keep_last(self.checkpoints, self.config.train.keep_checkpoints)
        if is_best:
            checkpoints.save(self.best, "best", self.trainer.variables, {"epoch": epoch})
        lines = "".join(json.dumps(entry) + "\n" for entry in self.history)
        files.write_bytes(files.join(self.version, "metrics.jsonl"), lines.encode())
        files.write_bytes(files.join(self.version, "curves.png"), draw_curves(self.history))

    def finish(self, best: Metrics) -> None:
        """Exports the best epoch's model and publishes the version."""
        checkpoints.restore(self.best, "best", self.trainer.variables)
        event_types = list(self.dataset.event_types)
        exclude_history = self.config.ranking.exclude_history
        module = export.Export(self.trainer.model, self.item_ids, event_types, exclude_history)
        with tempfile.TemporaryDirectory() as folder:
            export.save(module, f"{folder}/export")
            files.upload(f"{folder}/export", files.join(self.version, "export"))
        weights = [variable.numpy().tobytes() for variable in self.trainer.variables]
        fingerprint = self.dataset.vocabulary_fingerprint
        about = {
            "model_version": files.fingerprint([*weights, fingerprint, to_yaml(self.config)]),
            "vocabulary_fingerprint": fingerprint,
            "dataset": self.dataset.url,
            "ranks": self.trainer.shard.ranks,
            "best": best,
        }
        files.write_json(files.join(self.version, "model.json"), about)
        files.publish(self.version)
        log.info("model %s written to %s", about["model_version"], self.version)


def read_catalogue(dataset: Manifest, config: Config) -> tuple[Catalogue, list[str]]:
    """What the model must know of the dataset, and the item ids in the vocabulary's order.

    Raises:
        ConfigError: train.item_features names an attribute that the dataset does not have
    """
    for name in config.train.item_features:
        if name not in dataset.categories:
            known = ", ".join(sorted(dataset.categories)) or "none"
            raise ConfigError(f"train.item_features: expected one of {known}; found {name}")
    columns = ["item_index", "item_id", "train_count"]
    features = [f"{name}_index" for name in config.train.item_features]
    fs, path = fsspec.core.url_to_fs(files.join(dataset.url, "items.parquet"))
    table = pq.read_table(path, columns=columns + features, filesystem=fs).to_pandas()
    table = table.sort_values("item_index")
    counts_V = np.zeros(dataset.vocabulary_size, np.int64)
    counts_V[table["item_index"]] = table["train_count"]
    values = {}
    for name in config.train.item_features:
        values[name] = np.full(dataset.vocabulary_size, UNKNOWN, np.int32)
        values[name][:FIRST_ITEM] = 0
        values[name][table["item_index"]] = table[f"{name}_index"]
    catalogue = Catalogue(
        vocabulary_size=dataset.vocabulary_size,
        event_type_size=dataset.event_type_size,
        train_counts=counts_V,
        features=values,
        feature_sizes={name: dataset.categories[name] for name in config.train.item_features},
    )
    return catalogue, table["item_id"].tolist()
