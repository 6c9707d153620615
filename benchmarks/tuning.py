"""The references' settings, chosen on validation: what is tried, and how it is compared."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from recsys.config import Evaluate
from recsys.evaluate import aggregate, figures, references
from recsys.evaluate.evaluation import Evaluation
from recsys.evaluate.histories import whole
from recsys.evaluate.references.system import System, Training

Values = Mapping[str, Any]

_DECAYS = (0.0, 0.5, 0.8, 0.95)
# Of each reference, the settings of which every combination is tried.
GRIDS: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "popular_recent": {"half_life_days": (1, 7, 30, 90)},
    "own_items_recent": {"half_life_days": (7, 30, 60, 120)},
    "item_knn": {"regularisation": (0, 20, 100), "decay": _DECAYS},
    "user_knn": {"neighbours": (100, 300, 1000), "regularisation": (1, 10, 50)},
    "session_knn": {
        "neighbours": (100, 500), "candidates": (1000, 5000),
        "fading": ("linear", "quadratic", "harmonic"), "vote_fading": ("none", "harmonic"),
    },
    "association_rules": {"decay": _DECAYS},
    "sequential_rules": {"steps": (1, 3, 10), "decay": _DECAYS},
    "matrix_factorization": {"regularisation": (0.01, 0.1), "confidence": (1, 10, 40)},
    "content": {"decay": _DECAYS},
}  # fmt: skip
# Of baskets, whose sessions are one step: what is together in a year, and histories of a year.
_WITHIN = ("session", "sequence")
DEMO_GRIDS: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "popular_recent": {"half_life_days": (30, 90)},
    "own_items_recent": {"half_life_days": (30, 60, 120)},
    "item_knn": {"within": _WITHIN, "regularisation": (20, 100), "decay": (0.8, 0.95)},
    "user_knn": {"neighbours": (100, 300), "regularisation": (10, 50)},
    "session_knn": {
        "within": _WITHIN, "neighbours": (100, 500), "fading": ("linear", "harmonic"),
    },
    "association_rules": {"within": _WITHIN, "decay": (0.8, 0.95)},
    "sequential_rules": {"within": ("sequence",), "decay": (0.8, 0.95)},
    "matrix_factorization": {"regularisation": (0.01, 0.1), "confidence": (1, 10)},
    "content": {"decay": (0.8, 0.95)},
}  # fmt: skip
# What changes nothing that is learnt from train.
_AT_SCORING: Mapping[str, Sequence[str]] = {
    "own_items_recent": ("half_life_days",),
    "user_knn": ("neighbours", "regularisation"),
    "session_knn": ("neighbours", "candidates", "fading", "vote_fading"),
    **dict.fromkeys(
        ("item_knn", "association_rules", "sequential_rules", "content"), ("decay",)
    ),
}  # fmt: skip


def tuned(
    evaluation: Evaluation, grids: Mapping[str, Mapping[str, Sequence[Any]]], metric: str, k: int,
    most_cases: int,
) -> Evaluate:  # fmt: skip
    """The settings with which each reference finds most of validation; prints all that are tried.

    Args:
        evaluation: learns from train alone; what a grid does not name stays as it has it
        grids: of the references to tune
        metric: that decides
        k: at this list length
        most_cases: of validation, the same for all that is tried
    """
    settings = evaluation.config.evaluate
    train = whole(evaluation.splits(("train",))).cache()
    training = evaluation.training(train)
    for name, grid in grids.items():
        tried = [
            dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())
        ]
        systems = _fitted(training, name, tried)
        found = _found(evaluation, systems, metric, k, most_cases)
        for values, system in sorted(
            zip(tried, systems, strict=True), key=lambda own: -found[own[1].name]
        ):
            print(f"{name}: {metric}@{k} {found[system.name]:.4f} {values}", flush=True)
        best = max(range(len(tried)), key=lambda place: found[systems[place].name])
        own = dataclasses.replace(getattr(settings, name), **tried[best])
        settings = dataclasses.replace(settings, **{name: own})
    train.unpersist()
    return settings


def _fitted(training: Training, name: str, tried: Sequence[Values]) -> list[System]:
    """A system for each of the combinations, named by its place; what train teaches is shared."""
    at_scoring = _AT_SCORING.get(name, ())
    fits: dict[str, System] = {}
    systems = []
    for place, values in enumerate(tried):
        learnt = {key: value for key, value in values.items() if key not in at_scoring}
        if str(learnt) not in fits:
            own = dataclasses.replace(getattr(training.settings, name), **learnt)
            settings = dataclasses.replace(training.settings, **{name: own})
            (fits[str(learnt)],) = references.fit(
                (name,), dataclasses.replace(training, settings=settings)
            )
        scoring = {key: value for key, value in values.items() if key in at_scoring}
        systems.append(dataclasses.replace(fits[str(learnt)], name=str(place), **scoring))  # type: ignore[type-var]
    return systems


def _found(
    evaluation: Evaluation, systems: Sequence[System], metric: str, k: int, most_cases: int
) -> dict[str, float]:
    share = min(1.0, most_cases / evaluation.dataset.splits["valid"].steps)
    cases = evaluation.cases("valid", list(systems), k, share)
    measuring = aggregate.Measuring(figures.known(evaluation.catalogue), ((metric, k),))
    estimates = aggregate.estimates(cases, measuring)
    return {key[0]: float(estimate.values[0]) for key, estimate in estimates.items()}
