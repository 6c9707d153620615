"""Where a stopped run goes on, without training: what is written and found again."""

from __future__ import annotations

import dataclasses
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import horovod.tensorflow as hvd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from recsys import files
from recsys.config import Config
from recsys.errors import ConfigError, DataError
from recsys.manifest import GroupFile, Manifest
from recsys.schemas import FIRST_ITEM
from recsys.train import batches, checkpoints, pipeline, run
from recsys.train.progress import Metrics, Progress
from recsys.train.run import Run
from recsys.train.shards import Shard
from recsys.train.trainer import Trainer
from recsys.train.watch import Others, Watch
from tests.data import configuration

ALONE = Shard(0, 1)


@pytest.fixture
def config(dataset_place: Path, tmp_path: Path) -> Config:
    return configuration(
        "--paths.dataset", str(dataset_place), "--paths.model", str(tmp_path / "model"),
        "--train.batch_targets_per_rank", "20", "--train.embedding_size", "8",
    )  # fmt: skip


@pytest.fixture(scope="module")
def trainer(dataset: Manifest, dataset_place: Path) -> Trainer:
    hvd.init()
    config = configuration(
        "--paths.dataset", str(dataset_place),
        "--train.batch_targets_per_rank", "20", "--train.embedding_size", "8",
    )  # fmt: skip
    return pipeline.build(config, dataset, ALONE, ("train",), 2)


def _with(config: Config, **changes: object) -> Config:
    return dataclasses.replace(config, train=dataclasses.replace(config.train, **changes))


def _begun(config: Config, dataset: Manifest, trainer: Trainer, ranks: int = 1) -> Run:
    """A run that was stopped in its first epoch."""
    first = Run(config, dataset)
    first.restore(trainer, "choice")
    first.save(trainer, Progress(epoch=1, step=3, ranks=ranks), "choice")
    return first


def test_only_the_same_run_is_gone_on_with_and_a_new_one_says_why(
    config: Config, dataset: Manifest, trainer: Trainer, caplog: pytest.LogCaptureFixture
) -> None:
    first, resumed = _begun(config, dataset, trainer), _with(config, resume=True)
    assert Run(resumed, dataset).version == first.version
    assert "no unfinished run" not in caplog.text
    assert Run(_with(resumed, learning_rate=0.01), dataset).version != first.version
    differs = f"{first.version} differs in train.learning_rate (0.002, now 0.01)"
    assert caplog.messages[-1].endswith(f"a new one is begun; the last of them, {differs}")
    other = dataclasses.replace(dataset, content_fingerprint="another")
    assert Run(resumed, other).version != first.version
    assert caplog.messages[-1].endswith("differs in dataset ('', now 'another')")


def _prepared_again(dataset: Manifest, place: Path) -> Manifest:
    """The same dataset in a version of its own, in files that Spark calls otherwise."""
    shutil.copytree(files.local_copy(dataset.url), place)
    splits = {}
    for name, split in dataset.splits.items():
        own = []
        for file in split.files:
            path = file.path.replace(".parquet", f"-{uuid.uuid4()}.parquet")
            (place / file.path).rename(place / path)
            own.append(dataclasses.replace(file, path=path))
        splits[name] = dataclasses.replace(split, files=tuple(own))
    return dataclasses.replace(dataset, url=files.as_url(str(place)), splits=splits)


def test_a_dataset_that_was_prepared_again_is_gone_on_with_if_its_rows_lie_as_they_did(
    config: Config, dataset: Manifest, trainer: Trainer, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    first, resumed = _begun(config, dataset, trainer), _with(config, resume=True)
    again = _prepared_again(dataset, tmp_path / "again")
    assert again.file_urls("train") != dataset.file_urls("train")
    assert Run(resumed, again).version == first.version
    # The same rows in groups twice as large, or in as many that part them otherwise.
    train = again.splits["train"]
    pairs = zip(train.files[::2], train.files[1::2], strict=True)
    larger = tuple(
        GroupFile(one.path, one.rows + two.rows, one.targets + two.targets) for one, two in pairs
    )
    others = {"groups (4, now 2)": larger, "files (": train.files[::-1]}
    for differs, own in others.items():
        splits = {**again.splits, "train": dataclasses.replace(train, files=own)}
        other = dataclasses.replace(again, splits=splits)
        assert Run(resumed, other).version != first.version
        assert f"{first.version} differs in layout.train." in caplog.messages[-1]
        assert f"layout.train.{differs}" in caplog.messages[-1]
    drawn = dataclasses.replace(again, seed=8)
    assert Run(resumed, drawn).version != first.version
    assert caplog.messages[-1].endswith("differs in layout.seed (0, now 8)")


def test_other_attributes_of_the_same_items_are_another_run(
    config: Config, dataset: Manifest, trainer: Trainer, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    again = _prepared_again(dataset, tmp_path / "again")
    runs = {}
    for features in ((), ("colour",), ("size",)):
        paths = dataclasses.replace(config.paths, model=str(tmp_path / f"model{features}"))
        own = _with(dataclasses.replace(config, paths=paths), item_features=features)
        runs[features] = (_with(own, resume=True), _begun(own, dataset, trainer).version)
    assert all(Run(own, again).version == version for own, version in runs.values())
    where = tmp_path / "again" / "items.parquet" / "part-0.parquet"
    table = pq.read_table(where)
    place = table.schema.get_field_index("colour_index")
    colours = [*table["colour_index"].to_pylist()[:-1], FIRST_ITEM + 1]
    assert colours != table["colour_index"].to_pylist()
    pq.write_table(table.set_column(place, "colour_index", pa.array(colours, pa.int32())), where)
    assert {key for key, (own, version) in runs.items() if Run(own, again).version != version} == {
        ("colour",)
    }
    assert f"{runs['colour',][1]} differs in items ('" in caplog.text


def test_a_checkpoint_of_another_run_is_passed_over(
    config: Config, dataset: Manifest, trainer: Trainer, caplog: pytest.LogCaptureFixture
) -> None:
    config = _with(config, keep_checkpoints=3)
    first = _begun(config, dataset, trainer)
    others = [Run(_with(config, learning_rate=0.01), dataset), first.member(5)]
    for step, other in enumerate(others, start=4):
        other.folder = first.folder
        other.save(trainer, Progress(epoch=1, step=step, ranks=1), "choice")
    assert first.restore(trainer, "choice").step == 3
    tried = [told for told in caplog.messages if "the checkpoint before it is tried" in told]
    assert len(tried) == 2
    assert "step-000000005.json: expected a checkpoint of the run" in tried[0]
    others[0].save_best(trainer, {"epoch": 1})
    with pytest.raises(DataError, match=r"best\.json: expected a checkpoint of the run"):
        first.take_best(trainer, {"epoch": 1})


def test_a_run_that_was_killed_before_it_published_its_model_publishes_it(
    config: Config, dataset: Manifest, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, best = _begun(config, dataset, trainer), {"epoch": 1, "recall@20": 0.5}

    def killed(version: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(files, "publish", killed)
        with pytest.raises(KeyboardInterrupt):
            first.finish(trainer, best)
    folder = Path(files.local_copy(first.version))
    assert (folder / run.MODEL).exists()
    exported = sorted(path.relative_to(folder) for path in (folder / "export").rglob("*"))
    resumed = _with(config, resume=True)
    own = Run(resumed, dataset)
    assert own.version == first.version
    own.finish(trainer, best)
    assert files.current(config.paths.model, "") == first.version
    assert exported == sorted(path.relative_to(folder) for path in (folder / "export").rglob("*"))
    assert Run(resumed, dataset).version != first.version


def test_a_models_version_is_of_its_weights_and_of_what_decides_them(
    config: Config, dataset: Manifest, trainer: Trainer
) -> None:
    first = _begun(config, dataset, trainer)
    version = first.model_version(trainer)
    other = _with(config, resume=True, stall_seconds=7, tflite=True, mlflow_uri=None)
    score = dataclasses.replace(config.score, top_k=7)
    resumed = Run(dataclasses.replace(other, score=score), dataset)
    assert resumed.version == first.version
    assert resumed.model_version(trainer) == version
    ranking = dataclasses.replace(config.ranking, exclude_history=True)
    differs = {
        Run(_with(config, learning_rate=0.01), dataset).model_version(trainer),
        Run(dataclasses.replace(config, ranking=ranking), dataset).model_version(trainer),
        Run(
            config, dataclasses.replace(dataset, vocabulary_fingerprint="another")
        ).model_version(trainer),
    }  # fmt: skip
    weights = trainer.variables[0]
    former = weights.numpy()
    weights.assign(np.where(np.arange(former.size).reshape(former.shape) == 3, 9.0, former))
    differs.add(resumed.model_version(trainer))
    weights.assign(former)
    assert len(differs - {version}) == 4
    assert resumed.model_version(trainer) == version


def test_a_run_goes_on_with_settings_that_do_not_change_the_weights(
    config: Config, dataset: Manifest, trainer: Trainer
) -> None:
    first = _begun(config, dataset, trainer)
    other = _with(
        config, resume=True, stall_seconds=7, keep_checkpoints=5, checkpoint_steps=9,
        cpu_threads=1, tflite=True,
    )  # fmt: skip
    score = dataclasses.replace(config.score, top_k=7)
    evaluate = dataclasses.replace(config.evaluate, at=(5,))
    own = Run(dataclasses.replace(other, score=score, evaluate=evaluate), dataset)
    assert own.version == first.version
    own.restore(trainer, "choice")
    assert b"stall_seconds: 7" in files.read_bytes(files.join(own.version, "config.yaml"))
    # What the mean of the last checkpoints is depends on their distance.
    mean = _with(config, resume=True, average_checkpoints=2)
    _begun(mean, dataset, trainer)
    last = Run(mean, dataset).version
    assert Run(_with(mean, checkpoint_steps=9), dataset).version != last


def test_other_ranks_in_an_epoch_are_refused_unless_ranks_may_change(
    config: Config, dataset: Manifest, trainer: Trainer,
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    first = _begun(config, dataset, trainer, ranks=2)
    own = Run(_with(config, resume=True), dataset)
    place = files.join(first.version, "checkpoints")
    with pytest.raises(ConfigError, match=r"epoch 1 was begun by 2 ranks, .* found 1; start 2, or"):
        own.restore(trainer, "choice")
    assert checkpoints.names(place) == ["epoch-00001-step-000000003"]
    monkeypatch.setenv("HOROVOD_ELASTIC", "1")
    assert own.restore(trainer, "choice") == Progress()
    assert "where epoch 1 was begun by 2 ranks: 1 begin it again" in caplog.text
    assert checkpoints.names(place) == []
    first.save(trainer, Progress(epoch=1, step=4, ranks=1), "choice")
    assert own.restore(trainer, "choice").step == 4


def _end_epoch(
    own: Run, trainer: Trainer, weights: float, history: list[Metrics], recall: float
) -> list[Metrics]:
    """Ends an epoch with some weights; the metrics of all epochs so far."""
    for variable in trainer.variables:
        variable.assign(tf.fill(variable.shape, weights))
    epoch = len(history) + 1
    history = [*history, {"epoch": epoch, "recall@20": recall, "loss": 1.0}]
    own.save(trainer, Progress(epoch + 1, history=history), "choice")
    return history


def test_the_best_weights_are_those_of_the_chosen_epoch_wherever_a_run_is_killed(
    config: Config, dataset: Manifest, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "draw_curves", lambda *_: b"")
    write, left = files.write_bytes, [0]

    def until_killed(url: str, content: bytes) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        write(url, content)

    monkeypatch.setattr(files, "write_bytes", until_killed)
    chosen = []
    for number in range(1, 9):  # of the files that are written after an epoch
        paths = dataclasses.replace(config.paths, model=f"{config.paths.model}-{number}")
        own = Run(dataclasses.replace(config, paths=paths), dataset)
        own.restore(trainer, "choice")
        first = _end_epoch(own, trainer, 1.0, [], recall=0.3)
        left[0] = number
        with pytest.raises(KeyboardInterrupt):
            _end_epoch(own, trainer, 2.0, first, recall=0.4)
        progress = own.restore(trainer, "choice")
        if progress.epoch == 2:  # and other ranks do it otherwise
            progress.history = _end_epoch(own, trainer, 3.0, progress.history, recall=0.2)
        best = progress.best("recall@20")
        own.take_best(trainer, best)
        assert {float(np.max(variable)) for variable in trainer.variables} == {best["epoch"]}
        chosen.append(best["epoch"])
    assert set(chosen) == {1, 2}


def test_best_weights_of_another_epoch_are_not_believed(
    config: Config, dataset: Manifest, trainer: Trainer
) -> None:
    own = Run(config, dataset)
    own.save_best(trainer, {"epoch": 2})
    with pytest.raises(DataError, match=r"best: expected the weights of \{'epoch': 1, .* \{'epoch"):
        own.take_best(trainer, {"epoch": 1})


class _Noted(Watch):
    """Notes what was waited for."""

    def __init__(self) -> None:
        super().__init__(60)
        self.waits: list[str] = []

    @contextmanager
    def waiting(self, others: Others) -> Iterator[None]:
        self.waits.append(others.expected)
        with super().waiting(others):
            yield


def test_each_batch_that_is_done_is_waited_for_alone_and_by_all_ranks_together(
    dataset: Manifest, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with batches.open_epoch(dataset, ("train",), ALONE, 20, trainer.config.seed * 1000 + 1) as all_:
        rows = [len(batch["item"]) for batch in all_]
    trained: list[int] = []

    def step(batch: dict[str, tf.Tensor], rate: tf.Tensor) -> tf.Tensor:
        trained.append(len(batch["item"]))
        return tf.constant([1.0, 1.0, 1.0])

    monkeypatch.setattr(trainer, "train_step", step)
    monkeypatch.setattr(trainer, "watch", _Noted())
    done = len(rows) - 2
    before = Progress(step=done, ranks=1, rows=sum(rows[:done]), seconds=1000.0)
    metrics = trainer.train_epoch(before, lambda _: None)
    assert trained == rows[-2:]
    # The epoch took what it took before it was stopped, too.
    assert 1000 < metrics["train_seconds"] < 1100
    targets = dataset.splits["train"].targets
    assert metrics["events_per_second"] == pytest.approx(targets / metrics["train_seconds"])
    waits = trainer.watch.waits
    assert [wait for wait in waits if "of which came" in wait] == [
        f"rank 0: expected a batch of train of {dataset.url}, {number} of which came"
        for number in range(len(rows) + 1)
    ]
    assert sum("passed-1-" in wait for wait in waits) == -(-done // 32)
