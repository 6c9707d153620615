"""The references' settings, chosen on validation: what is tried, and how it is compared."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from recsys.config import Evaluate
from recsys.config.references import ReferenceName
from recsys.evaluate import aggregate, figures, references
from recsys.evaluate.evaluation import Evaluation
from recsys.evaluate.references.system import System, Training

Values = Mapping[str, Any]
Grid = Mapping[str, Sequence[Any]]

_DECAYS = (0.0, 0.5, 0.8, 0.95, 1.0)
_OF_FACTORS = (
    {"confidence": (1, 3, 10, 40, 160, 640)},
    {"regularisation": (0.01, 0.03, 0.1, 0.3, 1.0)},
)
# Of each reference, grids that are tried in turn, each with what was best in those before: of a
# grid every combination. Where the first or last of a number's values is best, and it does not end
# there (_ENDS), a better one may lie beyond: this is printed. Half-lives of own_items_recent are
# not here: of sessions all from 0.01 to 120 days are alike, recall@20 0.2963 on YooChoose's valid.
GRIDS: Mapping[ReferenceName, Sequence[Grid]] = {
    "popular_recent": ({"half_life_days": (1, 3, 7, 30, 90)},),
    "item_knn": ({"regularisation": (0, 20, 100, 500, 2500), "decay": _DECAYS},),
    "user_knn": ({"neighbours": (30, 100, 300, 1000), "regularisation": (0, 1, 10, 50)},),
    "session_knn": (
        {"fading": ("none", "linear", "quadratic", "harmonic"),
         "vote_fading": ("none", "linear", "harmonic")},
        {"neighbours": (25, 50, 100, 200, 500), "candidates": (1000, 5000, 20_000, 0)},
    ),
    "association_rules": ({"decay": _DECAYS},),
    "sequential_rules": ({"steps": (1, 3, 10, 30), "decay": _DECAYS},),
    "matrix_factorization": _OF_FACTORS,
    "content": ({"decay": (0.0, 0.5, 0.8, 0.9, 0.95, 1.0)},),
}  # fmt: skip
# Of baskets, whose sessions are one step: what is together in a year, and histories of a year.
_WITHIN = ("session", "sequence")
DEMO_GRIDS: Mapping[ReferenceName, Sequence[Grid]] = {
    "popular_recent": ({"half_life_days": (7, 30, 90, 365)},),
    "own_items_recent": ({"half_life_days": (15, 30, 60, 120, 240)},),
    "item_knn": (
        {"within": _WITHIN, "decay": _DECAYS},
        {"regularisation": (0, 5, 20, 100, 500)},
    ),
    "user_knn": ({"neighbours": (30, 100, 300, 1000), "regularisation": (0, 10, 50)},),
    "session_knn": (
        {"within": _WITHIN, "fading": ("none", "linear", "harmonic"),
         "vote_fading": ("none", "harmonic")},
        {"neighbours": (25, 100, 300, 1000), "candidates": (300, 1000, 0)},
    ),
    "association_rules": ({"within": _WITHIN, "decay": _DECAYS},),
    "sequential_rules": (
        {"within": ("sequence",), "steps": (1, 3, 10, 30), "decay": _DECAYS},
    ),
    "matrix_factorization": _OF_FACTORS,
    "content": ({"decay": _DECAYS},),
}  # fmt: skip
# Values that nothing lies beyond: best there is not best at the edge of what happened to be tried.
_ENDS: Mapping[str, Sequence[float]] = {
    "decay": (0, 1), "regularisation": (0,), "candidates": (0,), "steps": (1,),
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
    evaluation: Evaluation, grids: Mapping[ReferenceName, Sequence[Grid]], metric: str, k: int,
    most_cases: int,
) -> Evaluate:  # fmt: skip
    """The settings with which each reference finds most of validation; prints all that are tried.

    Args:
        evaluation: learns from train alone; what a grid does not name stays as it has it
        grids: of the references to tune, tried in turn
        metric: that decides
        k: at this list length
        most_cases: of validation, as of evaluate.drawn; the same for all that is tried
    """
    settings = evaluation.config.evaluate
    train = evaluation.histories(("train",)).cache()
    training = evaluation.training(train)
    for name, turns in grids.items():
        for grid in turns:
            tried = [
                dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())
            ]
            systems = _fitted(dataclasses.replace(training, settings=settings), name, tried)
            by_system = _found(evaluation, systems, metric, k, most_cases)
            found = [by_system[system.name] for system in systems]
            for place in sorted(range(len(tried)), key=lambda place: -found[place]):
                print(f"{name}: {metric}@{k} {found[place]:.4f} {tried[place]}", flush=True)
            best = tried[found.index(max(found))]
            own = dataclasses.replace(getattr(settings, name), **best)
            settings = dataclasses.replace(settings, **{name: own})
            for key in at_edge(grid, best):
                print(f"{name}: {key} is best at the edge of {grid[key]}", flush=True)
    train.unpersist()
    return settings


def at_edge(grid: Grid, best: Values) -> list[str]:
    """The numbers beyond whose best value a better one may lie, as nothing there was tried."""
    return [
        key
        for key, values in grid.items()
        if len(values) > 1
        and not isinstance(best[key], str)
        and best[key] in (values[0], values[-1])
        and best[key] not in _ENDS.get(key, ())
    ]


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
    cases = evaluation.cases("valid", list(systems), k, most_cases)
    measuring = aggregate.Measuring(figures.known(evaluation.catalogue), ((metric, k),))
    estimates = aggregate.estimates(cases, measuring)
    return {key[0]: float(estimate.values[0]) for key, estimate in estimates.items()}
