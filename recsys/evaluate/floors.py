"""The gate: which of the configured floors the report misses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recsys.config import Evaluate
from recsys.config.floors import Floor, parse

# A difference of two figures that should be exactly at its floor may fall short by so much.
_ROUNDING = 1e-12


def missed(figures: dict[str, Any], settings: Evaluate) -> list[str]:
    """One line for each floor that is missed, with what was expected and found.

    Args:
        figures: the content of metrics.json
        settings: with the floors
    """
    lines = []
    for name, least in settings.floors.items():
        floor = parse(name, settings.at, settings.references)
        found = _found(figures, floor)
        if found is None:
            lines.append(f"evaluate.floors.{name}: expected at least {least:g}, found none")
        elif not found >= least - _ROUNDING:  # nan reaches no floor
            lines.append(f"evaluate.floors.{name}: expected at least {least:g}, found {found:.6g}")
    return lines


def _found(figures: dict[str, Any], floor: Floor) -> float | None:
    if floor.of_purchase:
        return _of_purchase(figures.get("purchase"), floor)
    part = figures if floor.slice is None else _slice(figures["slices"], *floor.slice)
    if part is None:
        return None
    found: float | None = part["systems"]["model"].get(floor.figure)
    if found is None or floor.over is None:
        return found
    return found - float(part["systems"][floor.over][floor.figure])


def _of_purchase(head: dict[str, Any] | None, floor: Floor) -> float | None:
    if head is None:
        return None
    found: float | None = head["figures"].get(floor.figure)
    if found is None or floor.over is None:
        return found
    reference: float | None = head["references"][floor.over]["figures"].get(floor.figure)
    return None if reference is None else found - reference


def _slice(slices: Sequence[dict[str, Any]], name: str, value: str) -> dict[str, Any] | None:
    own = [part for part in slices if (part["slice"], part["value"]) == (name, value)]
    return own[0] if own else None
