"""What evaluation knows of the items: how frequent they are, what they are, and their names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import SparkSession

from recsys import files, pages, tables
from recsys.config import Config
from recsys.errors import ConfigError
from recsys.evaluate.references.system import Table
from recsys.manifest import Manifest
from recsys.schemas import FIRST_ITEM, PADDING, UNKNOWN, items_schema


@dataclass(frozen=True)
class Catalogue:
    """The items of a vocabulary.

    Args:
        item_id: of each item [V]; empty where no item is
        train_count: events of train of each item [V]
        attributes: the indexes of each item's values of each attribute, at least one each
        values: of each attribute of a single value, index to value
        category: the attribute that tells kinds of items apart; none without one of a single value
        known_size: indexes from here on the model cannot know
    """

    item_id: list[str]
    train_count: npt.NDArray[np.int64]
    attributes: Mapping[str, Table]
    values: Mapping[str, Mapping[int, str]]
    category: str | None
    known_size: int

    @property
    def category_index(self) -> npt.NDArray[np.int32] | None:
        """Of each item [V]; none without a category."""
        return None if self.category is None else self.attributes[self.category].column

    def title(self, index: int) -> str:
        """What an item is called: by the attribute that tells best what it is, or by its id."""
        if index < FIRST_ITEM:
            return "an item too rare to be known"
        for name in pages.TITLES:
            if name in self.values:
                table = self.attributes[name]
                value = self.values[name].get(int(table.column[table.start[index]]))
                return self.item_id[index] if value is None else pages.plain(value)
        return self.item_id[index]


def read_catalogue(
    spark: SparkSession, config: Config, dataset: Manifest, known_items: int | None = None
) -> Catalogue:
    """From the dataset's table of items.

    Args:
        spark: the session
        config: names the category
        dataset: the manifest
        known_items: from the vocabulary's first on, those that the model can know; none: all

    Raises:
        ConfigError: evaluate.category is no attribute of the items, or a list
    """
    single = [name for name, kind in dataset.attributes.items() if kind == "category"]
    category = config.evaluate.category or next(iter(single), None)
    if category is not None and category not in single:
        raise ConfigError(
            "evaluate.category: expected an attribute of the items of kind category "
            f"({', '.join(single) or 'none'}), found {category!r}"
        )
    url = files.join(dataset.url, "items.parquet")
    items = tables.read(spark, url, items_schema(dataset.attributes, dataset.features))
    table = items.select(*items_schema(dataset.attributes)).toArrow().combine_chunks()
    place = table.column("item_index").to_numpy()
    size = dataset.vocabulary_size
    item_id = np.full(size, "", object)
    item_id[place] = table.column("item_id").to_numpy()
    train_count = np.zeros(size, np.int64)
    train_count[place] = table.column("train_count").to_numpy()
    return Catalogue(
        item_id=item_id.tolist(),
        train_count=train_count,
        attributes={name: _indexes(table, name, size) for name in dataset.attributes},
        values={name: _names(table, name) for name in single},
        category=category,
        known_size=size if known_items is None else FIRST_ITEM + known_items,
    )


def read_vectors(spark: SparkSession, dataset: Manifest) -> dict[str, npt.NDArray[np.float32]]:
    """Of each number, text and vector that is declared of the items, their vectors [V, M]."""
    url = files.join(dataset.url, "items.parquet")
    items = tables.read(spark, url, items_schema(dataset.attributes, dataset.features))
    found = {}
    for name in _declared(dataset):
        width = dataset.features[name]
        found[name] = np.zeros((dataset.vocabulary_size, width), np.float32)
        for batch in items.select("item_index", f"{name}_vector").toArrow().to_batches():
            index, vectors = batch.columns
            found[name][index.to_numpy()] = vectors.flatten().to_numpy().reshape(-1, width)
    return found


def is_described(dataset: Manifest) -> bool:
    """Whether anything is declared of the items."""
    return bool(dataset.attributes or _declared(dataset))


def _declared(dataset: Manifest) -> list[str]:
    """The features that a user declared: what prepare adds is how items were received."""
    return [name for name in dataset.features if name in dataset.config["items"]["attributes"]]


def _indexes(table: pa.Table, attribute: str, size: int) -> Table:
    item = table.column("item_index").to_numpy().astype(np.int64)
    index = table.column(f"{attribute}_index").combine_chunks()
    if pa.types.is_list(index.type):
        item = np.repeat(item, index.value_lengths().to_numpy(zero_copy_only=False))
        index = index.flatten()
    none = np.setdiff1d(np.arange(size), item)
    row = np.concatenate([item, none])
    column = np.concatenate([index.to_numpy(), np.where(none == PADDING, PADDING, UNKNOWN)])
    return Table.of(size, row, column)


def _names(table: pa.Table, attribute: str) -> dict[int, str]:
    index, value = table.column(f"{attribute}_index"), table.column(attribute)
    pairs = zip(index.to_pylist(), value.to_pylist(), strict=True)
    return {number: name for number, name in pairs if name is not None}
