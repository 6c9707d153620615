"""From the model to a report."""

from __future__ import annotations

import math
import typing
from dataclasses import dataclass, field
from typing import Literal

from recsys.config import floors
from recsys.config import references as settings
from recsys.config.checks import require, require_once
from recsys.config.references import ReferenceName


@dataclass(frozen=True)
class Ranking:
    """How scores become a list, the same in train, evaluate and score.

    Args:
        exclude_history: leave out the items of the history's latest events, as many as a row has
            room for (prepare.sequence_length)
    """

    exclude_history: bool = False


@dataclass(frozen=True)
class Evaluate:
    """From the model and the test split to a report.

    Args:
        at: list lengths at which metrics are computed
        references: methods that cost little, to compare the model with
        unknown_targets: what targets are that the vocabulary lacks or the model cannot know; miss
            counts them against every system that does not list them, drop leaves them out for all,
            and cases that have no others
        exclude_earlier: where ranking.exclude_history is true, leave out what came before the
            history's latest events, too, as published protocols do; validation, which chooses the
            epoch, leaves out the latest alone, and score.rules.leave_out does so for score's lists
        resamples: how often users are drawn again for the 95 % intervals
        floors: what figures must reach, or the job exits 4 after it has written the report:
            recall@20, recall@20 over popular (a margin), recall@20 in users=new (a slice), or both;
            purchase auc, or another figure of the purchase head, and purchase auc over
            purchase_rate; of gini, popularity_bias and purchase log_loss, where less is better, the
            most that they may be
        category: attribute by which diversity, slices and best-sellers tell items apart; null is
            the first of the items' attributes
        examples: cases that the report shows with their lists and reasons
        batch_rows: rows of a split that a worker ranks at once, at most
        popular_recent: settings of this reference
        own_items_recent: settings of this reference
        item_knn: settings of this reference
        user_knn: settings of this reference
        session_knn: settings of this reference
        association_rules: settings of this reference
        sequential_rules: settings of this reference
        matrix_factorization: settings of this reference
        content: settings of this reference
        hybrid: settings of this reference
    """

    at: tuple[int, ...] = (5, 10, 20)
    references: tuple[ReferenceName, ...] = (
        "popular",
        "own_items",
        "own_items_recent",
        "item_knn",
    )
    unknown_targets: Literal["miss", "drop"] = "miss"
    exclude_earlier: bool = False
    resamples: int = 400
    floors: dict[str, float] = field(default_factory=dict)
    category: str | None = None
    examples: int = 6
    batch_rows: int = 128
    popular_recent: settings.PopularRecent = field(default_factory=settings.PopularRecent)
    own_items_recent: settings.OwnItemsRecent = field(default_factory=settings.OwnItemsRecent)
    item_knn: settings.ItemKnn = field(default_factory=settings.ItemKnn)
    user_knn: settings.UserKnn = field(default_factory=settings.UserKnn)
    session_knn: settings.SessionKnn = field(default_factory=settings.SessionKnn)
    association_rules: settings.AssociationRules = field(default_factory=settings.AssociationRules)
    sequential_rules: settings.SequentialRules = field(default_factory=settings.SequentialRules)
    matrix_factorization: settings.MatrixFactorization = field(
        default_factory=settings.MatrixFactorization
    )
    content: settings.Content = field(default_factory=settings.Content)
    hybrid: settings.Hybrid = field(default_factory=settings.Hybrid)

    def __post_init__(self) -> None:
        require(
            len(self.at) > 0 and min(self.at, default=0) > 0,
            "evaluate.at",
            "positive list lengths",
            self.at,
        )
        require(self.batch_rows > 0, "evaluate.batch_rows", "a positive number", self.batch_rows)
        for key in ("resamples", "examples"):
            value = getattr(self, key)
            require(value >= 0, f"evaluate.{key}", "a number from 0", value)
        require_once("evaluate.references", self.references)
        for name, bound in self.floors.items():
            floors.parse(name, self.at, self.references)
            require(math.isfinite(bound), f"evaluate.floors.{name}", "a number", bound)
        if "hybrid" in self.references:
            known = ["model", *(name for name in self.references if name != "hybrid")]
            for name in self.hybrid.systems:
                expected = f"model or one of evaluate.references ({', '.join(known[1:])})"
                require(name in known, "evaluate.hybrid.systems", expected, name)


REFERENCE_NAMES: tuple[str, ...] = typing.get_args(ReferenceName)
