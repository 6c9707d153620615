"""The items that may be recommended, and what lists need to know of them.

Shapes: V vocabulary, N items that may be recommended, C values that an item has of an attribute at
most.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType

from recsys import files
from recsys.arrays import matrix
from recsys.config import Rules
from recsys.errors import ConfigError, DataError
from recsys.schemas import FIRST_ITEM, UNKNOWN
from recsys.score.ignored import ignored, is_in_stock

Ints = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Catalogue:
    """All items of the vocabulary, and which of them may be recommended.

    Args:
        item_id: by index [V]; empty where no item is
        train_count: events of train by index [V]
        allowed: indexes of the items that may be recommended [N], rising
        values: attribute to the indexes of each item's values [V, C]; below FIRST_ITEM is none
        ignored: configuration key of a rule to how many of its values or rows do nothing
    """

    item_id: pa.StringArray
    train_count: npt.NDArray[np.int64]
    allowed: Ints
    values: dict[str, Ints]
    ignored: dict[str, int] = field(default_factory=dict)

    @cached_property
    def log_count(self) -> npt.NDArray[np.float32]:
        """log(1 + events of train) by index [V]: what popularity is measured in."""
        return np.log1p(self.train_count).astype(np.float32)

    def fingerprint(self) -> str:
        """Stands for all of it."""
        values = [part for name, value in self.values.items() for part in (name, value.tobytes())]
        arrays = (self.train_count.tobytes(), self.allowed.tobytes())
        return files.fingerprint([*arrays, *values, *self.item_id.to_pylist()])


def catalogue(
    items: DataFrame,
    size: int,
    known_items: int,
    rules: Rules,
    attributes: Collection[str],
    stock: DataFrame | None,
) -> Catalogue:
    """The catalogue under a merchant's rules.

    Args:
        items: schemas.items_schema of the dataset's attributes
        size: of the vocabulary
        known_items: its first ones, which the model can rank; no others are recommended
        rules: which items to leave out
        attributes: those whose values lists depend on
        stock: tables.read_stock; none where everything can be sold

    Raises:
        DataError: nothing is left to recommend
    """
    indexes = [f"{name}_index" for name in attributes]
    columns = ("item_index", "item_id", "train_count", "allowed", *indexes)
    table = _marked(items, rules, stock).select(*columns).toArrow().combine_chunks()
    allowed_V = _by_index(table, "allowed", size, False, np.bool_)
    allowed_V[:FIRST_ITEM] = False
    allowed_V[FIRST_ITEM + known_items :] = False
    if not allowed_V.any():
        raise DataError(
            f"score.rules: expected items that may be recommended, found none of {len(table)}"
        )
    return Catalogue(
        item_id=pa.array(_by_index(table, "item_id", size, "", object), pa.string()),
        train_count=_by_index(table, "train_count", size, 0, np.int64),
        allowed=np.flatnonzero(allowed_V).astype(np.int32),
        values={name: _values(table, f"{name}_index", size) for name in attributes},
        ignored=ignored(items, rules, stock),
    )


def _by_index(table: pa.Table, name: str, size: int, missing: Any, kind: Any) -> npt.NDArray[Any]:
    """A column of the items as an array [V]; what is missing stands where no item is."""
    values_V = np.full(size, missing, kind)
    values_V[table.column("item_index").to_numpy()] = table.column(name).to_numpy()
    return values_V


def _values(table: pa.Table, name: str, size: int) -> Ints:
    """The indexes of each item's values [V, C]."""
    column = table.column(name).combine_chunks()
    is_list = pa.types.is_list(column.type)
    value_NC = matrix(column, name) if is_list else column.to_numpy()[:, None]
    value_VC = np.full((size, value_NC.shape[1]), UNKNOWN, np.int32)
    value_VC[table.column("item_index").to_numpy()] = value_NC
    return value_VC


def check_attributes(key: str, named: Iterable[str], known: Collection[str]) -> None:
    """Makes sure that what a rule names is an attribute.

    Raises:
        ConfigError: it is not
    """
    for name in named:
        if name not in known:
            raise ConfigError(
                f"{key}: expected an attribute of the items ({', '.join(known) or 'none'}), "
                f"found {name!r}"
            )


def _marked(items: DataFrame, rules: Rules, stock: DataFrame | None) -> DataFrame:
    """The items with `allowed`; a missing value is in no list of values."""
    allowed = F.lit(True)
    for name, values in rules.allow.items():
        allowed &= _is_one_of(items, name, values)
    for name, values in rules.deny.items():
        allowed &= ~_is_one_of(items, name, values)
    if stock is None:
        return items.withColumn("allowed", allowed)
    named = F.col("item_id").cast("string").alias("item_id")
    sold = stock.where(is_in_stock(rules)).select(named, F.lit(True).alias("in_stock")).distinct()
    joined = items.join(sold, on="item_id", how="left")
    return joined.withColumn("allowed", allowed & F.coalesce("in_stock", F.lit(False)))


def _is_one_of(items: DataFrame, name: str, values: Iterable[str]) -> Column:
    if isinstance(items.schema[name].dataType, ArrayType):
        found = F.arrays_overlap(name, F.array(*[F.lit(value) for value in values]))
    else:
        found = F.col(name).isin(list(values))
    return F.coalesce(found, F.lit(False))
