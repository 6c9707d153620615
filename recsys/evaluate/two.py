"""The page that puts two reports side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from recsys import files, pages
from recsys.errors import DataError
from recsys.evaluate import layout, pictures, slice_figures, words
from recsys.evaluate.layout import AHEAD, BEHIND, CHANCE, interval, verdict

FIRST, SECOND = "first", "second"
_LABELS = {FIRST: "the first run's model", SECOND: "the second run's model"}
# Of every system, besides the model's own table.
_SHOWN = ("recall", "ndcg")
_SURE = {
    AHEAD: "the second is better",
    BEHIND: "the second is worse",
    CHANCE: "the difference may be chance",
}

Figures = Mapping[str, Any]
# Figure, as of resamples, to difference, and low, high and p where there are users enough.
Apart = Mapping[str, Mapping[str, float | None]]


@dataclass(frozen=True)
class Side:
    """One of the two.

    Args:
        url: of the report's version
        figures: the content of metrics.json
        settings: the resolved configuration, a dotted key each
    """

    url: str
    figures: Mapping[str, Any]
    settings: Mapping[str, Any]

    @property
    def version(self) -> str:
        """The id of the report's version."""
        return self.url.rsplit("/", 1)[-1]


def read(url: str) -> Side:
    """A report's version, from what it wrote.

    Raises:
        DataError: it is not whole
    """
    settings = yaml.safe_load(files.read_bytes(files.join(url, "config.yaml")))
    return Side(url, files.read_json(files.join(url, "metrics.json")), flat(settings))


def flat(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """A dotted key for each setting.

    >>> flat({"seed": 1, "train": {"epochs": 5}})
    {'seed': 1, 'train.epochs': 5}
    """
    found: dict[str, Any] = {}
    for name, value in settings.items():
        own = flat(value, f"{before}{name}.") if isinstance(value, Mapping) else None
        found |= own or {f"{before}{name}": value}
    return found


def lengths(first: Side, second: Side) -> list[int]:
    """The list lengths that both have, longest first.

    Raises:
        DataError: none
    """
    found = sorted({*first.figures["at"]} & {*second.figures["at"]}, reverse=True)
    if not found:
        raise DataError(
            f"{second.url}: expected a list length (evaluate.at) of {first.url}, "
            f"{first.figures['at']}, found {second.figures['at']}"
        )
    return found


def render(first: Side, second: Side, apart: Apart, untested: str | None) -> str:
    """The comparison as HTML.

    Args:
        first: the earlier run
        second: the later one
        apart: how far the second is ahead
        untested: why there is nothing of that
    """
    sides = first.figures, second.figures
    longest, *_ = at = lengths(first, second)
    return pages.render(
        "comparison.html",
        first=first,
        second=second,
        at=at,
        words=words,
        untested=untested,
        resamples=min(own.get("resamples", 0) for own in sides),
        summary=summary(*sides, apart, untested, longest),
        is_ahead=sides[1]["systems"]["model"][f"recall@{longest}"]
        >= sides[0]["systems"]["model"][f"recall@{longest}"],
        tables=[{"k": k, "rows": _rows(sides, apart, k)} for k in at],
        purchases=_purchases(sides, apart),
        systems=_systems(sides, longest),
        slices=_slices(sides, apart, longest),
        pictures=_curves(sides),
        changed=changed(first.settings, second.settings),
    )


def summary(first: Figures, second: Figures, apart: Apart, untested: str | None, k: int) -> str:
    """What a person wants to know first."""
    name = f"recall@{k}"
    before, after = (own["systems"]["model"][name] for own in (first, second))
    text = (
        f"Among {k} recommendations the second run's model finds {pages.percent(after)} of what a "
        f"user takes next, the first run's {pages.percent(before)}"
    )
    if untested is not None:
        return f"{text}. The difference is not tested: {untested}."
    return f"{text}: {_SURE[verdict(apart[name]) or CHANCE]} ({layout.p_value(apart[name])})."


def _rows(sides: tuple[Figures, ...], apart: Apart, k: int) -> list[dict[str, Any]]:
    """A row a metric of the model: both figures with their intervals, and the difference."""
    rows = []
    for metric, label in words.METRICS.items():
        name = f"{metric}@{k}"
        if any(name not in own["systems"]["model"] for own in sides):
            continue
        found = apart.get(name)
        values = [own["systems"]["model"][name] for own in sides]
        rows.append(
            {
                "label": label,
                "cells": [
                    {"value": pages.figure(value),
                     "interval": interval(own["intervals"]["model"].get(name))}
                    for value, own in zip(values, sides, strict=True)
                ],
                "apart": _apart(found, metric in words.QUALITY, values[1] - values[0]),
            }
        )  # fmt: skip
    return rows


def _apart(
    found: Mapping[str, float | None] | None, is_quality: bool, untested: float | None = None
) -> dict[str, str | None] | None:
    """A difference with its interval and p, and whether the second is better.

    Args:
        found: the tested difference
        is_quality: whether more is better
        untested: the difference, where it is known without a test
    """
    if found is None:
        nothing = dict.fromkeys(("interval", "p", "second_is"))
        return None if untested is None else {**nothing, "value": f"{untested:+.4f}"}
    second_is = verdict(found)
    return {
        "value": f"{found['difference']:+.4f}",
        "interval": interval((found["low"], found["high"])),
        "p": layout.p_value(found),
        "second_is": second_is if is_quality or second_is == CHANCE else None,
    }


def _purchases(sides: tuple[Figures, ...], apart: Apart) -> list[dict[str, Any]]:
    """A row a figure of the purchase heads, and the difference; none where neither has one."""
    heads = [own.get("purchase") for own in sides]
    if not any(heads):
        return []
    unknown = {"value": _figure(None), "interval": None}
    return [
        {
            "label": label,
            "cells": [unknown if own is None else layout.purchase(own, name) for own in heads],
            "apart": _of_purchase(name, apart.get(f"purchase {name}")),
        }
        for name, label in words.PURCHASE.items()
    ]


def _of_purchase(
    name: str, found: Mapping[str, float | None] | None
) -> dict[str, str | None] | None:
    shown = _apart(found, is_quality=True)
    return shown and {**shown, "second_is": layout.of_purchase(name, found)}


def _systems(sides: tuple[Figures, ...], k: int) -> list[dict[str, Any]]:
    """A row a system that either has: recall and NDCG of both."""
    known = [name for name in words.SYSTEMS if any(name in own["systems"] for own in sides)]
    return [
        {
            "system": name,
            "label": words.SYSTEMS[name],
            "cells": [
                _figure(own["systems"].get(name, {}).get(f"{metric}@{k}"))
                for metric in _SHOWN
                for own in sides
            ],
        }
        for name in known
    ]


def _figure(value: float | None) -> str:
    return "–" if value is None else pages.figure(value)


def _slices(sides: tuple[Figures, ...], apart: Apart, k: int) -> list[dict[str, Any]]:
    """The model's recall in the slices that both have, and the difference."""
    found = [
        {
            (part["slice"], part["value"]): part["systems"]["model"]
            for part in slice_figures.dividing(own["slices"])
        }
        for own in sides
    ]
    return [
        {
            "label": f"{words.SLICES[key[0]]}: {key[1]}",
            "cells": [pages.percent(own[key][f"recall@{k}"]) for own in found],
            "apart": _apart(apart.get(f"recall@{k} in {key[0]}={key[1]}"), is_quality=True),
        }
        for key in found[1]
        if key in found[0] and all(f"recall@{k}" in own[key] for own in found)
    ]


def _curves(sides: tuple[Figures, ...]) -> list[dict[str, str]]:
    """Recall and NDCG over the length of the list, as far as both have it."""
    common = sorted({*sides[0]["curves"]["k"]} & {*sides[1]["curves"]["k"]})
    drawn = []
    for metric in _SHOWN:
        series = {
            name: [dict(zip(own["curves"]["k"], own["curves"][metric]["model"], strict=True))[k]
                   for k in common]
            for name, own in zip((FIRST, SECOND), sides, strict=True)
        }  # fmt: skip
        label = words.METRICS[metric]
        picture = pictures.curves(common, series, _LABELS, label)
        caption = f"{label} over the length of the list."
        drawn.append({"address": pages.data_url(picture), "caption": caption})
    return drawn


def changed(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Key, first and second value of every setting that differs.

    >>> changed({"seed": 1, "at": [5]}, {"seed": 2, "at": [5]})
    [('seed', 1, 2)]
    """
    keys = dict.fromkeys((*first, *second))
    pairs = [(key, first.get(key, "–"), second.get(key, "–")) for key in keys]
    return [own for own in pairs if own[1] != own[2]]
