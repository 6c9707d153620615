"""Item vectors on a machine's disk: written once, mapped by every worker, one copy in memory.

Shapes: N items, W width: D of the embedding, and 1 for what an item scores with everybody.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from recsys.errors import DataError

if TYPE_CHECKING:
    import tensorflow as tf

Floats = npt.NDArray[np.float32]

# Files that no run has used for so long are removed.
_KEEP_SECONDS = 7 * 86400
_ROWS_AT_ONCE = 65536
# TensorFlow reads an array in place only where it starts at a multiple of so many bytes.
_ALIGNMENT = 64


def folder() -> Path:
    """The machine's folder of this user, which nobody else may write to."""
    place = Path(tempfile.gettempdir()) / f"recsys-vectors-{os.getuid()}"
    place.mkdir(mode=0o700, exist_ok=True)
    if place.stat().st_uid != os.getuid():
        raise DataError(f"{place}: expected a folder of this user, found one of another")
    return place


def mapped(key: str, make: Callable[[Path], None], suffix: str = ".npy") -> Path:
    """The machine's file of a key, made by the first that needs it.

    Args:
        key: a fingerprint of all that the file depends on
        make: writes it to the path it is given
        suffix: of the file
    """
    path = folder() / f"{key}{suffix}"
    with open(path.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _remove_old()
            draft = path.with_suffix(f".writing{suffix}")
            try:
                make(draft)
                os.replace(draft, path)
            finally:
                draft.unlink(missing_ok=True)  # of a try that failed
        os.utime(path)
    return path


def _remove_old() -> None:
    for path in folder().iterdir():
        if time.time() - path.stat().st_mtime > _KEEP_SECONDS:
            path.unlink(missing_ok=True)


def write(path: Path, vectors_VW: Any, chosen_N: npt.NDArray[np.int32], bias_V: Floats) -> None:
    """Writes the vectors of the chosen items, a part at a time, with more added to their bias.

    Raises:
        DataError: the model has vectors that are no numbers
    """
    vectors_VW = np.asarray(memoryview(vectors_VW))  # the tensor's own memory
    shape = (len(chosen_N), vectors_VW.shape[1])
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    # Not through a memory map: on a full disk that ends the process, without an error.
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)  # type: ignore[no-untyped-call]
        for start in range(0, len(chosen_N), _ROWS_AT_ONCE):
            chosen = chosen_N[start : start + _ROWS_AT_ONCE]
            part = np.array(vectors_VW[chosen], "<f4")
            part[:, -1] += bias_V[chosen]
            if not np.isfinite(part).all():
                raise DataError("export: expected finite item vectors, found others; train again")
            file.write(part.data)


def write_directions(path: Path, vectors_VW: Any, chosen_N: npt.NDArray[np.int32]) -> None:
    """Writes the vectors of the chosen items without their bias, each of length 1."""
    directions_ND = normalised(np.asarray(vectors_VW)[chosen_N, :-1])
    np.save(path, directions_ND)


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
