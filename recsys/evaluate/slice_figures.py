"""The part of metrics.json that tells of slices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from recsys.config.floors import SLICE_METRICS, SLICES
from recsys.evaluate import bootstrap, slices
from recsys.evaluate.aggregate import Estimate, Estimates


def slice_figures(
    found: Estimates, users: Mapping[tuple[str, str], int], systems: Sequence[str], k: int
) -> list[dict[str, Any]]:
    """Each value of each slice: its cases, and every system's metrics.

    Args:
        found: the figures
        users: who have a case, by slice and value
        systems: the model first
        k: list length
    """
    values: dict[str, list[str]] = {}
    for _, name, value, *_ in sorted(found):
        if name != "all" and value not in values.setdefault(name, []):
            values[name].append(value)
    order = {name: slices.value_order(name) for name in values}
    listed = []
    for name in (name for name in SLICES if name in values):
        for value in sorted(values[name], key=order[name]):
            own = {
                system: {metric: found[system, name, value, metric, k] for metric in SLICE_METRICS}
                for system in systems
            }
            count = users[name, value]
            listed.append({"slice": name, "value": value, "users": count, **_of_part(own, k)})
    return listed


def dividing(listed: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of slices with several values: one that all cases share is the whole."""
    values = Counter(part["slice"] for part in listed)
    return [part for part in listed if values[part["slice"]] > 1]


def _of_part(own: Mapping[str, Mapping[str, Estimate]], k: int) -> dict[str, Any]:
    model, *others = own
    return {
        "cases": own[model]["recall"].cases,
        "systems": {
            system: {f"{metric}@{k}": float(estimate.values[0])
                     for metric, estimate in estimates.items()}
            for system, estimates in own.items()
        },
        "intervals": {
            system: {f"{metric}@{k}": bootstrap.interval(estimate.values)
                     for metric, estimate in estimates.items()}
            for system, estimates in own.items()
        },
        "differences": {
            system: {f"{metric}@{k}": bootstrap.difference(own[model][metric].values,
                                                     own[system][metric].values)
                     for metric in SLICE_METRICS}
            for system in others
        },
    }  # fmt: skip
