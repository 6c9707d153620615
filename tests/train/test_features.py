"""Features of items, from the dataset's table into the tower."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys import files
from recsys.config import Config, Train
from recsys.errors import DataError
from recsys.manifest import Manifest
from recsys.schemas import FIRST_ITEM
from recsys.train.catalogue import read_catalogue
from recsys.train.tower import ItemTower

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
