"""What training reads of the dataset besides its sequences: the items and their features."""

from __future__ import annotations

from collections.abc import Sequence

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


def read_catalogue(dataset: Manifest, config: Config, splits: Sequence[str]) -> Catalogue:
    """What the model must know of the items.

    Args:
        dataset: the dataset
        config: names the features
        splits: that are trained on, whose events are counted

    Raises:
        ConfigError: train.item_features names an attribute that the dataset does not have
        DataError: the items are not those of the vocabulary
    """
    features = config.train.item_features
    for name in features:
        if name not in dataset.categories:
            known = ", ".join(sorted(dataset.categories)) or "none"
            raise ConfigError(f"train.item_features: expected one of {known}; found {name}")
    counts = [f"{split}_count" for split in splits]
    table = _read_items(dataset, [*counts, *(f"{name}_index" for name in features)])
    return Catalogue(
        vocabulary_size=dataset.vocabulary_size,
        event_type_size=dataset.event_type_size,
        known_size=FIRST_ITEM + _known_items(dataset, splits, has_features=bool(features)),
        train_counts=np.pad(table[counts].sum(axis=1).to_numpy(np.int64), (FIRST_ITEM, 0)),
        categories={name: _values(table[f"{name}_index"]) for name in features},
        category_sizes={name: dataset.categories[name] for name in features},
    )


def _known_items(dataset: Manifest, splits: Sequence[str], has_features: bool) -> int:
    """The items, from the vocabulary's first on, that a model of the splits can tell apart."""
    if has_features:
        return dataset.items
    return dataset.train_items + (dataset.valid_items if "valid" in splits else 0)


def read_item_ids(dataset: Manifest) -> list[str]:
    """The ids of the vocabulary's items, in its order.

    Raises:
        DataError: the items are not those of the vocabulary
    """
    return list(_read_items(dataset, ["item_id"])["item_id"])


def read_values(dataset: Manifest, features: Sequence[str]) -> dict[str, list[str]]:
    """The values of category attributes, from index FIRST_ITEM on."""
    if not features:
        return {}
    fs, path = files.filesystem(files.join(dataset.url, "categories.parquet"))
    table = pq.read_table(path, filesystem=fs).to_pandas().sort_values("value_index")
    return {name: list(table["value"][table["attribute"] == name]) for name in features}


def _read_items(dataset: Manifest, columns: list[str]) -> pd.DataFrame:
    """The columns of every item of the vocabulary, in its order."""
    where = files.join(dataset.url, "items.parquet")
    fs, path = files.filesystem(where)
    table = pq.read_table(path, columns=["item_index", *columns], filesystem=fs).to_pandas()
    table = table.sort_values("item_index")
    expected = np.arange(FIRST_ITEM, dataset.vocabulary_size)
    if not np.array_equal(table["item_index"].to_numpy(), expected):
        raise DataError(
            f"{where}: expected item_index from {FIRST_ITEM} to {dataset.vocabulary_size - 1}, "
            f"found {len(table)} rows from {table['item_index'].min()} on"
        )
    return table


def _values(column: pd.Series) -> npt.NDArray[np.int32]:
    """The value indexes of every item of the vocabulary [V, M]; one that is no item has 0, 1."""
    lists = [[value] if np.isscalar(value) else list(value) for value in column]
    lists = [[0], [UNKNOWN], *lists]
    values_VM = np.zeros((len(lists), max(map(len, lists))), np.int32)
    for row, values in enumerate(lists):
        values_VM[row, : len(values)] = values
    return values_VM
