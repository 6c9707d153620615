"""Where else a run can be followed: TensorBoard's event files, and an MLflow server."""

from __future__ import annotations

import importlib
import logging
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from recsys import files
from recsys.config import Config
from recsys.errors import ConfigError
from recsys.train.progress import Metrics

log = logging.getLogger(__name__)

# By MLflow's own settings a server that says nothing keeps all ranks waiting for many minutes.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}


def event_file(metrics: Metrics) -> bytes:
    """An event file with the metrics of one epoch, for TensorBoard.

    A file an epoch, written whole: object stores can't append, and an epoch that a resumed run
    trains again replaces what was said of it.
    """
    with tempfile.TemporaryDirectory() as folder:
        writer = tf.summary.create_file_writer(folder)
        with writer.as_default(step=int(metrics["epoch"])):
            for name, value in metrics.items():
                tf.summary.scalar(name, value)
        writer.close()
        return next(Path(folder).iterdir()).read_bytes()


class Mlflow:
    """One run on an MLflow server; what the server refuses does not stop the training.

    Args:
        config: train.mlflow_uri is the server's; its experiment has the pipeline's name
        version: URL of the run's folder, which keeps the server's id of the run, so that a
            resumed run goes on there, too

    Raises:
        ConfigError: the package is not installed
    """

    def __init__(self, config: Config, version: str) -> None:
        check(config)
        self._config = config
        self._client: Any = None
        self._note = files.join(version, "mlflow.json")
        self._id: str | None = None

    def _run_id(self) -> str:
        if self._client is None:
            for name, value in _PATIENCE.items():
                os.environ.setdefault(name, value)
            client = importlib.import_module("mlflow").MlflowClient
            self._client = client(tracking_uri=self._config.train.mlflow_uri)
        if self._id is None and files.exists(self._note):
            self._id = str(files.read_json(self._note)["run_id"])
        if self._id is None:
            name = self._config.name
            experiment = self._client.get_experiment_by_name(name)
            place = experiment.experiment_id if experiment else self._client.create_experiment(name)
            self._id = str(self._client.create_run(place).info.run_id)
            files.write_json(self._note, {"run_id": self._id})
            for key, value in self._config.to_dict()["train"].items():  # type: ignore[attr-defined]
                self._client.log_param(self._id, f"train.{key}", value)
        return self._id

    def epoch(self, metrics: Metrics, prefix: str = "") -> None:
        """Sends the metrics of an epoch; @ is not allowed in their names."""

        def send() -> None:
            run_id, now = self._run_id(), int(time.time() * 1000)
            for name, value in metrics.items():
                key = prefix + name.replace("@", "_at_")
                self._client.log_metric(run_id, key, value, now, int(metrics["epoch"]))

        self._try(send)

    def finish(self, model_version: str, version: str) -> None:
        """Ends the run: the model's version and place, and the learning curves."""

        def send() -> None:
            run_id = self._run_id()
            self._client.set_tag(run_id, "model_version", model_version)
            self._client.set_tag(run_id, "model", version)
            for name in ("config.yaml", "metrics.jsonl", "curves.png"):
                local = files.local_copy(files.join(version, name))
                self._client.log_artifact(run_id, local)
            self._client.set_terminated(run_id)

        self._try(send)

    def _try(self, send: Callable[[], None]) -> None:
        try:
            send()
        except Exception as error:
            log.warning("MLflow at %s: %s", self._config.train.mlflow_uri, error)


def check(config: Config) -> None:
    """Makes sure that a run can be followed as the configuration says.

    Raises:
        ConfigError: train.mlflow_uri is set, and the package is not installed
    """
    if config.train.mlflow_uri is None:
        return
    try:
        importlib.import_module("mlflow")
    except ImportError as error:
        raise ConfigError(
            "train.mlflow_uri: expected the package mlflow (pip install recsys[mlflow]), "
            f"found {error}"
        ) from None
