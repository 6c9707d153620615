"""The references' own settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from recsys.config.checks import require, require_once

Within = Literal["session", "sequence"]
Fading = Literal["none", "linear", "quadratic", "harmonic"]

ReferenceName = Literal[
    "popular",
    "popular_recent",
    "in_session",
    "own_items",
    "own_items_recent",
    "recently_viewed",
    "category_best_sellers",
    "item_knn",
    "user_knn",
    "session_knn",
    "association_rules",
    "sequential_rules",
    "matrix_factorization",
    "content",
    "hybrid",
]


def _positive(section: str, settings: object, *keys: str) -> None:
    for key in keys:
        value = getattr(settings, key)
        require(value > 0, f"evaluate.{section}.{key}", "a positive number", value)


def _not_negative(section: str, settings: object, *keys: str) -> None:
    for key in keys:
        value = getattr(settings, key)
        require(value >= 0, f"evaluate.{section}.{key}", "a number from 0", value)


def _share(section: str, key: str, value: float) -> None:
    require(0 <= value <= 1, f"evaluate.{section}.{key}", "a share from 0 to 1", value)


@dataclass(frozen=True)
class PopularRecent:
    """What was bought most often of late.

    Args:
        half_life_days: before the latest event, after which an event counts half
    """

    half_life_days: float = 30

    def __post_init__(self) -> None:
        _positive("popular_recent", self, "half_life_days")


@dataclass(frozen=True)
class OwnItemsRecent:
    """The user's own items, recent ones first.

    Args:
        half_life_days: after which an event counts half
    """

    half_life_days: float = 60

    def __post_init__(self) -> None:
        _positive("own_items_recent", self, "half_life_days")


@dataclass(frozen=True)
class ItemKnn:
    """Items that are together with those of the history, by cosine.

    Args:
        within: items are together in a session, or in a whole sequence
        neighbours: of an item
        regularisation: added to the number of sessions of both items
        decay: an item n steps before the latest known one weighs decay ** n; 0 asks that step alone
    """

    within: Within = "session"
    neighbours: int = 100
    regularisation: float = 20
    decay: float = 0.0

    def __post_init__(self) -> None:
        _positive("item_knn", self, "neighbours")
        _not_negative("item_knn", self, "regularisation")
        _share("item_knn", "decay", self.decay)


@dataclass(frozen=True)
class UserKnn:
    """What users with the same items have, by cosine.

    Args:
        neighbours: users that recommend
        regularisation: added to the number of items of both users
        most_users: of train, those with the latest events; each worker holds 28 bytes of each, and
            8 of each item of it
    """

    neighbours: int = 100
    regularisation: float = 10
    most_users: int = 500_000

    def __post_init__(self) -> None:
        _positive("user_knn", self, "neighbours", "most_users")
        _not_negative("user_knn", self, "regularisation")


@dataclass(frozen=True)
class SessionKnn:
    """What past sessions hold that share items with the latest session (V-SkNN).

    Args:
        within: past sessions and the own are sessions, or whole sequences
        neighbours: sessions that recommend
        candidates: latest sessions with an item of the own that are compared; 0 compares all
        fading: how an item's weight falls from the end of the own session to its start
        vote_fading: the same of a neighbour's vote, by the latest item that it shares
        most_sessions: of train, the latest; each worker holds 28 bytes of each, and 8 of each item
            of it
    """

    within: Within = "session"
    neighbours: int = 200
    candidates: int = 1000
    fading: Fading = "linear"
    vote_fading: Fading = "none"
    most_sessions: int = 1_000_000

    def __post_init__(self) -> None:
        _positive("session_knn", self, "neighbours", "most_sessions")
        _not_negative("session_knn", self, "candidates")


@dataclass(frozen=True)
class AssociationRules:
    """Items that are often together with those of the history.

    Args:
        within: items are together in a session, or in a whole sequence
        neighbours: rules of an item
        decay: an item n steps before the latest known one weighs decay ** n; 0 asks that step alone
    """

    within: Within = "session"
    neighbours: int = 100
    decay: float = 0.0

    def __post_init__(self) -> None:
        _positive("association_rules", self, "neighbours")
        _share("association_rules", "decay", self.decay)


@dataclass(frozen=True)
class SequentialRules:
    """Items that often follow those of the history.

    Args:
        within: items follow in a session, or in a whole sequence
        neighbours: rules of an item
        steps: an item follows another at most so many steps later
        decay: an item n steps before the latest known one weighs decay ** n; 0 asks that step alone
    """

    within: Within = "session"
    neighbours: int = 100
    steps: int = 10
    decay: float = 0.0

    def __post_init__(self) -> None:
        _positive("sequential_rules", self, "neighbours", "steps")
        _share("sequential_rules", "decay", self.decay)


@dataclass(frozen=True)
class MatrixFactorization:
    """Factors of how often users have items (implicit feedback, Spark's ALS).

    Args:
        dimensions: of a vector
        iterations: of alternating least squares
        regularisation: of the vectors, for each of a user's or an item's entries
        confidence: that an item is liked grows by this with each event
    """

    dimensions: int = 64
    iterations: int = 10
    regularisation: float = 0.05
    confidence: float = 10

    def __post_init__(self) -> None:
        _positive("matrix_factorization", self, "dimensions", "iterations", "confidence")
        _not_negative("matrix_factorization", self, "regularisation")


@dataclass(frozen=True)
class Content:
    """Items with the attributes of the history's.

    Args:
        decay: an item n steps before the latest known one weighs decay ** n; 0 asks that step alone
    """

    decay: float = 0.8

    def __post_init__(self) -> None:
        _share("content", "decay", self.decay)


@dataclass(frozen=True)
class Hybrid:
    """Systems blended with weights that validation has taught.

    Args:
        systems: model, and any other references
        length: of the lists that are blended
        most_cases: of validation to learn the weights from
    """

    systems: tuple[str, ...] = ("model", "popular", "own_items_recent", "item_knn")
    length: int = 100
    most_cases: int = 5_000

    def __post_init__(self) -> None:
        _positive("hybrid", self, "length", "most_cases")
        require(len(self.systems) > 0, "evaluate.hybrid.systems", "a system or more", self.systems)
        require_once("evaluate.hybrid.systems", self.systems)
