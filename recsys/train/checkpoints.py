"""Checkpoints: written whole, hashed, the last few kept."""

from __future__ import annotations

import io
import json
import logging
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from recsys import files
from recsys.errors import DataError

log = logging.getLogger(__name__)


def save(
    folder: str,
    name: str,
    variables: Sequence[tf.Variable],
    progress: dict[str, Any],
    run: str | None = None,
) -> None:
    """Writes the variables and the progress of the run; the JSON file comes last, with the hash.

    Args:
        folder: URL of the checkpoints
        name: of this one; names sort in the order of writing
        variables: model and optimizer, always in the same order
        progress: what else a resumed run needs; plain values
        run: fingerprint of all that makes the run this one (recsys.train.identity)

    Raises:
        DataError: a value is not finite; the checkpoints before stay the last ones
    """
    buffer = io.BytesIO()
    arrays = {f"{place:04d}": variable.numpy() for place, variable in enumerate(variables)}
    for values, variable in zip(arrays.values(), variables, strict=True):
        if not np.all(np.isfinite(values)):
            raise DataError(f"{name}: expected finite weights, found others in {variable.name}")
    np.savez(buffer, **arrays)
    content = buffer.getvalue()
    files.write_bytes(files.join(folder, f"{name}.npz"), content)
    about = {"progress": progress, "run": run, "sha256": files.fingerprint([content])}
    about["about_sha256"] = _of_about(about)
    files.write_json(files.join(folder, f"{name}.json"), about)


def _of_about(about: Mapping[str, Any]) -> str:
    told = {name: value for name, value in about.items() if name != "about_sha256"}
    return files.fingerprint([json.dumps(told, sort_keys=True)])


def _about(folder: str, name: str, run: str | None) -> dict[str, Any]:
    """The progress of a checkpoint, and the hash of its arrays.

    Raises:
        DataError: the file is not what was written, or of another run
    """
    where = files.join(folder, f"{name}.json")
    try:
        about = dict(json.loads(files.read_bytes(where)))
        is_whole = _of_about(about) == about["about_sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{where}: expected what was written, found {error!r}") from None
    if not is_whole:
        raise DataError(f"{where}: expected what was written, found another hash")
    if run not in (None, about.get("run")):
        raise DataError(
            f"{where}: expected a checkpoint of the run {run}, found one of {about.get('run')}"
        )
    return about


def restore(
    folder: str, name: str, variables: Sequence[tf.Variable], run: str | None = None
) -> dict[str, Any]:
    """Puts a checkpoint's values into the variables and returns its progress.

    Raises:
        DataError: the file is not what was written, or of another model or run
    """
    arrays, progress = read(folder, name, run)
    _check_shapes(folder, name, arrays, variables)
    for values, variable in zip(arrays, variables, strict=True):
        variable.assign(values)
    return progress


def restore_mean(
    folder: str, count: int, variables: Sequence[tf.Variable], run: str | None = None
) -> int:
    """Puts the mean of the last checkpoints' values into the variables.

    The mean of weights along one training run is often better than each of them (Izmailov et al.,
    2018, stochastic weight averaging). One that is damaged, or of another run, is named in a
    warning, and left out.

    Args:
        folder: URL of the checkpoints
        count: of the last ones
        variables: the first of those that were saved
        run: of the checkpoints, as it was saved with them; None takes any

    Returns:
        of how many checkpoints it is the mean

    Raises:
        DataError: none is whole
    """
    sums = [np.zeros(variable.shape) for variable in variables]
    found = 0
    for name in names(folder)[-count:]:
        try:
            arrays, _ = read(folder, name, run)
        except DataError as error:
            log.warning("%s; the mean is taken of the other checkpoints", error)
            continue
        arrays = arrays[: len(sums)]
        _check_shapes(folder, name, arrays, variables)
        sums = [total + values for total, values in zip(sums, arrays, strict=True)]
        found += 1
    if not found:
        raise DataError(f"{folder}: expected a whole checkpoint to take the mean of, found none")
    for variable, total in zip(variables, sums, strict=True):
        variable.assign((total / found).astype(variable.dtype.as_numpy_dtype))
    return found


def read(
    folder: str, name: str, run: str | None = None
) -> tuple[list[npt.NDArray[Any]], dict[str, Any]]:
    """The values of a checkpoint, in the order in which they were saved, and its progress.

    Raises:
        DataError: the file is not what was written, or of another run
    """
    where = files.join(folder, f"{name}.npz")
    about = _about(folder, name, run)
    content = files.read_bytes(where)
    if files.fingerprint([content]) != about["sha256"]:
        raise DataError(f"{where}: expected the content that was written, found another hash")
    try:
        arrays = np.load(io.BytesIO(content))
    except (ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{where}: expected arrays, found {error}") from None
    return [arrays[key] for key in sorted(arrays.files)], dict(about["progress"])


def _check_shapes(
    folder: str, name: str, arrays: Sequence[npt.NDArray[Any]], variables: Sequence[tf.Variable]
) -> None:
    if [values.shape for values in arrays] != [tuple(variable.shape) for variable in variables]:
        raise DataError(
            f"{files.join(folder, name)}.npz: expected arrays of the model's shapes, found those "
            "of another"
        )


def restore_last(
    folder: str,
    variables: Sequence[tf.Variable],
    fits: Callable[[dict[str, Any]], bool] = lambda progress: True,
    run: str | None = None,
    first: str = "",
) -> dict[str, Any] | None:
    """Puts the last whole checkpoint's values into the variables and returns its progress.

    One that is damaged, or of another run, is named in a warning, and the next taken.

    Args:
        folder: URL of the checkpoints
        variables: in the order in which they were saved
        fits: whether a checkpoint of this progress can be gone on with; others are passed over
        run: of the checkpoints, as it was saved with them; None takes any
        first: the name of one that is tried before the others, if it is there

    Returns:
        None where there is no checkpoint that fits

    Raises:
        DataError: there are some, and all are damaged or of other runs
    """
    wrong = 0
    for name in sorted(reversed(names(folder)), key=lambda name: name != first):
        try:
            if fits(_about(folder, name, run)["progress"]):
                return restore(folder, name, variables, run)
        except DataError as error:
            wrong += 1
            other = "another checkpoint" if name == first else "the checkpoint before it"
            log.warning("%s; %s is tried", error, other)
    if wrong:
        raise DataError(
            f"{folder}: expected a whole checkpoint of this run, found {wrong} damaged or of others"
        )
    return None


def names(folder: str) -> list[str]:
    """The checkpoints that were finished, oldest first."""
    return sorted(name[: -len(".json")] for name in files.names(folder) if name.endswith(".json"))


def drop_behind(folder: str, name: str) -> None:
    """Removes those whose names sort behind one: of a line that nobody goes on with."""
    for other in names(folder):
        if other > name:
            _remove(folder, other)


def keep_last(folder: str, count: int, also: str = "") -> None:
    """Removes all but the last checkpoints, and the last whose name ends with `also`."""
    found = names(folder)
    kept = {*found[-count:], *[name for name in found if name.endswith(also)][-1:]}
    for name in sorted(set(found) - kept):
        _remove(folder, name)


def _remove(folder: str, name: str) -> None:
    for kind in ("json", "npz"):
        where = files.join(folder, f"{name}.{kind}")
        if files.exists(where):  # one that is damaged may lack its arrays
            files.remove(where)
