"""A run that reads prices of events: they reach the weights, the export and who reads it."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import horovod.tensorflow as hvd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from recsys import files, saved_model, trained
from recsys.arrays import matrix
from recsys.config import Config, Paths, Train
from recsys.config.augment import Augment
from recsys.errors import DataError
from recsys.manifest import Manifest
from recsys.scale import Scale
from recsys.train import checkpoints, pipeline
from recsys.train.batch import after_last
from recsys.train.batches import read_rows
from recsys.train.shards import Shard
from tests.datasets import write_dataset

ALONE = Shard(0, 1)
SCALE = Scale("log", 1.0, 90.0, mean=2.5, deviation=1.25)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("prices")
    train = Train(
        epochs=1, embedding_size=8, batch_targets_per_rank=20, learning_rate=0.05, warmup_steps=1,
        event_inputs=("event_type", "price"), tflite=True, augment=Augment(rows=0.5, crop=0.5),
    )  # fmt: skip
    paths = Paths(dataset=str(folder / "dataset"), model=str(folder / "model"))
    return Config(paths=paths, train=train)


@pytest.fixture(scope="module")
def dataset(config: Config) -> Manifest:
    """Every item has a price of its own."""
    made = write_dataset(Path(config.paths.dataset))
    for split in made.splits:
        for url in made.file_urls(split):
            path = files.local_copy(url)
            table = pq.read_table(path)
            item = matrix(table["item"].combine_chunks(), "item")
            price = np.where(item > 0, np.sin(item), 0).astype(np.float32)
            column = pa.array(list(price), pa.list_(pa.float32()))
            pq.write_table(table.append_column("price", column), path)
    made = replace(made, inputs={"price": 0}, event_numbers={"price": SCALE})
    made.write()
    return made


@pytest.fixture(scope="module")
def version(config: Config, dataset: Manifest) -> Path:
    hvd.init()
    pipeline.train(config, ALONE)
    return Path(files.local_copy(files.current(config.paths.model, "")))


def test_the_export_encodes_as_the_model(version: Path, config: Config, dataset: Manifest) -> None:
    trainer = pipeline.build(config, dataset, ALONE, ("train",), 1)
    state = [*trainer.variables, *trainer.optimizer.state()]
    checkpoints.restore(files.as_url(str(version / "best")), "best", state)
    (projection,) = [v for v in trainer.variables if v.name.startswith("price_projection")]
    assert np.abs(projection.numpy()).min() > 1e-4, "it starts from 0"
    rows = read_rows(dataset, "test", 8, trainer.model.events.columns)
    assert rows["price"].dtype == np.float32
    batch = {name: tf.constant(values) for name, values in rows.items()}
    expected = trainer.model.encode(batch, *after_last(batch)).numpy()
    ranker = saved_model.load(str(version / "export"))
    found = ranker.encode(rows)["vectors"].numpy()
    np.testing.assert_allclose(found[:, :-1], expected, atol=1e-5)
    without = {**rows, "price": np.zeros_like(rows["price"])}
    assert np.abs(ranker.encode(without)["vectors"].numpy() - found).max() > 1e-4


def test_a_dataset_that_normalizes_otherwise_is_refused(
    version: Path, config: Config, dataset: Manifest
) -> None:
    about = json.loads((version / "model.json").read_text())
    names = json.loads((version / "lite" / "vocabulary.json").read_text())
    assert Scale.read(about["event_numbers"]["price"]) == SCALE
    assert names["event_numbers"]["price"] == json.loads(json.dumps(asdict(SCALE)))
    assert "price" in trained.read(config.paths.model, dataset).inputs
    moved = replace(dataset, event_numbers={"price": replace(SCALE, most=80.0)})
    with pytest.raises(DataError, match=r"expected price normalized as .* clipped to 1 to 90"):
        trained.read(config.paths.model, moved)
