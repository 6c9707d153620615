"""From the model to a report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from recsys.config.checks import require


@dataclass(frozen=True)
class Ranking:
    """How scores become a list, the same in train, evaluate and score.

    Args:
        exclude_history: leave out the items that the history holds
    """

    exclude_history: bool = False


@dataclass(frozen=True)
class Evaluate:
    """From the model and the test split to a report.

    Args:
        at: list lengths at which metrics are computed
        references: methods that cost nothing, to compare the model with
        half_life_days: after which an event counts half, for the reference own_items_recent
        batch_rows: rows of the test split that a worker ranks at once
    """

    at: tuple[int, ...] = (5, 10, 20)
    references: tuple[Literal["popular", "own_items", "own_items_recent"], ...] = (
        "popular",
        "own_items",
        "own_items_recent",
    )
    half_life_days: float = 60
    batch_rows: int = 16

    def __post_init__(self) -> None:
        require(
            len(self.at) > 0 and min(self.at, default=0) > 0,
            "evaluate.at",
            "positive list lengths",
            self.at,
        )
        for key in ("half_life_days", "batch_rows"):
            value = getattr(self, key)
            require(value > 0, f"evaluate.{key}", "a positive number", value)
