"""What training reads of the dataset besides its sequences: the items and their features."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq

from recsys import files
from recsys.config import Config
from recsys.errors import ConfigError, DataError
from recsys.manifest import Manifest
from recsys.schemas import FIRST_ITEM, UNKNOWN
from recsys.train.tower import Catalogue


def read_catalogue(dataset: Manifest, config: Config) -> tuple[Catalogue, list[str]]:
    """What the model must know of the items, and their ids in the vocabulary's order.

    Raises:
        ConfigError: train.item_features names an attribute that the dataset does not have
        DataError: the items are not those of the vocabulary
    """
    features = config.train.item_features
    for name in features:
        if name not in dataset.categories:
            known = ", ".join(sorted(dataset.categories)) or "none"
            raise ConfigError(f"train.item_features: expected one of {known}; found {name}")
    where = files.join(dataset.url, "items.parquet")
    fs, path = files.filesystem(where)
    columns = ["item_index", "item_id", "train_count", *(f"{name}_index" for name in features)]
    table = pq.read_table(path, columns=columns, filesystem=fs).to_pandas()
    table = table.sort_values("item_index")
    expected = np.arange(FIRST_ITEM, dataset.vocabulary_size)
    if not np.array_equal(table["item_index"].to_numpy(), expected):
        raise DataError(
            f"{where}: expected item_index from {FIRST_ITEM} to {dataset.vocabulary_size - 1}, "
            f"found {len(table)} rows from {table['item_index'].min()} on"
        )
    counts_V = np.concatenate([np.zeros(FIRST_ITEM, np.int64), table["train_count"]])
    catalogue = Catalogue(
        vocabulary_size=dataset.vocabulary_size,
        event_type_size=dataset.event_type_size,
        train_counts=counts_V,
        categories={name: _values(table[f"{name}_index"]) for name in features},
        category_sizes={name: dataset.categories[name] for name in features},
    )
    return catalogue, table["item_id"].tolist()


def _values(column: pd.Series) -> npt.NDArray[np.int32]:
    """The value indexes of every item of the vocabulary [V, M]; one that is no item has 0, 1."""
    lists = [[value] if np.isscalar(value) else list(value) for value in column]
    lists = [[0], [UNKNOWN], *lists]
    values_VM = np.zeros((len(lists), max(map(len, lists))), np.int32)
    for row, values in enumerate(lists):
        values_VM[row, : len(values)] = values
    return values_VM
