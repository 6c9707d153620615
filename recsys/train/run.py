"""The folder of a run: what rank 0 writes while it trains, and where a stopped run goes on."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

import tensorflow as tf

from recsys import files
from recsys.command import to_yaml
from recsys.config import Config
from recsys.errors import ConfigError
from recsys.manifest import Manifest
from recsys.schemas import FIRST_ITEM
from recsys.train import best_weights, checkpoints, exports, identity, launcher, tracking
from recsys.train.curves import draw_curves
from recsys.train.progress import Metrics, Progress
from recsys.train.tracking import Mlflow
from recsys.train.trainer import Trainer
from recsys.train.warm import VOCABULARIES, WarmStart, names, vocabularies

log = logging.getLogger(__name__)

MODEL = "model.json"
# How a checkpoint's name ends.
_AT_STEP = "-step-{:09d}"

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
        self.warm = WarmStart(config, dataset) if config.train.warm_start else None
        started_from = self.warm.version if self.warm is not None else None
        self.identity = identity.of_run(config, dataset, started_from)
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
        other.identity = {**self.identity, "seed": seed}
        return other

    def _unfinished(self) -> str | None:
        """The last version of just this run that was not published yet."""
        versions = files.join(files.as_url(self.config.paths.model), "versions")
        others, published = [], files.published(self.config.paths.model)
        for name in reversed(files.names(versions)):
            version = files.join(versions, name)
            start = files.join(version, "run.json")
            if name in published or not files.exists(start):
                continue
            former = files.read_json(start)
            if former == self.identity:
                return version
            others.append(f"{version} differs in {identity.differences(former, self.identity)}")
        if others:
            log.warning("train.resume: no unfinished run is this one, a new one is begun; the last "
                        "of them, %s", others[0])  # fmt: skip
        return None

    @property
    def _fingerprint(self) -> str:
        """Of all that makes the run this one; its checkpoints have it, too."""
        return identity.fingerprint(self.identity)

    def _checkpoints(self, stage: Stage) -> str:
        return files.join(self.folder, "checkpoints" if stage == "choice" else "refit")

    def restore(self, trainer: Trainer, stage: Stage) -> Progress:
        """Puts the stage's last whole checkpoint into the trainer; how far it was.

        In an elastic run other ranks than those that have begun an epoch begin it again.

        Raises:
            ConfigError: ranks that stay as they are are not those that have begun the epoch
            DataError: no checkpoint is whole
        """
        found = checkpoints.restore_last(
            self._checkpoints(stage),
            _state(trainer),
            lambda progress: self._goes_on(Progress(**progress), trainer.shard.ranks),
            self._fingerprint,
        )
        progress = Progress() if found is None else Progress(**found)
        if found is not None:
            self._point_to_last(stage, progress)
            self._keep_if_best(trainer, progress, stage)
        checkpoints.drop_behind(self._checkpoints(stage), _name(progress))
        if self.folder == self.version and stage == "choice":
            self._start()
        if found is None:
            if self.warm is not None:
                self.warm.apply(trainer.model, trainer.optimizer, trainer.config.seed)
            return progress
        log.info(
            "going on with the %s of %s at epoch %d, step %d",
            stage, self.version, progress.epoch, progress.step,
        )  # fmt: skip
        return progress

    def _goes_on(self, reached: Progress, ranks: int) -> bool:
        """Whether so many ranks can go on from a checkpoint."""
        if reached.goes_on_with(ranks):
            return True
        place = f"{self.version}, where epoch {reached.epoch} was begun by {reached.ranks} ranks"
        if not launcher.is_elastic():
            raise ConfigError(
                f"train.resume: expected {place}, to be gone on with by as many, found {ranks}; "
                f"start {reached.ranks}, or remove the checkpoints of its steps behind 0, and the "
                "epoch is begun again"
            )
        log.warning("%s: %d begin it again", place, ranks)
        return False

    def _start(self) -> None:
        files.write_bytes(files.join(self.version, "config.yaml"), to_yaml(self.config).encode())
        files.write_json(files.join(self.version, "run.json"), self.identity)

    def save(self, trainer: Trainer, progress: Progress, stage: Stage) -> None:
        """Writes a checkpoint, and after an epoch its metrics and, if it is the best, its model."""
        if progress.step == 0 and progress.history:
            self._after_epoch(progress, stage, trainer.pace.left())
        checkpoints.save(
            self._checkpoints(stage),
            _name(progress),
            _state(trainer),
            progress.to_dict(),
            self._fingerprint,
        )
        self._point_to_last(stage, progress)
        self._keep_if_best(trainer, progress, stage)
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

    def _after_epoch(self, progress: Progress, stage: Stage, left: str) -> None:
        metrics = progress.history[-1]
        self._follow(metrics, stage)
        shown = " ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        left = f"; {left}" if left else ""
        lines = "".join(json.dumps(entry) + "\n" for entry in progress.history).encode()
        if stage == "refit":
            log.info("refit: %s%s", shown, left)
            files.write_bytes(files.join(self.folder, "refit.jsonl"), lines)
            return
        log.info("%s%s%s", shown, " (best)" if self._is_best(progress) else "", left)
        files.write_bytes(files.join(self.folder, "metrics.jsonl"), lines)
        curves = draw_curves(progress.history, self.config.train.early_stopping_metric)
        files.write_bytes(files.join(self.folder, "curves.png"), curves)

    def _is_best(self, progress: Progress) -> bool:
        """Whether the epoch that has just ended is the best so far."""
        best = progress.best(self.config.train.early_stopping_metric)
        return progress.step == 0 and best is not None and best == progress.history[-1]

    def _keep_if_best(self, trainer: Trainer, progress: Progress, stage: Stage) -> None:
        """Keeps the best weights when their checkpoint is written, and no sooner.

        A run that is stopped between the two finds them in the checkpoint that it goes on from.
        """
        if stage == "choice" and self._is_best(progress):
            self.save_best(trainer, progress.history[-1])

    def save_best(self, trainer: Trainer, metrics: Metrics) -> None:
        """Keeps the trainer's weights as the best so far, with what the optimizer needs."""
        folder = files.join(self.folder, best_weights.NAME)
        about = {**best_weights.of_which(metrics), "variables": names(trainer.variables)}
        checkpoints.save(folder, best_weights.NAME, _state(trainer), about, self._fingerprint)

    def _follow(self, metrics: Metrics, stage: Stage) -> None:
        name = f"events.out.tfevents.{int(metrics['epoch']):05d}"
        where = files.join(self.folder, "tensorboard", stage, name)
        files.write_bytes(where, tracking.event_file(metrics))
        if self.mlflow is not None:
            self.mlflow.epoch(metrics, "" if stage == "choice" else "refit.")

    def take_best(self, trainer: Trainer, chosen: Metrics) -> Metrics:
        """Puts the best weights into the trainer's model, with what the optimizer needs.

        Returns:
            the metrics of the weights, which are others than the chosen where those are damaged

        Raises:
            DataError: they are damaged, and no checkpoint can be taken (best_weights.take)
        """
        taken = best_weights.take(
            files.join(self.folder, best_weights.NAME),
            self._checkpoints("choice"),
            _name(Progress(int(chosen["epoch"]) + 1)),
            _state(trainer),
            chosen,
            self._fingerprint,
        )
        if taken is not chosen:  # a warm start looks for them there
            self.save_best(trainer, taken)
        return taken

    def take_mean(self, trainer: Trainer, stage: Stage) -> int:
        """Puts the mean of the last checkpoints' weights into the model; of how many it is."""
        count, folder = self.config.train.average_checkpoints, self._checkpoints(stage)
        return checkpoints.restore_mean(folder, count, trainer.variables, self._fingerprint)

    def model_version(self, trainer: Trainer) -> str:
        """The fingerprint of the weights and of all that makes the run this one.

        That has the vocabulary, and of the configuration what decides which weights come out: how
        a run is resumed or followed, or what is done with its model, makes it no other model.
        """
        weights = [variable.numpy().tobytes() for variable in trainer.variables]
        return files.fingerprint([*weights, self._fingerprint])

    def finish(self, trainer: Trainer, best: Metrics) -> None:
        """Exports the trainer's model and publishes the version."""
        exports.write(trainer.model, self.dataset, self.config, self.version)
        about = {
            "model_version": self.model_version(trainer),
            "vocabulary_fingerprint": self.dataset.vocabulary_fingerprint,
            "dataset": self.dataset.url,
            "ranks": trainer.shard.ranks,
            "best": best,
            "trained_on": list(trainer.splits),
            "learnt_until": self.dataset.ends(trainer.splits),
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
