"""Lists by definition, one user and one item at a time, to compare the job's with."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from recsys import files, saved_model
from recsys.schemas import FIRST_ITEM
from tests.score.worlds import World

INPUTS = ("item", "event_type", "gap_seconds", "session_start", "step")


def model_scores(world: World, rows: dict[str, np.ndarray] | None = None) -> np.ndarray:
    """What the model says of every item [B, V]."""
    rows = world.histories if rows is None else rows
    url = files.join(files.current(str(world.folder / "model"), ""), "export")
    return np.array(saved_model.load(url).scores({name: rows[name] for name in INPUTS}))


def item_vectors(world: World) -> np.ndarray:
    """The model's [V, D], without their bias."""
    url = files.join(files.current(str(world.folder / "model"), ""), "export")
    return np.array(saved_model.load(url).items())[:, :-1]


@dataclass
class Rules:
    """What is asked of a list.

    Args:
        k: its length
        allowed: items that it may hold
        left_out: items that it may not
        at_most: (values of each item [V, C], the most of a value)
        diversity: weight of similarity, over the pool of the best
        explored: items that have so many of the places
    """

    k: int
    allowed: set[int]
    left_out: set[int] = field(default_factory=set)
    at_most: list[tuple[np.ndarray, int]] = field(default_factory=list)
    diversity: float = 0.0
    pool: int = 0
    explored: set[int] = field(default_factory=set)
    explore_places: int = 0


def brute(score_V: np.ndarray, vector_VD: np.ndarray, rules: Rules) -> list[tuple[int, str]]:
    """The items of a list with their sources."""
    candidates = [item for item in sorted(rules.allowed) if item not in rules.left_out]
    candidates.sort(key=lambda item: -score_V[item])  # stable: lower items first
    rare = [item for item in candidates if item in rules.explored]
    if rules.diversity:
        candidates = (
            _diverse(candidates[: rules.pool], score_V, vector_VD, rules.diversity)
            + (candidates[rules.pool :])
        )
    taken: list[tuple[int, str]] = []

    def take(source: str, items: list[int], up_to: int) -> None:
        for item in items:
            chosen = [other for other, _ in taken]
            fits = all(
                sum(value in value_VC[other] for other in chosen) < most
                for value_VC, most in rules.at_most
                for value in value_VC[item]
                if value >= FIRST_ITEM
            )
            if len(taken) < up_to and item not in chosen and fits:
                taken.append((item, source))

    take("model", candidates, rules.k - rules.explore_places)
    take("exploration", rare, rules.k)
    take("model", candidates, rules.k)
    return taken


def _diverse(
    pool: list[int], score_V: np.ndarray, vector_VD: np.ndarray, weight: float
) -> list[int]:
    low, high = min(score_V[pool]), max(score_V[pool])
    chosen: list[int] = []
    while len(chosen) < len(pool):

        def value(item: int) -> float:
            relevance = (score_V[item] - low) / (high - low)
            nearest = max(
                (cosine(vector_VD[item], vector_VD[other]) for other in chosen), default=0
            )
            return float((1 - weight) * relevance - weight * nearest)

        chosen.append(max((item for item in pool if item not in chosen), key=value))
    return chosen


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
