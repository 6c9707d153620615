"""References: methods that cost little, which a model must beat to be worth its training."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from recsys.errors import ConfigError
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
    """The named references, ready to score."""
    return [FITS[name](training) for name in names if name in FITS]


def check(
    names: Collection[str], *, has_category: bool, is_described: bool, is_refit: bool
) -> None:
    """Makes sure that there is what the named references need.

    Args:
        names: of references
        has_category: whether an attribute tells kinds of items apart
        is_described: whether anything is declared of the items
        is_refit: whether they are fitted on validation too

    Raises:
        ConfigError: there is not; names the reference and what it needs
    """
    if "category_best_sellers" in names and not has_category:
        raise ConfigError(
            "evaluate.references: category_best_sellers needs an attribute of the items of kind "
            "category (items.attributes), found none"
        )
    if "content" in names and not is_described:
        raise ConfigError(
            "evaluate.references: content needs attributes of the items (items.attributes), found "
            "none"
        )
    if "hybrid" in names and is_refit:
        raise ConfigError(
            "evaluate.references: expected no hybrid, whose weights validation decides, with a "
            "model that was fitted to validation (train.refit), found hybrid"
        )
