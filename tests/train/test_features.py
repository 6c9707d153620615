"""Features of items, from the dataset's table into the tower."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from recsys import files
from recsys.config import Config, Train
from recsys.errors import DataError
from recsys.manifest import Manifest
from recsys.schemas import FIRST_ITEM
from recsys.train.batches import COLUMNS
from recsys.train.catalogue import read_catalogue
from recsys.train.model import Recommender
from recsys.train.objective import batch_loss
from recsys.train.optimizer import make, sum_duplicates
from recsys.train.tower import Catalogue, ItemTower
from tests.datasets import random_rows

CONFIG = Config(train=Train(item_features=("colour", "size")))


def test_an_item_that_train_never_met_has_its_features(dataset: Manifest) -> None:
    catalogue = read_catalogue(dataset, CONFIG, ("train",))
    size_VM = catalogue.vectors["size"]
    assert size_VM.shape == (dataset.vocabulary_size, 2)
    assert not size_VM[:FIRST_ITEM].any()
    np.testing.assert_allclose(size_VM[FIRST_ITEM + 10], [10 / dataset.items, 0])
    met = catalogue.train_counts.copy()
    met[-6:] = 0
    tower = ItemTower(replace(catalogue, train_counts=met), width=8, normalize=False, seed=1)
    vectors = tower.all().numpy()
    # Of one colour, and apart in size alone.
    step = tower.projections["size"].numpy()[0] * 3 / dataset.items
    np.testing.assert_allclose(vectors[-1] - vectors[-4], step, atol=1e-6)
    assert np.abs(step).max() > 1e-3


def test_an_item_that_nothing_is_known_of_is_in_no_list() -> None:
    brands = np.array([[0, 0], [1, 0], [2, 0], [1, 0], [3, 2], [1, 0]], np.int32)
    numbers = np.array([[0], [0], [1], [0], [0], [-0.5]], np.float32)
    met_V = np.array([0, 0, 4, 0, 0, 0])
    of_brands = Catalogue(6, 3, met_V, {"brand": brands}, {"brand": 4})
    of_numbers = Catalogue(6, 3, met_V, vectors={"price_rank": numbers})
    train = Train(embedding_size=4, item_features=("brand",))
    for catalogue, known in ((of_brands, [2, 4]), (of_numbers, [0, 1, 2, 3, 4, 5])):
        model = Recommender(train, catalogue, seed=1)
        assert np.flatnonzero(model.unlearnt_V.numpy() == 0).tolist() == known


BRANDS = 6


def _of_brands(brand_VM: list[list[int]], met_V: list[int]) -> Catalogue:
    """Items, some of them met, and their brands, from index 2 on; 1 is of those without one."""
    brands = {"brand": np.array(brand_VM, np.int32)}
    return Catalogue(len(met_V), 3, np.array(met_V), brands, {"brand": BRANDS})


def _brands(model: Recommender) -> np.ndarray:
    return model.tower.category_embeddings["brand"].numpy()


def _learn(model: Recommender) -> None:
    """A step against the whole catalogue."""
    rows = random_rows(np.random.default_rng(3), 6, 4, step_events=2)
    batch = {name: tf.constant(rows[name].astype(np.int32)) for name in (*COLUMNS, "timestamp")}
    with tf.GradientTape() as tape:
        loss, _ = batch_loss(model, batch, "cross_entropy", 0.0, None, None)
    rule = make(model.train.optimizer, model.trainable_variables)
    gradients = tape.gradient(loss, model.trainable_variables)
    rule.apply([sum_duplicates(own) for own in gradients], tf.constant(0.1))


@pytest.mark.parametrize("is_tied", [True, False])
@pytest.mark.parametrize("optimizer", ["adam", "adagrad"])
def test_a_value_that_train_never_met_is_as_none(is_tied: bool, optimizer: str) -> None:
    # Items 2 to 5 are met; 6 has the brand of 2, 7 a new one, 8 none, as none of train has.
    brand_V1 = [[0], [1], [2], [2], [3], [3], [2], [4], [1]]
    catalogue = _of_brands(brand_V1, [0, 0, 9, 9, 9, 9, 0, 0, 0])
    train = Train(
        embedding_size=8, item_features=("brand",), tied_output=is_tied, optimizer=optimizer
    )
    model = Recommender(train, catalogue, seed=1)
    start = _brands(model)
    for has_learnt in (False, True):
        if has_learnt:
            _learn(model)
        for tower in (model.tower, model.output_tower):
            table = tower.category_embeddings["brand"].numpy()
            assert [bool(row.any()) for row in table] == [False, False, True, True, False, False]
            own = tower.embedding.numpy()
            vectors = tower.all().numpy()
            np.testing.assert_array_equal(vectors[[7, 8]], own[[7, 8]])  # nothing of a brand
            np.testing.assert_array_equal(vectors[6], own[6] + table[2])
            np.testing.assert_array_equal(tower(tf.range(9)), vectors)
            assert not own[[0, 1, 6, 7, 8]].any()  # nothing of their own, and no negatives
    assert (np.abs(_brands(model) - start)[[2, 3]] > 1e-4).all()


def test_of_a_list_of_values_the_mean_is_of_those_that_train_met() -> None:
    brand_VM = [[0, 0], [1, 0], [2, 3], [2, 0], [2, 4], [4, 5]]
    tower = ItemTower(_of_brands(brand_VM, [0, 0, 9, 9, 0, 0]), 8, normalize=False, seed=1)
    table = tower.category_embeddings["brand"].numpy()
    own = tower.all().numpy() - tower.embedding.numpy()
    np.testing.assert_allclose(own[2], (table[2] + table[3]) / 2, atol=1e-6)
    np.testing.assert_allclose(own[[3, 4]], table[[2, 2]], atol=1e-6)
    assert not own[[0, 1, 5]].any()


@pytest.mark.parametrize("wrong", [[float("nan"), 0.0], [1.0], None])
def test_what_is_no_number_is_refused(
    dataset: Manifest, tmp_path: Path, wrong: list[float] | None
) -> None:
    folder = tmp_path / "items.parquet"
    shutil.copytree(files.local_copy(files.join(dataset.url, "items.parquet")), folder)
    table = pq.read_table(folder)
    values = table["size_vector"].to_pylist()
    values[7] = wrong
    place = table.schema.get_field_index("size_vector")
    column = pa.array(values, table.schema.types[place])
    pq.write_table(table.set_column(place, "size_vector", column), folder / "part-0.parquet")
    broken = replace(dataset, url=f"file://{tmp_path}")
    with pytest.raises(DataError, match="column size_vector of item_index 9, found"):
        read_catalogue(broken, CONFIG, ("train",))
