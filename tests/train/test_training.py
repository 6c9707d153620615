"""Whole runs of training in this process, on one rank: what is exported, and what comes next."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import horovod.tensorflow as hvd
import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from recsys import files, saved_model
from recsys.config import Config, Paths, Train
from recsys.manifest import Manifest
from recsys.train import checkpoints, elastic, pipeline
from recsys.train.batch import target_cases
from recsys.train.batches import COLUMNS
from recsys.train.progress import METRICS
from recsys.train.run import Run
from recsys.train.shards import Shard
from recsys.train.trainer import Trainer
from recsys.train.watch import Watch

ALONE = Shard(0, 1)


@dataclass
class Trained:
    """A finished run.

    Args:
        config: its configuration
        version: its folder
        about: its model.json
        collectives: the messages between ranks, and whether a watch waited meanwhile
    """

    config: Config
    version: Path
    about: dict
    collectives: list[tuple[str, bool]]

    def member(self, dataset: Manifest, seed: int, folder: Path) -> Trainer:
        """A model with the best weights of a seed."""
        alone = replace(self.config.train, ensemble_seeds=())
        config = replace(self.config, seed=seed, train=alone)
        trainer = pipeline.build(config, dataset, ALONE, ("train",), 1)
        state = [*trainer.variables, *trainer.optimizer.state()]
        checkpoints.restore(files.as_url(str(folder / "best")), "best", state)
        return trainer


@pytest.fixture(scope="module")
def trained(
    dataset: Manifest, dataset_place: Path, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    """An ensemble of the seeds 1 and 2, an epoch each, with an output apart."""
    place = tmp_path_factory.mktemp("training") / "model"
    train = Train(
        epochs=1, embedding_size=8, batch_targets_per_rank=20, learning_rate=0.05,
        warmup_steps=1, checkpoint_steps=2, keep_checkpoints=3, average_checkpoints=3,
        ensemble_seeds=(2,), tied_output=False,
    )  # fmt: skip
    config = Config(paths=Paths(dataset=str(dataset_place), model=str(place)), train=train)
    hvd.init()
    with pytest.MonkeyPatch.context() as patch:
        collectives = _recorded(patch)
        pipeline.train(config, ALONE)
    version = Path(files.local_copy(files.current(str(place), "")))
    about = json.loads((version / "model.json").read_text())
    return Trained(config, version, about, collectives)


def _recorded(patch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """Every message that a run has for the other ranks, and whether a watch waited meanwhile."""
    found: list[tuple[str, bool]] = []
    waits: list[str] = []
    waiting = Watch.waiting

    @contextmanager
    def noted(watch: Watch, what: str, *more: Callable[[], str]) -> Iterator[None]:
        waits.append(what)
        with waiting(watch, what, *more):
            yield
        waits.pop()

    def record(name: str) -> None:
        own = getattr(hvd, name)

        def called(*values: Any, **named: Any) -> Any:
            found.append((name, bool(waits)))
            return own(*values, **named)

        patch.setattr(hvd, name, called)

    for name in ("allreduce", "allgather", "broadcast_variables", "broadcast_object"):
        record(name)
    patch.setattr(Watch, "waiting", noted)
    patch.setattr(elastic, "_state", elastic._OnDisk(hvd.broadcast_object, hvd.rank))
    return found


@pytest.fixture(scope="module")
def rows(dataset: Manifest) -> dict[str, np.ndarray]:
    table = pq.read_table(files.local_copy(dataset.file_urls("test")[0])).to_pydict()
    return {name: np.array(table[name], np.int32) for name in COLUMNS}


def test_an_ensemble_is_exported_as_one_model_that_scores_the_mean(
    trained: Trained, dataset: Manifest, rows: dict[str, np.ndarray]
) -> None:
    folders = {1: trained.version, 2: trained.version / "seed-2"}
    models = [trained.member(dataset, *entry).model for entry in folders.items()]
    batch = {name: tf.constant(values) for name, values in rows.items()}
    row_C, step_C, *_ = target_cases(batch)
    own = [model.scores(batch, row_C, step_C).numpy() for model in models]
    assert np.abs(own[0] - own[1])[:, 2:].max() > 0.1  # else the test shows nothing
    ranker = saved_model.load(str(trained.version / "export"))
    np.testing.assert_allclose(ranker.cases(rows)[2], (own[0] + own[1]) / 2, rtol=1e-4, atol=1e-4)
    # Score multiplies vectors: the same scores, and so the same ranks.
    encoded = ranker.encode(rows)
    scores = encoded["vectors"].numpy() @ ranker.items().numpy().T
    np.add.at(scores, (encoded["row"].numpy(), encoded["item"].numpy()), encoded["added"].numpy())
    np.testing.assert_allclose(scores, ranker.scores(rows), rtol=1e-4, atol=1e-4)


def test_the_ensemble_and_its_members_are_validated(trained: Trained) -> None:
    best = trained.about["best"]
    assert best["members"].keys() == {"1", "2"}
    for metrics in (best, *best["members"].values()):
        assert 0 < metrics["recall@20"] <= 1
    lines = [(trained.version / name / "metrics.jsonl").read_text() for name in ("", "seed-2")]
    assert lines[0] != lines[1]


def test_the_best_and_the_last_weights_are_found(trained: Trained) -> None:
    for folder in (trained.version, trained.version / "seed-2"):
        last = json.loads((folder / "last" / "last.json").read_text())
        place = files.as_url(str(folder / "checkpoints"))
        newest = checkpoints.names(place)[-1]
        assert last["weights"] == f"checkpoints/{newest}.npz"
        assert (last["epoch"], last["step"]) == (2, 0)
        last_arrays, _ = checkpoints.read(place, newest)
        best_arrays, about = checkpoints.read(files.as_url(str(folder / "best")), "best")
        assert about["epoch"] == 1
        shapes = [[values.shape for values in arrays] for arrays in (last_arrays, best_arrays)]
        assert shapes[0] == shapes[1]


def test_whoever_waits_for_the_other_ranks_is_watched(trained: Trained) -> None:
    names = [name for name, _ in trained.collectives]
    # At the start and for the mean of both seeds, and for the ensemble.
    assert names.count("broadcast_variables") == 5
    assert names.count("broadcast_object") >= 5
    assert "allreduce" in names
    assert [name for name, is_watched in trained.collectives if not is_watched] == []


@pytest.mark.parametrize("best_recall", [-1.0, 2.0])
def test_the_mean_of_the_last_checkpoints_is_kept_where_validation_finds_it_better(
    trained: Trained, dataset: Manifest, best_recall: float, tmp_path: Path
) -> None:
    for name in ("checkpoints", "best"):
        shutil.copytree(trained.version / name, tmp_path / name)
    own = Run(trained.config, dataset)
    own.folder = files.as_url(str(tmp_path))
    trainer = trained.member(dataset, 1, tmp_path)
    for variable in trainer.variables:  # as those of no checkpoint, nor of their mean
        variable.assign_add(tf.fill(variable.shape, 0.1))
    own.save_best(trainer, {"epoch": 1.0})
    best = _flat(trainer)
    mean = np.zeros_like(best)
    for saved in checkpoints.names(files.join(own.folder, "checkpoints")):
        arrays = np.load(tmp_path / "checkpoints" / f"{saved}.npz")
        places = range(len(trainer.variables))
        mean += np.concatenate([arrays[f"{place:04d}"].ravel() for place in places]) / 3
    assert np.abs(mean - best).max() > 0.01
    chosen = pipeline.or_mean(trainer, own, {"epoch": 1.0, "recall@20": best_recall}, 1)
    own.take_best(trainer, chosen)
    is_better = best_recall < 0
    np.testing.assert_allclose(_flat(trainer), mean if is_better else best, atol=1e-6)
    assert chosen.get("averaged") == (3 if is_better else None)


def _flat(trainer: Trainer) -> np.ndarray:
    return np.concatenate([variable.numpy().ravel() for variable in trainer.variables])


@pytest.mark.parametrize("seed", [1, 2])
def test_a_warm_start_on_the_same_vocabulary_goes_on_from_the_older_models_metrics(
    trained: Trained, dataset: Manifest, seed: int
) -> None:
    train = replace(trained.config.train, ensemble_seeds=(), warm_start=trained.config.paths.model)
    config = replace(trained.config, seed=seed, train=train)
    trainer = pipeline.build(config, dataset, ALONE, ("train",), 1)
    own = Run(config, dataset)
    cold = trainer.validate()
    assert own.restore(trainer, "choice").epoch == 1
    found, expected = trainer.validate(), trained.about["best"]["members"][str(seed)]
    for name in METRICS:
        assert found[name] == pytest.approx(expected[name], abs=1e-6)
    assert found["mrr@20"] != cold["mrr@20"]
    assert trainer.optimizer.steps.numpy() > 0
