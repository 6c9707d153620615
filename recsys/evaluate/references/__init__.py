"""References: methods that cost little, which a model must beat to be worth its training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from recsys.evaluate.references import (
    content,
    factors,
    neighbours,
    pairs,
    popularity,
    rules,
)
from recsys.evaluate.references.system import System, Training

# Each is fitted on train; the hybrid, which needs the others' lists, stands in hybrid.py.
FITS: Mapping[str, Callable[[Training], System]] = {
    "popular": popularity.popular,
    "popular_recent": popularity.popular_recent,
    "in_session": popularity.in_session,
    "own_items": popularity.own_items,
    "own_items_recent": popularity.own_items_recent,
    "recently_viewed": rules.recently_viewed,
    "category_best_sellers": rules.category_best_sellers,
    "item_knn": pairs.item_knn,
    "user_knn": neighbours.user_knn,
    "session_knn": neighbours.session_knn,
    "association_rules": pairs.association_rules,
    "sequential_rules": pairs.sequential_rules,
    "matrix_factorization": factors.matrix_factorization,
    "content": content.content,
}


def fit(names: Sequence[str], training: Training) -> list[System]:
    """The named references, ready to score.

    Raises:
        ConfigError: one needs attributes of the items, and there are none
    """
    return [FITS[name](training) for name in names if name in FITS]
