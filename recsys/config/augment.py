"""How the sequences that training reads are changed anew in every epoch."""

from __future__ import annotations

from dataclasses import dataclass

from recsys.config.checks import require


@dataclass(frozen=True)
class Augment:
    """How the sequences that training reads are changed anew in every epoch.

    Args:
        rows: share of the sequences that are changed, each in one of the ways below that is not 0
        crop: share of a sequence's steps that are cut off at its start, at most
        mask: share of its items that become the unknown item
        reorder: share of its steps that change places with each other, all in one stretch
        drop: share of its events that are left out
    """

    rows: float = 0.5
    crop: float = 0.0
    mask: float = 0.0
    reorder: float = 0.0
    drop: float = 0.0

    def __post_init__(self) -> None:
        for key in ("crop", "mask", "drop"):
            value = getattr(self, key)
            require(0 <= value < 1, f"train.augment.{key}", "a share from 0 to below 1", value)
        for key in ("rows", "reorder"):
            value = getattr(self, key)
            require(0 <= value <= 1, f"train.augment.{key}", "a share from 0 to 1", value)

    @property
    def ways(self) -> tuple[str, ...]:
        """Those that are not 0."""
        names = ("crop", "mask", "reorder", "drop")
        return tuple(name for name in names if self.rows and getattr(self, name))
