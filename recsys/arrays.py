"""The arrays of rows and histories: lists in tables, matrices where there is something to compute.

Shapes: B rows, L entries, N entries of all rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.schemas import PADDING

# What row groups of sequences hold.
EVEN = "expected lists of one length without nulls"
_ARROW = {
    "string": pa.string(), "binary": pa.binary(), "int": pa.int32(), "bigint": pa.int64(),
    "float": pa.float32(), "double": pa.float64(), "decimal(30,0)": pa.decimal128(30),
}  # fmt: skip
# Of arrays that are not filled up with PADDING.
PADS = {"step": -1}


def pad(name: str) -> int:
    """What stands where an array of that name has no entry."""
    return PADS.get(name, PADDING)


def arrow_schema(schema: Mapping[str, str]) -> pa.Schema:
    """Of a table of schemas.py.

    >>> arrow_schema({"user_id": "string", "item": "array<int>"})
    user_id: string
    item: list<item: int32>
      child 0, item: int32
    """

    def kind_of(kind: str) -> pa.DataType:
        if kind.startswith("array<"):
            return pa.list_(kind_of(kind.removeprefix("array<").removesuffix(">")))
        return _ARROW[kind]

    return pa.schema([(name, kind_of(kind)) for name, kind in schema.items()])


def with_columns(batch: pa.RecordBatch, columns: Mapping[str, pa.Array]) -> pa.RecordBatch:
    """The batch with more columns, or with others in place of its own."""
    own = {name: batch.column(name) for name in batch.schema.names}
    return pa.RecordBatch.from_pydict({**own, **columns})


class Filling:
    """Where the entries of rows go when each row is filled up to its width.

    Args:
        sizes_B: entries of each row
        widths_B: up to which it is filled
    """

    def __init__(self, sizes_B: npt.NDArray[np.int64], widths_B: npt.NDArray[np.int64]) -> None:
        self.ends_B = np.cumsum(widths_B)
        skipped_B = self.ends_B - widths_B - (np.cumsum(sizes_B) - sizes_B)
        self._place_N = np.arange(sizes_B.sum()) + np.repeat(skipped_B, sizes_B)

    def filled(self, values_N: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
        """The entries of all rows one after another, each row's filled up to its width.

        Args:
            values_N: of all rows, one after another
            name: of the array

        >>> filling = Filling(np.array([2, 0, 1]), np.array([2, 1, 3]))
        >>> filling.filled(np.array([7, 8, 9]), "step").tolist()
        [7, 8, -1, 9, -1, -1]
        """
        result = np.full(self.ends_B[-1] if len(self.ends_B) else 0, pad(name), values_N.dtype)
        result[self._place_N] = values_N
        return result


def is_even(lists: pa.ListArray) -> bool:
    """Whether all lists have one length, and there are no nulls.

    >>> is_even(pa.array([[1, 2], [3, 4]])), is_even(pa.array([[1, 2], [3]]))
    (True, False)
    """
    sizes = np.diff(np.asarray(lists.offsets))
    has_nulls = lists.null_count or lists.flatten().null_count
    return not has_nulls and (len(sizes) == 0 or bool((sizes == sizes[0]).all()))


def matrix(lists: pa.ListArray, name: str) -> npt.NDArray[Any]:
    """The lists as rows [B, L], filled up to the longest of them, and to one entry at least.

    Args:
        lists: [B]
        name: of the array
    """
    values_N = np.asarray(lists.flatten())
    sizes_B = np.diff(np.asarray(lists.offsets)).astype(np.int64)
    width = max(1, int(sizes_B.max(initial=0)))
    if len(values_N) == width * len(sizes_B):
        return values_N.reshape(-1, width)
    filling = Filling(sizes_B, np.full(len(sizes_B), width))
    return filling.filled(values_N, name).reshape(-1, width)
