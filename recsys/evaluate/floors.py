"""The gate: which of the configured floors the report misses."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recsys.config import Evaluate
from recsys.config.floors import VALUES, Floor, parse, require_known
from recsys.errors import ConfigError


@dataclass(frozen=True)
class Measurable:
    """What a report can have, as far as that is known before its cases are.

    Args:
        metrics: of lists
        values: of the slices that the data name; none where a slice is not made
        new_users: whether users are sliced
        purchases: whether a purchase head is measured
    """

    metrics: Collection[str]
    values: Mapping[str, Sequence[str]]
    new_users: bool
    purchases: bool


# A difference of two figures that should be exactly at its floor may fall short by so much.
_ROUNDING = 1e-12


def check(settings: Evaluate, can: Measurable) -> None:
    """Makes sure, before anything is ranked, that the report can have what floors ask for.

    Args:
        settings: with the floors
        can: what it can have

    Raises:
        ConfigError: it cannot; names the key, and what it can have
    """
    for name in settings.floors:
        floor, key = parse(name, settings.at, settings.references), f"evaluate.floors.{name}"
        if floor.of_purchase:
            if not can.purchases:
                raise ConfigError(
                    f"{key}: expected a model with a purchase head (train.purchase_weight) and "
                    "labels in split test, found none"
                )
            continue
        metric = floor.figure.split("@")[0]
        require_known(metric, can.metrics, key, "a metric that model and items allow")
        if floor.slice is None:
            continue
        part, value = floor.slice
        if part not in VALUES:
            require_known(value, can.values[part], key, f"a value of the slice {part}")
        elif part == "users" and not can.new_users:
            raise ConfigError(f"{key}: expected a dataset that is split by time, found another")


def missed(figures: dict[str, Any], settings: Evaluate) -> list[str]:
    """One line for each floor that is missed, with what was expected and found.

    Args:
        figures: the content of metrics.json
        settings: with the floors
    """
    lines = []
    for name, bound in settings.floors.items():
        floor = parse(name, settings.at, settings.references)
        found = _found(figures, floor)
        expected = f"evaluate.floors.{name}: expected at {_side(floor)} {bound:g}"
        if found is None:
            lines.append(f"{expected}, found none{_there(figures['slices'], floor)}")
        elif not _holds(found, bound, floor):
            lines.append(f"{expected}, found {found:.6g}")
    return lines


def _side(floor: Floor) -> str:
    return "most" if floor.is_ceiling else "least"


def _holds(found: float, bound: float, floor: Floor) -> bool:
    """Whether a figure keeps to its bound; nan keeps to none."""
    if floor.is_ceiling:
        return found <= bound + _ROUNDING
    return found >= bound - _ROUNDING


def _found(figures: dict[str, Any], floor: Floor) -> float | None:
    if floor.of_purchase:
        return _of_purchase(figures.get("purchase"), floor)
    part = figures if floor.slice is None else _slice(figures["slices"], *floor.slice)
    if part is None:
        return None
    found: float | None = part["systems"]["model"].get(floor.figure)
    if found is None or floor.over is None:
        return found
    return floor.lead(found, float(part["systems"][floor.over][floor.figure]))


def _of_purchase(head: dict[str, Any] | None, floor: Floor) -> float | None:
    if head is None:
        return None
    found: float | None = head["figures"].get(floor.figure)
    if found is None or floor.over is None:
        return found
    reference: float | None = head["references"][floor.over]["figures"].get(floor.figure)
    return None if reference is None else floor.lead(found, reference)


def _there(slices: Sequence[dict[str, Any]], floor: Floor) -> str:
    """What there is of a slice in place of what a floor asks for; nothing of other floors."""
    if floor.slice is None:
        return ""
    name, _ = floor.slice
    values = [part["value"] for part in slices if part["slice"] == name]
    return f"; the report has {', '.join(values) or 'no cases'} in {name}"


def _slice(slices: Sequence[dict[str, Any]], name: str, value: str) -> dict[str, Any] | None:
    own = [part for part in slices if (part["slice"], part["value"]) == (name, value)]
    return own[0] if own else None
