"""What evaluation knows of the items: how frequent they are, what they are, and their names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import SparkSession

from recsys import files, tables
from recsys.config import Config
from recsys.errors import ConfigError
from recsys.manifest import Manifest
from recsys.schemas import PADDING, UNKNOWN, items_schema


@dataclass(frozen=True)
class Catalogue:
    """The items of a vocabulary.

    Args:
        item_id: of each item [V]; empty where no item is
        train_count: events of train of each item [V]
        attributes: index of each item's value of each attribute [V]
        values: of each attribute, index to value
        category: the attribute that tells kinds of items apart; none without attributes
    """

    item_id: list[str]
    train_count: npt.NDArray[np.int64]
    attributes: Mapping[str, npt.NDArray[np.int32]]
    values: Mapping[str, Mapping[int, str]]
    category: str | None

    @property
    def category_index(self) -> npt.NDArray[np.int32] | None:
        """Of each item [V]; none without attributes."""
        return None if self.category is None else self.attributes[self.category]


def read_catalogue(spark: SparkSession, config: Config, dataset: Manifest) -> Catalogue:
    """From the dataset's table of items.

    Raises:
        ConfigError: evaluate.category is no attribute of the items
    """
    names = list(dataset.categories)
    category = config.evaluate.category or next(iter(names), None)
    if category is not None and category not in names:
        raise ConfigError(
            f"evaluate.category: expected an attribute of the items ({', '.join(names) or 'none'})"
            f", found {category!r}"
        )
    url = files.join(dataset.url, "items.parquet")
    table = tables.read(spark, url, items_schema(names)).toArrow().combine_chunks()
    place = table.column("item_index").to_numpy()
    size = dataset.vocabulary_size

    def by_index(column: str, kind: Any, missing: Any) -> npt.NDArray[Any]:
        values_V = np.full(size, missing, kind)
        values_V[place] = table.column(column).to_numpy()
        return values_V

    attributes = {name: by_index(f"{name}_index", np.int32, UNKNOWN) for name in names}
    for value_V in attributes.values():
        value_V[PADDING] = PADDING
    return Catalogue(
        item_id=by_index("item_id", object, "").tolist(),
        train_count=by_index("train_count", np.int64, 0),
        attributes=attributes,
        values={name: _names(table, name) for name in names},
        category=category,
    )


def _names(table: pa.Table, attribute: str) -> dict[int, str]:
    pairs = table.select([f"{attribute}_index", attribute]).group_by(
        [f"{attribute}_index", attribute]
    )
    rows = pairs.aggregate([]).to_pylist()
    return {row[f"{attribute}_index"]: row[attribute] for row in rows if row[attribute] is not None}
