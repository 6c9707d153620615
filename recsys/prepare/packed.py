"""The arrays of a row as bytes, entry by entry: on their way through shuffles nobody reads them.

Spark moves a list number by number, for each list of a row; bytes move whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

# The column that holds the arrays.
ARRAYS = "arrays"
_NUMBERS = {"array<int>": "<i4", "array<bigint>": "<i8", "array<float>": "<f4"}


@dataclass(frozen=True)
class Packing:
    """How rows of a schema are packed.

    Args:
        rows: column to type; all arrays of a row have one length
    """

    rows: Mapping[str, str]

    @property
    def schema(self) -> dict[str, str]:
        """Of packed rows."""
        scalars = {name: kind for name, kind in self.rows.items() if kind not in _NUMBERS}
        return {**scalars, ARRAYS: "binary"}

    @property
    def _entry(self) -> np.dtype[np.void]:
        """One entry of all arrays, with a field for each."""
        kinds = self.rows.items()
        return np.dtype([(name, _NUMBERS[kind]) for name, kind in kinds if kind in _NUMBERS])

    def packed(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Rows with bytes in place of their arrays."""
        kind = self._entry
        names = kind.names or ()
        offsets = np.asarray(rows.column(names[0]).offsets)
        entries = np.empty(int(offsets[-1] - offsets[0]), dtype=kind)
        for name in names:
            entries[name] = np.asarray(rows.column(name).flatten())
        begin = pa.array((offsets - offsets[0]) * kind.itemsize, pa.int32())
        buffers = [None, begin.buffers()[1], pa.py_buffer(entries)]
        arrays = pa.Array.from_buffers(pa.binary(), len(rows), buffers)
        columns = [arrays if name == ARRAYS else rows.column(name) for name in self.schema]
        return pa.RecordBatch.from_arrays(columns, names=list(self.schema))

    def unpacked(self, arrays: pa.BinaryArray) -> tuple[NDArray[np.int64], NDArray[np.void]]:
        """How many entries each row has, and the entries of all, with a field for each array."""
        kind = self._entry
        if not len(arrays):
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=kind)
        _, places, content = arrays.buffers()
        offsets = np.frombuffer(places, dtype=np.int32)[arrays.offset :][: len(arrays) + 1]
        sizes = np.diff(offsets) // kind.itemsize
        if not sizes.any():
            return sizes, np.zeros(0, dtype=kind)
        return sizes, np.frombuffer(content, kind, count=sizes.sum(), offset=offsets[0])
