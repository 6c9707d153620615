"""Every key of the configuration, typed, with its unit; one configuration serves all jobs.

A job reads the section of its own name and those of the stages before it. Values are checked
where a section is built, so that an impossible one stops a job before any work.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from recsys.config.checks import require
from recsys.config.clean import Clean
from recsys.config.evaluate import Evaluate, Ranking
from recsys.config.identities import Identities
from recsys.config.inputs import AttributeKind, EventColumns, Events, Items
from recsys.config.prepare import Prepare
from recsys.config.references import AssociationRules, Fading, ItemKnn, SequentialRules
from recsys.config.score import Neighbours, Pairs, Rules, Score, Stock, Subjects
from recsys.config.train import Train

__all__ = [
    "AssociationRules",
    "AttributeKind",
    "Clean",
    "Config",
    "Evaluate",
    "EventColumns",
    "Events",
    "Fading",
    "Identities",
    "ItemKnn",
    "Items",
    "Neighbours",
    "Pairs",
    "Paths",
    "Prepare",
    "Ranking",
    "Rules",
    "Score",
    "SequentialRules",
    "Stock",
    "Subjects",
    "Train",
]


@dataclass(frozen=True)
class Paths:
    """Where each stage writes; any Hadoop URL, a plain path means the local file system.

    Args:
        dataset: what prepare writes and the later jobs read
        model: what train writes
        report: what evaluate writes
        recommendations: what score writes
    """

    dataset: str = "work/dataset"
    model: str = "work/model"
    report: str = "work/report"
    recommendations: str = "work/recommendations"


@dataclass(frozen=True)
class Config:
    """The whole configuration of one pipeline.

    Args:
        name: of the pipeline, shown in reports
        seed: of everything that draws
        paths: where each stage writes
        events: the raw behaviour log
        items: the catalogue
        prepare: from raw events to the dataset
        train: from the dataset to a model
        ranking: how scores become a list
        evaluate: from the model to a report
        score: from the model to recommendations
    """

    name: str = "recsys"
    seed: int = 1
    paths: Paths = field(default_factory=Paths)
    events: Events = field(default_factory=Events)
    items: Items = field(default_factory=Items)
    prepare: Prepare = field(default_factory=Prepare)
    train: Train = field(default_factory=Train)
    ranking: Ranking = field(default_factory=Ranking)
    evaluate: Evaluate = field(default_factory=Evaluate)
    score: Score = field(default_factory=Score)

    def __post_init__(self) -> None:
        require(self.seed >= 0, "seed", "0 or more", self.seed)
        require(
            self.seed not in self.train.ensemble_seeds,
            "train.ensemble_seeds",
            f"seeds other than seed ({self.seed})",
            self.train.ensemble_seeds,
        )
        require(
            self.ranking.exclude_history or not self.evaluate.exclude_earlier,
            "evaluate.exclude_earlier",
            "false without ranking.exclude_history",
            self.evaluate.exclude_earlier,
        )
        # Kept days have the ids of the persons that the table named then.
        may_keep = not self.events.identities.path or self.prepare.days == "whole"
        require(may_keep, "prepare.days", "whole beside events.identities.path", self.prepare.days)

    def to_dict(self) -> dict[str, object]:
        """The configuration as plain values, for YAML and JSON."""
        return dataclasses.asdict(self)
