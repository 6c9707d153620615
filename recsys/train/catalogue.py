"""What training reads of the dataset besides its sequences: the items and their features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq

from recsys import files
from recsys.config import Config
from recsys.errors import ConfigError, DataError
from recsys.manifest import Manifest
from recsys.schemas import EVENT_NUMBERS, FIRST_ITEM, UNKNOWN
from recsys.train.inputs import arrays_of
from recsys.train.tower import Catalogue


def read_catalogue(dataset: Manifest, config: Config, splits: Sequence[str]) -> Catalogue:
    """What the model must know of the items.

    Args:
        dataset: the dataset
        config: names the features
        splits: that are trained on, whose events are counted

    Raises:
        ConfigError: train.item_features names an attribute, train.event_inputs an input, or
            train.event_type_weights a type that the dataset does not have
        DataError: the items are not those of the vocabulary, or a feature is no number
    """
    features = config.train.item_features
    columns = _feature_columns(dataset, features)
    _check_inputs(dataset, config.train.event_inputs)
    counts = [f"{split}_count" for split in splits]
    lists = [name for name in features if name in dataset.categories]
    dense = [name for name in features if name in dataset.features]
    table = _read_items(dataset, [*counts, *columns])
    return Catalogue(
        vocabulary_size=dataset.vocabulary_size,
        event_type_size=dataset.event_type_size,
        known_size=FIRST_ITEM + _known_items(dataset, splits, has_features=bool(features)),
        train_counts=np.pad(table[counts].sum(axis=1).to_numpy(np.int64), (FIRST_ITEM, 0)),
        categories={name: _values(table[f"{name}_index"]) for name in lists},
        category_sizes={name: dataset.categories[name] for name in lists},
        vectors={name: _vectors(dataset, table, name) for name in dense},
        inputs=dataset.inputs,
        type_weights=_type_weights(dataset, config.train.event_type_weights),
    )


def fingerprint(dataset: Manifest, features: Sequence[str]) -> str:
    """Of all that a model reads of the items, in their order: how often they occur, and features.

    Raises:
        ConfigError: features names an attribute that the dataset does not have
        DataError: the items are not those of the vocabulary
    """
    columns = ["train_count", "valid_count", *_feature_columns(dataset, features)]
    table = _read_items(dataset, columns)
    values = (np.asarray(value).tobytes() for name in columns for value in table[name])
    return files.fingerprint(chain(columns, values))


def _feature_columns(dataset: Manifest, features: Sequence[str]) -> list[str]:
    """The columns of the items that hold the features."""
    for name in features:
        if name not in dataset.categories | dataset.features:
            known = ", ".join(sorted(dataset.categories | dataset.features)) or "none"
            raise ConfigError(f"train.item_features: expected one of {known}; found {name}")
    return [
        f"{name}_index" if name in dataset.categories else f"{name}_vector" for name in features
    ]


def _check_inputs(dataset: Manifest, names: Sequence[str]) -> None:
    keys = {name: f"events.columns.{name}" for name in ("platform", "query")}
    keys |= {name: f"prepare.event_numbers.{name}" for name in EVENT_NUMBERS}
    for name in names:
        if name in keys and not arrays_of(name, dataset.inputs):
            raise ConfigError(
                f"train.event_inputs: expected {name} only where {dataset.url} has it "
                f"({keys[name]}), found {name}"
            )


def _type_weights(
    dataset: Manifest, weights: Mapping[str, float]
) -> npt.NDArray[np.float32] | None:
    """The weight of a target of each event type, by its index; 1 where none is configured."""
    if not weights:
        return None
    for name in weights:
        if name not in dataset.event_types:
            known = ", ".join(dataset.event_types)
            raise ConfigError(f"train.event_type_weights: expected one of {known}; found {name}")
    named = [weights.get(name, 1.0) for name in dataset.event_types]
    return np.array([1.0] * FIRST_ITEM + named, np.float32)


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
    """The values of those features that are categories, from index FIRST_ITEM on."""
    features = [name for name in features if name in dataset.categories]
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


def _vectors(dataset: Manifest, table: pd.DataFrame, name: str) -> npt.NDArray[np.float32]:
    """A feature's vectors [V, M]; those of indexes that are no item are zero.

    Raises:
        DataError: names the item and the column of what is not finite, or of another length
    """
    column, length = f"{name}_vector", dataset.features[name]
    where = files.join(dataset.url, "items.parquet")
    for index, vector in zip(table["item_index"], table[column], strict=True):
        if vector is None or len(vector) != length or not np.isfinite(vector).all():
            raise DataError(
                f"{where}: expected {length} finite numbers in the column {column} of item_index "
                f"{index}, found {None if vector is None else list(vector)}"
            )
    values_IM = np.array(table[column].tolist(), np.float32).reshape(-1, length)
    return np.pad(values_IM, ((FIRST_ITEM, 0), (0, 0)))


def _values(column: pd.Series) -> npt.NDArray[np.int32]:
    """The value indexes of every item of the vocabulary [V, M]; one that is no item has 0, 1."""
    lists = [[value] if np.isscalar(value) else list(value) for value in column]
    lists = [[0], [UNKNOWN], *lists]
    values_VM = np.zeros((len(lists), max(map(len, lists))), np.int32)
    for row, values in enumerate(lists):
        values_VM[row, : len(values)] = values
    return values_VM
