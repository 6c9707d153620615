import importlib.util
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from recsys import files
from recsys.config import Config, Train
from recsys.errors import ConfigError
from recsys.train import tracking

METRICS = (
    {"epoch": 1, "loss": 2.5, "recall@20": 0.25},
    {"epoch": 2, "loss": 1.5, "recall@20": 0.5},
)


def test_event_files_give_tensorboard_the_metrics_of_their_epochs(tmp_path: Path) -> None:
    found = {}
    for metrics in METRICS:
        path = tmp_path / f"events.out.tfevents.{metrics['epoch']:05d}"
        path.write_bytes(tracking.event_file(metrics))
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                found[event.step, value.tag] = float(tf.make_ndarray(value.tensor))
    assert found == {
        (metrics["epoch"], name): value for metrics in METRICS for name, value in metrics.items()
    }


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return pytest.importorskip("mlflow", reason="needs recsys[mlflow]")


def test_mlflow_has_one_run_for_a_run_that_went_on(mlflow: Any, tmp_path: Path) -> None:
    uri = (tmp_path / "mlflow").as_uri()
    config = Config(name="shop", train=Train(mlflow_uri=uri, epochs=7))
    version = files.as_url(str(tmp_path / "version"))
    for name in ("config.yaml", "metrics.jsonl", "curves.png"):
        files.write_bytes(files.join(version, name), b"x")
    for metrics in METRICS:
        run = tracking.Mlflow(config, version)  # as every resumed run makes one
        run.epoch(metrics)
    run.finish("0123", version)

    client = mlflow.MlflowClient(tracking_uri=uri)
    [found] = client.search_runs([client.get_experiment_by_name("shop").experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.params["train.epochs"] == "7"
    assert found.data.tags["model_version"] == "0123"
    history = client.get_metric_history(found.info.run_id, "recall_at_20")
    assert [(entry.step, entry.value) for entry in history] == [(1, 0.25), (2, 0.5)]
    assert "curves.png" in [entry.path for entry in client.list_artifacts(found.info.run_id)]


def test_a_server_that_does_not_answer_stops_nothing(
    mlflow: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    config = Config(train=Train(mlflow_uri=(blocked / "mlflow").as_uri()))
    tracking.Mlflow(config, files.as_url(str(tmp_path / "version"))).epoch(METRICS[0])
    assert "MLflow at file:" in caplog.text


def test_without_the_package_the_key_is_refused() -> None:
    if importlib.util.find_spec("mlflow"):
        pytest.skip("the package is there")
    with pytest.raises(ConfigError, match=r"train\.mlflow_uri: expected the package mlflow"):
        tracking.check(Config(train=Train(mlflow_uri="http://localhost:5000")))
