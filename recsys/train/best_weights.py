"""The best weights of a run, and what is taken where they are damaged."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from recsys.errors import DataError
from recsys.train import checkpoints
from recsys.train.progress import Metrics

log = logging.getLogger(__name__)

NAME = "best"


def of_which(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Which weights they are of: those after an epoch, or a mean of so many checkpoints."""
    return {name: metrics.get(name) for name in ("epoch", "averaged")}


def take(
    folder: str,
    kept: str,
    first: str,
    variables: Sequence[tf.Variable],
    chosen: Metrics,
    run: str,
) -> Metrics:
    """Puts the best weights into the variables.

    Where they are damaged, of another run or not those that were chosen, a warning says so, and the
    weights after an epoch that a checkpoint holds are taken. Of those within an epoch nobody knows
    how good they are.

    Args:
        folder: URL of the best weights
        kept: URL of the checkpoints
        first: the name of that of the chosen epoch; where it is not whole, the last one is taken
        variables: in the order in which they were saved
        chosen: metrics of the best weights
        run: of both, as it was saved with them

    Returns:
        the metrics of what was taken: `chosen` itself, or those in the checkpoint

    Raises:
        DataError: no checkpoint is whole, either
    """
    try:
        _take_chosen(folder, variables, chosen, run)
    except DataError as error:
        found = _after_an_epoch(kept, first, variables, run)
        if found is None:
            raise DataError(
                f"{error}; nor does {kept} hold whole weights after an epoch; train.resume true "
                "goes on from those within one, if there are any, and false trains anew"
            ) from None
        which = "the same ones" if of_which(found) == of_which(chosen) else "others than the best"
        log.warning(
            "%s; the weights after epoch %d in %s are used instead, %s",
            error, found["epoch"], kept, which,
        )  # fmt: skip
        return found
    return chosen


def _take_chosen(folder: str, variables: Sequence[tf.Variable], chosen: Metrics, run: str) -> None:
    found = checkpoints.restore(folder, NAME, variables, run)
    if of_which(found) != of_which(chosen):
        raise DataError(
            f"{folder}: expected the weights of {of_which(chosen)}, found those of "
            f"{of_which(found)}"
        )


def _after_an_epoch(
    kept: str, first: str, variables: Sequence[tf.Variable], run: str
) -> Metrics | None:
    """Takes them from a checkpoint; their metrics, or None where there is no whole one."""
    try:
        found = checkpoints.restore_last(kept, variables, _is_after_epoch, run, first)
    except DataError:
        return None
    return None if found is None else dict(found["history"][-1])


def _is_after_epoch(progress: Mapping[str, Any]) -> bool:
    return progress["step"] == 0 and bool(progress["history"])
