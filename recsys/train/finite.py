"""A step whose numbers are not finite ends the run, and names the batches that it came from."""

from __future__ import annotations

import math

from recsys.errors import DataError
from recsys.train import ranks
from recsys.train.batch import Batch, not_finite


def is_wrong(loss_sum: float, norm: float) -> bool:
    """Whether a step gave what is no finite number."""
    return not (math.isfinite(loss_sum) and math.isfinite(norm))


def fail(step: str, batch: Batch, loss_sum: float, norm: float) -> None:
    """Ends the run after such a step.

    Args:
        step: and the rank that took it
        batch: of this rank
        loss_sum: of this rank
        norm: of the gradient of all ranks, which therefore come here together where it is not
            finite

    Raises:
        DataError: names, of the ranks whose loss is not finite, or of all where only the gradient
            is not, the step, the rank and the batch
    """
    is_loss = not math.isfinite(loss_sum)
    found = loss_sum if is_loss else f"{norm} from a loss of {loss_sum:g}"
    wrong = "".join(f"; it has {name}s that are no number" for name in not_finite(batch))
    own = (
        f"{step}: expected a finite {'loss' if is_loss else 'gradient'}, found {found}; the "
        f"batch's first row holds the items {batch['item'][:1, :10].numpy().ravel().tolist()}"
        f"{wrong}"
    )
    told = [(is_loss, own)] if math.isfinite(norm) else ranks.gathered_plain((is_loss, own))
    of_loss = [line for is_from_loss, line in told if is_from_loss]
    raise DataError("\n".join(of_loss or [line for _, line in told]))
