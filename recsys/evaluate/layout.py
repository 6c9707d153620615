"""The report's tables, ready to be laid out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from recsys import pages
from recsys.config.floors import LESS_IS_BETTER
from recsys.evaluate import slice_figures
from recsys.evaluate.words import METRICS, PURCHASE, PURCHASE_SYSTEMS, QUALITY, SLICES, SYSTEMS

# Beside the model's own: it is ahead, it is behind, or it may be chance.
AHEAD, BEHIND, CHANCE = "ahead", "behind", "chance"
# Of all that tells how good lists are, what is shown with its p.
TESTED = ("recall", "hit_rate", "mrr", "ndcg")


def of_systems(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """For each list length, from the longest on, a table of quality and one of all else.

    A cell is a value, its interval where it has one, whether it is the best of its column, and
    how the model compares.
    """
    found = []
    for k in sorted(figures["at"], reverse=True):
        names = [name for name in METRICS if f"{name}@{k}" in figures["systems"]["model"]]
        quality = [name for name in names if name in QUALITY]
        others = [name for name in names if name not in QUALITY]
        found.append(
            {"k": k, "quality": _table(figures, quality, k), "others": _table(figures, others, k)}
        )
    return found


def _table(figures: dict[str, Any], metrics: Sequence[str], k: int) -> dict[str, Any]:
    systems = figures["systems"]
    names = [f"{metric}@{k}" for metric in metrics]
    best = {
        name: max(own[name] for own in systems.values())
        for name in names
        if name.split("@")[0] in QUALITY
    }
    rows = [
        {
            "system": system,
            "label": SYSTEMS[system],
            "cells": [
                {
                    "value": pages.figure(own[name]),
                    "interval": interval(figures["intervals"].get(system, {}).get(name)),
                    "is_best": own[name] == best.get(name),
                    "model_is": verdict(figures["differences"].get(system, {}).get(name))
                    if name in best
                    else None,
                }
                for name in names
            ],
        }
        for system, own in systems.items()
    ]
    return {"heads": [METRICS[metric] for metric in metrics], "rows": rows}


def of_tests(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """How far the model, and the hybrid, are ahead of others at the longest list, and how surely.

    A table of each that is compared with any.
    """
    k = max(figures["at"])
    found = {"the model": figures["differences"], "the hybrid": figures["hybrid_differences"]}
    return [{"of": who, **_tests(apart, k)} for who, apart in found.items() if apart]


def of_steps(figures: dict[str, Any]) -> dict[str, Any]:
    """How far each system is ahead of the one before it, the strongest first, as of of_tests."""
    k = max(figures["at"])
    rows = [
        {
            "system": own["system"],
            "label": SYSTEMS[own["system"]],
            "over": SYSTEMS[own["over"]],
            "cells": _tested(own["differences"], k),
        }
        for own in reversed(figures["steps"])
    ]
    return {"heads": [METRICS[metric] for metric in TESTED], "rows": rows}


def _tests(differences: Mapping[str, Any], k: int) -> dict[str, Any]:
    rows = [
        {"label": SYSTEMS[system], "cells": _tested(own, k)} for system, own in differences.items()
    ]
    return {"heads": [METRICS[metric] for metric in TESTED], "rows": rows}


def _tested(apart: Mapping[str, Mapping[str, float | None]], k: int) -> list[dict[str, Any]]:
    return [
        {
            "value": f"{own['difference']:+.4f}",
            "interval": interval((own["low"], own["high"])),
            "p": p_value(own),
            "model_is": verdict(own),
        }
        for own in (apart[f"{metric}@{k}"] for metric in TESTED)
    ]


def interval(
    found: Sequence[float | None] | None, figure: Callable[[float], str] = pages.figure
) -> str | None:
    """From where to where, to be read; none where there is no interval."""
    low, high = found or (None, None)
    return None if low is None or high is None else f"{figure(low)} – {figure(high)}"


def verdict(found: Mapping[str, float | None] | None) -> str | None:
    """Whether a difference is AHEAD, BEHIND, or may be CHANCE; none without a difference.

    Without an interval, as where nothing is drawn again or there are too few users, it may be.
    """
    if found is None:
        return None
    low, high = found["low"], found["high"]
    if low is None or high is None:
        return CHANCE
    if low > 0:
        return AHEAD
    return BEHIND if high < 0 else CHANCE


def p_value(found: Mapping[str, float | None]) -> str:
    """To be read.

    >>> p_value({"p": 0.0049875})
    'p 0.005'
    >>> p_value({"p": None})
    'no p'
    """
    return "no p" if found["p"] is None else f"p {found['p']:.3f}"


def of_slices(figures: dict[str, Any], strongest: str | None) -> list[dict[str, Any]]:
    """Each slice with its values: cases, and recall of the model, popularity and the strongest."""
    name = f"recall@{max(figures['at'])}"
    shown = [
        system
        for system in dict.fromkeys(("model", "popular", strongest))
        if system is not None and system in figures["systems"]
    ]
    tables: dict[str, list[dict[str, Any]]] = {}
    for part in slice_figures.dividing(figures["slices"]):
        apart = {system: own[name] for system, own in part["differences"].items()}
        cells = [
            {
                "value": pages.percent(part["systems"][system][name]),
                "interval": interval(part["intervals"][system][name], pages.percent),
                "model_is": verdict(apart.get(system)),
            }
            for system in shown
        ]
        is_behind = "popular" in apart and apart["popular"]["difference"] < 0
        row = {key: part[key] for key in ("value", "cases", "users")} | {"cells": cells}
        tables.setdefault(part["slice"], []).append({**row, "is_behind": is_behind})
    return [
        {"slice": key, "label": SLICES[key], "rows": rows, "heads": [SYSTEMS[own] for own in shown]}
        for key, rows in tables.items()
    ]


def of_purchases(found: dict[str, Any]) -> dict[str, Any]:
    """A row for each figure of the purchase head and of its references, as of of_systems."""
    systems = {"model": found, **found["references"]}
    rows = [
        {
            "label": label,
            "cells": [
                {
                    **purchase(own, name),
                    "model_is": of_purchase(name, apart),
                    "p": p_value(apart) if apart and apart["p"] is not None else None,
                }
                for own in systems.values()
                for apart in (own.get("differences", {}).get(name),)
            ],
        }
        for name, label in PURCHASE.items()
    ]
    return {"heads": [PURCHASE_SYSTEMS[name] for name in systems], "rows": rows}


def purchase(found: Mapping[str, Any], name: str) -> dict[str, str | None]:
    """A figure of a purchase head or its reference, and its interval."""
    return {
        "value": _text(found["figures"][name]),
        "interval": interval(found["intervals"][name]),
    }


def of_purchase(name: str, apart: Mapping[str, float | None] | None) -> str | None:
    """The verdict on a figure; none where it is not known."""
    if apart is None or apart["difference"] is None:
        return None
    low, high = apart["low"], apart["high"]
    if name in LESS_IS_BETTER and low is not None and high is not None:
        low, high = -high, -low
    return verdict({"low": low, "high": high})


def _text(value: float | None) -> str:
    return "unknown" if value is None else pages.figure(value)
