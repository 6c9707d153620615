"""The folder of a run: what rank 0 writes while it trains, and where a stopped run goes on."""

from __future__ import annotations

import copy
import json
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Literal

import tensorflow as tf

from recsys import files
from recsys.command import to_yaml
from recsys.config import Config
from recsys.manifest import Manifest
from recsys.schemas import FIRST_ITEM
from recsys.train import checkpoints, export, lite, tracking, vectors
from recsys.train.batches import read_rows
from recsys.train.catalogue import read_item_ids
from recsys.train.curves import draw_curves
from recsys.train.loop import Trainer
from recsys.train.model import Recommender
from recsys.train.progress import Metrics, Progress
from recsys.train.tracking import Mlflow
from recsys.train.warm import VOCABULARIES, WarmStart, names, vocabularies

log = logging.getLogger(__name__)

MODEL = "model.json"
# How a checkpoint's name ends.
_AT_STEP = "-step-{:09d}"
# Of validation, that a TFLite export is compared with the model on.
_CHECKED_ROWS = 16

# First the number of epochs is chosen; then, if wanted, a model is fitted to train and valid.
Stage = Literal["choice", "refit"]


class Run:
    """Checkpoints, metrics, curves, and at the end the exported model, in one version.

    `best/` holds the weights of the best epoch, `last/last.json` says where the last ones are.

    Args:
        config: the configuration
        dataset: that is trained on
    """

    def __init__(self, config: Config, dataset: Manifest) -> None:
        self.config = config
        self.dataset = dataset
        # Going on with a run, or following it elsewhere, does not make it another one.
        same = replace(config.train, resume=False, mlflow_uri=None)
        self.identity = to_yaml(replace(config, train=same))
        self.warm = WarmStart(config, dataset) if config.train.warm_start else None
        self.started_on = {
            "config": self.identity,
            "dataset": dataset.content_fingerprint,
            "vocabulary_fingerprint": dataset.vocabulary_fingerprint,
            "warm_start": self.warm.version if self.warm is not None else None,
        }
        unfinished = self._unfinished() if config.train.resume else None
        self.version = unfinished or files.new_version(config.paths.model)
        self.folder = self.version
        self.mlflow = Mlflow(config, self.version) if config.train.mlflow_uri else None

    def member(self, seed: int) -> Run:
        """The same run for another seed of an ensemble, with checkpoints and metrics apart."""
        if seed == self.config.seed:
            return self
        other = copy.copy(self)
        other.folder, other.mlflow = files.join(self.version, f"seed-{seed}"), None
        return other

    def _unfinished(self) -> str | None:
        """The last version that has a checkpoint of just this run, and no model yet."""
        versions = files.join(files.as_url(self.config.paths.model), "versions")
        for name in reversed(files.names(versions)):
            version = files.join(versions, name)
            start = files.join(version, "run.json")
            if files.exists(files.join(version, MODEL)) or not files.exists(start):
                continue
            if files.read_json(start) == self.started_on:
                return version
        return None

    def _checkpoints(self, stage: Stage) -> str:
        return files.join(self.folder, "checkpoints" if stage == "choice" else "refit")

    def restore(self, trainer: Trainer, stage: Stage) -> Progress:
        """Puts the stage's last whole checkpoint into the trainer; how far it was.

        Other ranks than those that have begun an epoch begin it again.
        """
        found = checkpoints.restore_last(
            self._checkpoints(stage),
            _state(trainer),
            lambda progress: Progress(**progress).goes_on_with(trainer.shard.ranks),
        )
        progress = Progress() if found is None else Progress(**found)
        if found is not None:
            self._point_to_last(stage, progress)
        checkpoints.drop_behind(self._checkpoints(stage), _name(progress))
        if found is None:
            if stage == "choice" and self.folder == self.version:
                self._start()
            if self.warm is not None:
                self.warm.apply(trainer.model, trainer.optimizer, trainer.config.seed)
            return progress
        log.info(
            "going on with the %s of %s at epoch %d, step %d",
            stage, self.version, progress.epoch, progress.step,
        )  # fmt: skip
        return progress

    def _start(self) -> None:
        files.write_bytes(files.join(self.version, "config.yaml"), to_yaml(self.config).encode())
        files.write_json(files.join(self.version, "run.json"), self.started_on)

    def save(self, trainer: Trainer, progress: Progress, stage: Stage) -> None:
        """Writes a checkpoint, and after an epoch its metrics and, if it is the best, its model."""
        if progress.step == 0 and progress.history:
            self._after_epoch(trainer, progress, stage)
        checkpoints.save(
            self._checkpoints(stage), _name(progress), _state(trainer), progress.to_dict()
        )
        self._point_to_last(stage, progress)
        kept, start = self.config.train.keep_checkpoints, _AT_STEP.format(0)
        checkpoints.keep_last(self._checkpoints(stage), kept, also=start)

    def _point_to_last(self, stage: Stage, progress: Progress) -> None:
        """A small file, since object stores have no links, and a copy would be as large again."""
        weights = f"{files.join(self._checkpoints(stage), _name(progress))}.npz"
        about = {
            "weights": weights.removeprefix(f"{self.folder}/"),
            "stage": stage,
            "epoch": progress.epoch,
            "step": progress.step,
        }
        files.write_json(files.join(self.folder, "last", "last.json"), about)

    def _after_epoch(self, trainer: Trainer, progress: Progress, stage: Stage) -> None:
        metrics = progress.history[-1]
        self._follow(metrics, stage)
        shown = " ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        lines = "".join(json.dumps(entry) + "\n" for entry in progress.history).encode()
        if stage == "refit":
            log.info("refit: %s", shown)
            files.write_bytes(files.join(self.folder, "refit.jsonl"), lines)
            return
        is_best = metrics == progress.best(self.config.train.early_stopping_metric)
        log.info("%s%s", shown, " (best)" if is_best else "")
        if is_best:
            self.save_best(trainer, metrics)
        files.write_bytes(files.join(self.folder, "metrics.jsonl"), lines)
        files.write_bytes(files.join(self.folder, "curves.png"), draw_curves(progress.history))

    def save_best(self, trainer: Trainer, metrics: Metrics) -> None:
        """Keeps the trainer's weights as the best so far, with what the optimizer needs."""
        best = files.join(self.folder, "best")
        about = {"epoch": metrics["epoch"], "variables": names(trainer.variables)}
        checkpoints.save(best, "best", _state(trainer), about)

    def _follow(self, metrics: Metrics, stage: Stage) -> None:
        name = f"events.out.tfevents.{int(metrics['epoch']):05d}"
        where = files.join(self.folder, "tensorboard", stage, name)
        files.write_bytes(where, tracking.event_file(metrics))
        if self.mlflow is not None:
            self.mlflow.epoch(metrics, "" if stage == "choice" else "refit.")

    def take_best(self, trainer: Trainer) -> None:
        """Puts the best weights into the trainer's model, with what the optimizer needs."""
        checkpoints.restore(files.join(self.folder, "best"), "best", _state(trainer))

    def take_mean(self, trainer: Trainer, stage: Stage) -> int:
        """Puts the mean of the last checkpoints' weights into the model; of how many it is."""
        count = self.config.train.average_checkpoints
        return checkpoints.restore_mean(self._checkpoints(stage), count, trainer.variables)

    def finish(self, trainer: Trainer, best: Metrics) -> None:
        """Exports the trainer's model and publishes the version."""
        self._export(trainer.model)
        weights = [variable.numpy().tobytes() for variable in trainer.variables]
        fingerprint = self.dataset.vocabulary_fingerprint
        about = {
            "model_version": files.fingerprint([*weights, fingerprint, self.identity]),
            "vocabulary_fingerprint": fingerprint,
            "dataset": self.dataset.url,
            "ranks": trainer.shard.ranks,
            "best": best,
            "trained_on": list(trainer.splits),
            "purchase_threshold": _purchase_threshold(best),
            "inputs": list(trainer.model.events.columns),
            "event_numbers": {
                name: asdict(scale)
                for name, scale in self.dataset.event_numbers.items()
                if name in trainer.model.events.columns
            },
            "known_items": trainer.model.known_size - FIRST_ITEM,
        }
        files.write_json(
            files.join(self.version, VOCABULARIES),
            vocabularies(self.dataset, self.config.train.item_features),
        )
        files.write_json(files.join(self.version, MODEL), about)
        files.publish(self.version)
        if self.mlflow is not None:
            self.mlflow.finish(str(about["model_version"]), self.version)
        log.info("model %s written to %s", about["model_version"], self.version)

    def _export(self, model: Recommender) -> None:
        item_ids, event_types = read_item_ids(self.dataset), list(self.dataset.event_types)
        values = {"event_type": event_types, "platform": self.dataset.platforms}
        exclude_history = self.config.ranking.exclude_history
        with tempfile.TemporaryDirectory() as folder:
            scales = self.dataset.event_numbers
            module = export.Export(model, item_ids, values, exclude_history, scales)
            export.save(module, f"{folder}/export")
            files.upload(f"{folder}/export", files.join(self.version, "export"))
        vectors.write_item_vectors(
            model, item_ids, files.join(self.version, "item_vectors.parquet")
        )
        if self.config.train.tflite:
            fixed = lite.Lite(model, self.dataset.sequence_length, exclude_history)
            content = lite.convert(fixed)
            rows = read_rows(self.dataset, "valid", _CHECKED_ROWS, model.events.columns)
            lite.check(content, fixed, rows)
            files.write_bytes(files.join(self.version, "lite", "model.tflite"), content)
            names = {
                "item_ids": item_ids,
                "event_types": event_types,
                "platforms": list(self.dataset.platforms),
                "event_numbers": {name: asdict(own) for name, own in scales.items()},
                "first_index": FIRST_ITEM,
            }
            files.write_json(files.join(self.version, "lite", "vocabulary.json"), names)


def _name(progress: Progress) -> str:
    """Of a checkpoint; names sort in the order of writing."""
    return f"epoch-{progress.epoch:05d}{_AT_STEP.format(progress.step)}"


def _purchase_threshold(best: Mapping[str, Any]) -> float | None:
    """The best epoch's, or the mean of those of an ensemble that nothing is left to judge."""
    own = best.get("purchase_threshold")
    members = [found.get("purchase_threshold") for found in best.get("members", {}).values()]
    if own is None and members and None not in members:
        return float(sum(members) / len(members))
    return own


def _state(trainer: Trainer) -> list[tf.Variable]:
    """All that a resumed run needs of the variables, in the order in which it is saved."""
    return [*trainer.variables, *trainer.optimizer.state()]
