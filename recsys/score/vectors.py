"""Item vectors on a machine's disk (recsys.cache): mapped by every worker, one copy in memory.

Shapes: N items, W width: D of the embedding, and 1 for what an item scores with everybody.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.errors import DataError

if TYPE_CHECKING:
    import tensorflow as tf

Floats = npt.NDArray[np.float32]

_ROWS_AT_ONCE = 65536
# TensorFlow reads an array in place only where it starts at a multiple of so many bytes.
_ALIGNMENT = 64


def require_finite(values: Floats, names: pa.Array, what: str) -> None:
    """Makes sure that a model's output is numbers.

    Args:
        values: a row (or value) for each name; there may be more rows
        names: of users or items [N]
        what: they are, in the singular

    Raises:
        DataError: some are infinite or no numbers; names the first whose are
    """
    is_finite = np.isfinite(values[: len(names)])
    is_broken_N = ~is_finite.all(axis=tuple(range(1, is_finite.ndim)))
    if is_broken_N.any():
        first = names[int(is_broken_N.argmax())].as_py()
        raise DataError(
            f"the model's export: expected finite numbers for the {what} {first!r}, found others; "
            "train again, or go back to an earlier model"
        )


# From indexes of items [K] to their vectors [K, W].
Of = Callable[[npt.NDArray[np.int32]], Any]


def write(
    path: Path, of: Of, chosen_N: npt.NDArray[np.int32], bias_V: Floats, names_V: pa.StringArray
) -> None:
    """Writes the vectors of the chosen items, a part at a time, with more added to their bias.

    Raises:
        DataError: the model has vectors that are no numbers
    """

    def of_scores(part_NW: Floats, chosen: npt.NDArray[np.int32]) -> Floats:
        require_finite(part_NW, names_V.take(pa.array(chosen)), "item")
        part_NW[:, -1] += bias_V[chosen]
        return part_NW

    _write(path, of, chosen_N, of_scores)


def write_directions(
    path: Path, of: Of, chosen_N: npt.NDArray[np.int32], names_V: pa.StringArray
) -> None:
    """Writes the vectors of the chosen items without their bias, each of length 1.

    Raises:
        DataError: the model has vectors that are no numbers
    """

    def of_length_1(part_NW: Floats, chosen: npt.NDArray[np.int32]) -> Floats:
        require_finite(part_NW, names_V.take(pa.array(chosen)), "item")
        return normalised(part_NW[:, :-1])

    _write(path, of, chosen_N, of_length_1)


def write_whole(path: Path, of: Of, chosen_N: npt.NDArray[np.int32]) -> None:
    """Writes the vectors of the chosen items as they are."""
    _write(path, of, chosen_N, lambda part_NW, _: part_NW)


def _write(
    path: Path,
    of: Of,
    chosen_N: npt.NDArray[np.int32],
    made: Callable[[Floats, npt.NDArray[np.int32]], Floats],
) -> None:
    """Writes what is made of the chosen items' vectors, a part at a time."""
    # Not through a memory map: on a full disk that ends the process, without an error.
    with open(path, "wb") as file:
        for start in range(0, len(chosen_N), _ROWS_AT_ONCE):
            chosen = chosen_N[start : start + _ROWS_AT_ONCE]
            part = np.ascontiguousarray(made(np.array(of(chosen), "<f4"), chosen), "<f4")
            if start == 0:
                shape = (len(chosen_N), part.shape[1])
                header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)  # type: ignore[no-untyped-call]
            file.write(part.data)


def normalised(vectors_ND: Floats) -> Floats:
    """The vectors at length 1; those of length 0 stay."""
    lengths_N1 = np.linalg.norm(vectors_ND, axis=-1, keepdims=True)
    return np.asarray(vectors_ND / np.maximum(lengths_N1, 1e-12), np.float32)


def load(path: Path) -> Floats:
    """The file as an array [N, W] that is read from the disk as it is used."""
    # Copy-on-write: TensorFlow does not read arrays in place that are marked as read-only.
    return np.asarray(np.load(path, mmap_mode="c"))


def blocks(vectors_NW: Floats, items: int) -> list[tf.Tensor]:
    """The vectors in tensors of so many items, which share the array's memory where they can."""
    return [
        _tensor(vectors_NW[start : start + items]) for start in range(0, len(vectors_NW), items)
    ]


def _tensor(part_NW: Floats) -> tf.Tensor:
    import tensorflow as tf

    if part_NW.ctypes.data % _ALIGNMENT == 0:
        return tf.experimental.dlpack.from_dlpack(part_NW.__dlpack__())
    return tf.constant(part_NW)
