"""A step whose numbers are not finite ends the run, and names the batches that it came from."""

from __future__ import annotations

import math

from recsys.errors import DataError
from recsys.train import ranks
from recsys.train.batch import Batch, not_finite

# Of the rows that are wrong, so many are named.
_ROWS_NAMED = 10


def is_wrong(loss_sum: float, norm: float) -> bool:
    """Whether a step gave what is no finite number."""
    return not (math.isfinite(loss_sum) and math.isfinite(norm))


def fail(step: str, batch: Batch, loss_sum: float, norm: float, file: str | None = None) -> None:
    """Ends the run after such a step.

    Args:
        step: and the rank that took it
        batch: of this rank
        loss_sum: of this rank
        norm: of the gradient of all ranks, which therefore come here together where it is not
            finite
        file: that the batch is of; none where it has no rows

    Raises:
        DataError: names, of the ranks whose loss is not finite, or of all where only the gradient
            is not, the step, the rank, the batch with its file, and the columns and rows of it
            that hold what is no finite number
    """
    is_loss = not math.isfinite(loss_sum)
    found = loss_sum if is_loss else f"{norm} from a loss of {loss_sum:g}"
    own = (
        f"{step}: expected a finite {'loss' if is_loss else 'gradient'}, found {found}; the "
        f"batch's first row holds the items {_items(batch, 0)}; it is of {file or 'no file'}"
        f"{_wrong(batch)}"
    )
    told = [(is_loss, own)] if math.isfinite(norm) else ranks.gathered_plain((is_loss, own))
    of_loss = [line for is_from_loss, line in told if is_from_loss]
    raise DataError("\n".join(of_loss or [line for _, line in told]))


def _items(batch: Batch, row: int) -> list[int]:
    """The first ones of a row; none where the batch has no such row."""
    items: list[int] = batch["item"][row : row + 1, :10].numpy().ravel().tolist()
    return items


def _wrong(batch: Batch) -> str:
    """What of the batch is no finite number."""
    told = ""
    for name, rows in not_finite(batch).items():
        more = " and more" if len(rows) > _ROWS_NAMED else ""
        told += (
            f"; its column {name} holds what is no finite number in the batch's rows "
            f"{rows[:_ROWS_NAMED]}{more} (from 0), the first of which holds the items "
            f"{_items(batch, rows[0])}"
        )
    return told
