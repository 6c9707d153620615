"""What a run makes its model of where the best weights are damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import horovod.tensorflow as hvd
import numpy as np
import pytest
import tensorflow as tf

from recsys import files
from recsys.config import Config
from recsys.errors import DataError
from recsys.manifest import Manifest
from recsys.train import best_weights, checkpoints, exports, pipeline
from recsys.train.shards import Shard
from recsys.train.trainer import Trainer
from tests.data import configuration

ENDS = ["epoch-00002-step-000000000", "epoch-00003-step-000000000"]  # after epochs 1 and 2
RECALL = {1: 0.5, 2: 0.4}


@pytest.fixture
def config(dataset: Manifest, dataset_place: Path, tmp_path: Path) -> Config:
    return configuration(
        "--paths.dataset", str(dataset_place), "--paths.model", str(tmp_path / "model"),
        "--train.batch_targets_per_rank", "20", "--train.epochs", "2", "--train.resume", "true",
        "--train.negatives", "10", "--train.embedding_size", "8",
    )  # fmt: skip


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.fixture
def killed(config: Config, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The version of a run that was killed before it published; its first epoch is the best."""
    hvd.init()
    recalls = iter(RECALL.values())

    def validate(_: Trainer) -> dict[str, float]:
        recall = next(recalls)
        return {"recall@20": recall, "mrr@20": recall}

    def killed_before(version: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "validate", validate)
    monkeypatch.setattr(exports, "write", lambda *_: None)
    with monkeypatch.context() as patch:
        patch.setattr(files, "publish", killed_before)
        with pytest.raises(KeyboardInterrupt):
            pipeline.train(config, Shard(0, 1))
    [version] = (Path(config.paths.model) / "versions").iterdir()
    assert checkpoints.names(str(version / "checkpoints")) == ENDS
    return version


def _arrays(path: Path) -> list[np.ndarray]:
    arrays = np.load(path)
    return [arrays[name] for name in sorted(arrays.files)]


def _equal(one: Path, other: Path) -> bool:
    pairs = zip(_arrays(one), _arrays(other), strict=True)
    return all(np.array_equal(values, wanted) for values, wanted in pairs)


def _published(config: Config) -> dict[str, Any]:
    """What the run says of its model, when it has gone on."""
    pipeline.train(config, Shard(0, 1))
    version = Path(files.local_copy(files.current(config.paths.model, "")))
    return dict(json.loads((version / "model.json").read_text()))


def test_best_weights_that_are_whole_are_published(
    config: Config, killed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written = (killed / "best" / "best.npz").read_bytes()
    expected = json.loads((killed / "model.json").read_text())
    assert _published(config) == expected
    assert expected["best"]["epoch"] == 1
    assert (killed / "best" / "best.npz").read_bytes() == written
    assert "used instead" not in caplog.text


@pytest.mark.parametrize("damaged", ["best.npz", "best.json", "gone"])
def test_the_checkpoint_of_the_best_epoch_takes_the_place_of_damaged_best_weights(
    config: Config, killed: Path, damaged: str, caplog: pytest.LogCaptureFixture
) -> None:
    expected = json.loads((killed / "model.json").read_text())
    if damaged == "gone":
        (killed / "best" / "best.npz").unlink()
    else:
        _flip(killed / "best" / damaged)
    found = _published(config)
    assert found == expected  # the version is of the weights
    assert found["best"]["recall@20"] == RECALL[1]
    [warning] = [told for told in caplog.messages if "used instead" in told]
    place = files.as_url(str(killed))
    name = "best.npz" if damaged == "gone" else damaged
    assert warning.startswith(f"{place}/best/{name}: expected ")
    assert warning.endswith(
        f"; the weights after epoch 1 in {place}/checkpoints are used instead, the same ones"
    )
    assert _equal(killed / "best" / "best.npz", killed / "checkpoints" / f"{ENDS[0]}.npz")


def test_where_that_is_damaged_too_the_last_one_is_taken_with_its_own_metrics(
    config: Config, killed: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _flip(killed / "best" / "best.npz")
    _flip(killed / "checkpoints" / f"{ENDS[0]}.npz")
    found = _published(config)
    assert found["best"]["epoch"] == 2
    assert found["best"]["recall@20"] == RECALL[2]
    assert f"{ENDS[0]}.npz: expected the content that was written, found another" in caplog.text
    assert "are used instead, others than the best" in caplog.text
    assert _equal(killed / "best" / "best.npz", killed / "checkpoints" / f"{ENDS[1]}.npz")
    # Had it been killed then, it would do so again.
    monkeypatch.setattr(files, "published", lambda _: [])
    assert _published(config) == found
    [*_, warning] = [told for told in caplog.messages if "used instead" in told]
    assert "best: expected the weights of {'epoch': 1, 'averaged': None}, found those of" in warning


def test_weights_within_an_epoch_and_those_of_another_run_are_not_taken(tmp_path: Path) -> None:
    folder, kept = (files.as_url(str(tmp_path / name)) for name in ("best", "kept"))
    history, one = [{"epoch": 1, "recall@20": 0.5}], [tf.Variable([1.0])]
    checkpoints.save(folder, "best", one, {"epoch": 1}, "this")
    checkpoints.save(kept, "epoch-1-step-0", one, {"step": 0, "history": []}, "this")
    checkpoints.save(kept, ENDS[0], one, {"step": 0, "history": history}, "other")
    checkpoints.save(kept, ENDS[1], one, {"step": 3, "history": history}, "this")
    _flip(tmp_path / "best" / "best.npz")
    found = [tf.Variable([0.0])]
    with pytest.raises(
        DataError, match=r"best\.npz: expected the content .*; nor does .*/kept hol"
    ):
        best_weights.take(folder, kept, ENDS[0], found, history[0], "this")
    assert found[0].numpy() == 0.0
