"""What stops a run, on one rank within this process: what is said, and what is left."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import sys
from pathlib import Path

import horovod.tensorflow as hvd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from recsys import files, manifest
from recsys.config import Config
from recsys.errors import DataError
from recsys.manifest import Manifest
from recsys.schemas import VALUE_WEIGHT
from recsys.train import fit, pipeline
from recsys.train.progress import Progress
from recsys.train.shards import Shard
from recsys.train.trainer import Trainer
from recsys.train.watch import Watch
from tests.data import configuration
from tests.processes import run


@pytest.fixture(scope="module", autouse=True)
def _one_rank() -> None:
    hvd.init()


@pytest.fixture
def config(dataset: Manifest, dataset_place: Path, tmp_path: Path) -> Config:
    return configuration(
        "--paths.dataset", str(dataset_place), "--paths.model", str(tmp_path / "model"),
        "--train.batch_targets_per_rank", "20", "--train.epochs", "2",
        "--train.negatives", "10", "--train.embedding_size", "8", "--train.checkpoint_steps", "1",
    )  # fmt: skip


def _with(config: Config, **changes: object) -> Config:
    return dataclasses.replace(config, train=dataclasses.replace(config.train, **changes))


def _trainer(config: Config, dataset: Manifest) -> Trainer:
    return pipeline.build(config, dataset, Shard(0, 1), ("train",), config.train.epochs)


def test_a_loss_that_is_not_finite_is_named_and_good_checkpoints_stay(config: Config) -> None:
    former = files.new_version(config.paths.model)
    files.write_json(files.join(former, "model.json"), {"is": "whole"})
    files.publish(former)
    wild = _with(config, learning_rate=1e30, clip_norm=1e30, warmup_steps=0)
    with pytest.raises(DataError, match=r"epoch 1, step 1, rank 0: expected a finite loss, found"):
        pipeline.train(wild, Shard(0, 1))
    assert files.current(config.paths.model, "") == former
    assert files.read_json(files.join(former, "model.json")) == {"is": "whole"}
    [version] = set(files.versions(config.paths.model)) - {former.rsplit("/", 1)[-1]}
    place = Path(config.paths.model) / "versions" / version
    for path in (place / "checkpoints").glob("*.npz"):
        arrays = np.load(path)
        assert all(np.isfinite(arrays[name]).all() for name in arrays.files)


def test_a_gradient_that_is_not_finite_is_named_with_its_own_step(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = Trainer.loss

    def broken(trainer: Trainer, *given: object) -> tuple[tf.Tensor, tf.Tensor]:
        loss_sum, weight_sum = loss(trainer, *given)
        nothing = 0.0 * tf.reduce_sum(trainer.variables[0])
        # In the third step the root is of 0, where it has a value and no slope.
        has_slope = tf.cast(trainer.optimizer.steps != 2, tf.float32)
        return loss_sum + tf.sqrt(nothing + has_slope), weight_sum

    monkeypatch.setattr(Trainer, "loss", broken)
    message = r"epoch 1, step 2, rank 0: expected a finite gradient, found nan from a loss of \d"
    with pytest.raises(DataError, match=rf"{message}\S+; the batch's first row holds the items"):
        pipeline.train(config, Shard(0, 1))
    [version] = (Path(config.paths.model) / "versions").iterdir()
    last = sorted((version / "checkpoints").glob("*.npz"))[-1]
    assert last.name == "epoch-00001-step-000000002.npz"
    assert all(np.isfinite(values).all() for values in np.load(last).values())


def _copy(config: Config, place: Path, split: str) -> tuple[Config, Path]:
    """The configuration on a copy of the dataset, and the copy's last row group of a split."""
    shutil.copytree(config.paths.dataset, place)
    paths = dataclasses.replace(config.paths, dataset=str(place))
    last = manifest.read(str(place)).file_urls(split)[-1]
    return dataclasses.replace(config, paths=paths), Path(files.local_copy(last))


def test_a_feature_that_is_no_number_is_named_before_the_first_step(
    config: Config, tmp_path: Path
) -> None:
    copied, last = _copy(config, tmp_path / "dataset", "train")
    where = last.parents[2] / "items.parquet" / "part-0.parquet"
    table = pq.read_table(where)
    values = np.array(table["size_vector"].to_pylist(), np.float32)
    values[5, 1] = np.nan
    column = pa.array(list(values), table.schema.field("size_vector").type)
    place = table.schema.get_field_index("size_vector")
    pq.write_table(table.set_column(place, "size_vector", column), where)
    with pytest.raises(DataError, match=r"items.parquet: .* column size_vector of item_index 7, f"):
        pipeline.train(_with(copied, item_features=("size",)), Shard(0, 1))


def test_a_weight_that_is_no_number_is_named_with_its_step(config: Config, tmp_path: Path) -> None:
    copied, last = _copy(config, tmp_path / "dataset", "train")
    table = pq.read_table(last)
    rows = table[VALUE_WEIGHT].to_pylist()
    row, step = np.argwhere(np.array(table["target"].to_pylist()))[0]
    rows[row][step] = float("nan")
    place = table.schema.get_field_index(VALUE_WEIGHT)
    column = pa.array(rows, table.schema.field(VALUE_WEIGHT).type)
    pq.write_table(table.set_column(place, VALUE_WEIGHT, column), last)
    about = last.parents[2] / files.MANIFEST
    content = json.loads(about.read_text())
    content["config"] = {"prepare": {"weight_by_value": True}}
    about.write_text(json.dumps(content))
    message = r"epoch 1, step \d, rank 0: expected a finite loss, found nan; the batch's .* items "
    message += (
        rf".*; it is of file:.*/split=train/{last.name}; its column {VALUE_WEIGHT} holds what "
    )
    items = table["item"].to_pylist()[row][:10]
    message += rf"is no finite number in the batch's rows \[\d\] .* {re.escape(str(items))}$"
    with pytest.raises(DataError, match=message):
        pipeline.train(copied, Shard(0, 1))
    # What was saved before is whole, and nothing else is published.
    [version] = (tmp_path / "model" / "versions").iterdir()
    for path in (version / "checkpoints").glob("*.npz"):
        assert all(np.isfinite(values).all() for values in np.load(path).values())
    assert not (tmp_path / "model" / files.POINTER).exists()


def test_a_row_group_that_cannot_be_read_is_named(config: Config, tmp_path: Path) -> None:
    copied, last = _copy(config, tmp_path / "dataset", "valid")
    whole = last.read_bytes()
    last.write_bytes(whole[:-20])
    trainer = _trainer(copied, manifest.read(copied.paths.dataset))
    with pytest.raises(DataError, match=rf"{last.name}: expected a row group of 8 rows, found A"):
        trainer.validate()
    last.unlink()
    with pytest.raises(DataError, match=rf"{last.name}: expected .*, found FileNotFoundError"):
        trainer.validate()


@pytest.mark.parametrize("first", [[1], None, [1, None, 0, 0, 0, 0, 0, 0]])
def test_lists_that_are_no_matrix_are_named(
    config: Config, tmp_path: Path, first: list[int | None] | None
) -> None:
    """Shorter than others, none at all, or with a hole: filled up, a target would be gone."""
    copied, last = _copy(config, tmp_path / "dataset", "valid")
    table = pq.read_table(last)
    lists = pa.array([first, *table["target"].to_pylist()[1:]], pa.list_(pa.int32()))
    place = table.schema.get_field_index("target")
    pq.write_table(table.set_column(place, "target", lists), last)
    trainer = _trainer(copied, manifest.read(copied.paths.dataset))
    with pytest.raises(DataError, match=rf"{last.name}: target: expected lists of one length"):
        trainer.validate()


def test_rows_that_do_not_match_the_manifest_stop_the_run(
    config: Config, dataset_place: Path, tmp_path: Path
) -> None:
    shutil.copytree(dataset_place, tmp_path / "dataset")
    where = Path(files.local_copy(manifest.read(str(tmp_path / "dataset")).url)) / files.MANIFEST
    content = json.loads(where.read_text())
    content["splits"]["train"]["files"][1]["rows"] += 1
    where.write_text(json.dumps(content))
    lying = manifest.read(str(tmp_path / "dataset"))
    name = Path(lying.file_urls("train")[1]).name
    with pytest.raises(DataError, match=rf"{name}: expected a row group of 9 rows, found 8"):
        _trainer(config, lying).train_epoch(Progress(), lambda _: None)


def test_a_row_group_in_place_of_another_is_named(config: Config, tmp_path: Path) -> None:
    """As many rows in all, of which some come twice and others never."""
    copied, last = _copy(config, tmp_path / "dataset", "train")
    dataset = manifest.read(copied.paths.dataset)
    *_, other, own = dataset.splits["train"].files
    assert own.targets != other.targets
    last.write_bytes((last.parents[2] / other.path).read_bytes())
    message = rf"{last.name}: .* and {own.targets} targets, found {other.targets} targets"
    with pytest.raises(DataError, match=message):
        _trainer(copied, dataset).train_epoch(Progress(), lambda _: None)


def test_a_metric_that_is_no_number_chooses_no_epoch(config: Config, dataset: Manifest) -> None:
    trainer = _trainer(config, dataset)
    fit._check_chosen_by(trainer, {"recall@20": 0.0, "purchase_auc": float("nan")})
    with pytest.raises(DataError, match=r"expected a number of .* for recall@20, found nan"):
        fit._check_chosen_by(trainer, {"recall@20": float("nan")})


def test_a_reader_that_takes_too_long_is_named(config: Config, dataset: Manifest) -> None:
    said: list[str] = []
    trainer = _trainer(config, dataset)
    trainer.watch = Watch(0.001, said.append)  # to open the files alone takes longer
    trainer.train_epoch(Progress(), lambda _: None)
    assert said == [
        f"rank 0: expected a batch of train of {dataset.url}; found none in 0.001 seconds"
    ]


def test_who_waits_too_long_leaves_the_process(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    program = """if True:
        import sys
        from recsys.train.watch import Nobody, Watch
        with Watch(0.2).waiting(Nobody("rank 3: expected a batch")):
            open(sys.argv[1])
    """
    ended = run([sys.executable, "-c", program, str(tmp_path / "pipe")])
    assert ended.returncode == DataError.exit_code
    assert "rank 3: expected a batch; found none in 0.2 seconds" in ended.stderr
