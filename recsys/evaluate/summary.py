"""The report in words: whether the model is worth its training, and where it falls behind."""

from __future__ import annotations

from typing import Any

from recsys import pages
from recsys.evaluate import slice_figures, words
from recsys.evaluate.layout import BEHIND, CHANCE, verdict
from recsys.evaluate.words import SYSTEMS

# From this share of the better one on, two figures are called different.
_ALIKE = 0.005


def strongest(figures: dict[str, Any], name: str) -> str | None:
    """The reference that is best in a metric; a hybrid that has the model in it is none."""
    others = {"model", "hybrid"} if "model" in figures.get("blend", {}) else {"model"}
    references = {key: own[name] for key, own in figures["systems"].items() if key not in others}
    return max(references, key=lambda key: references[key]) if references else None


def is_ahead(figures: dict[str, Any]) -> bool:
    """Whether the model finds at least what the strongest reference finds."""
    name = f"recall@{max(figures['at'])}"
    best = strongest(figures, name)
    systems = figures["systems"]
    return best is None or systems["model"][name] >= systems[best][name]


def summary(figures: dict[str, Any]) -> str:
    """Whether the model is worth its training, in words."""
    k = max(figures["at"])
    name = f"recall@{k}"
    systems = figures["systems"]
    found = systems["model"][name]
    text = (
        f"Among {k} recommendations the model finds {pages.percent(found)} of what a user takes "
        f"next, on average over {pages.count(figures['measured_cases'])} cases of "
        f"{pages.count(figures['measured_users'])} users. "
    )
    best = strongest(figures, name)
    if best is None:
        return text + "It was compared with nothing." + _of_purchases(figures)
    text += (
        f"The strongest reference ({SYSTEMS[best]}) finds "
        f"{pages.percent(systems[best][name])}: {_against(found, systems[best][name])}"
        f"{_sure(figures, best, name)}."
    )
    if "popular" in systems and best != "popular":
        popular = systems["popular"][name]
        text += (
            f" The most popular items alone would find {pages.percent(popular)}: "
            f"{_against(found, popular)}."
        )
    return text + _of_purchases(figures)


def _of_purchases(figures: dict[str, Any]) -> str:
    """How well the purchase head tells what is bought, in words; nothing without one."""
    head = figures.get("purchase")
    if head is None or head["figures"]["auc"] is None:
        return ""
    rate = head["references"]["purchase_rate"]["figures"]["auc"]
    return (
        " Of an item that is bought and one that is not, it holds the first more likely in "
        f"{pages.percent(head['figures']['auc'])} of the pairs; the item's purchase rate does in "
        f"{pages.percent(rate)}."
    )


def _against(model: float, reference: float) -> str:
    if reference == 0:
        return "no reference" if model == 0 else "the model is ahead of nothing found at all"
    change = model / reference - 1
    if abs(change) < _ALIKE:
        return "the model does no better and no worse"
    if change >= 1:
        return f"the model finds {model / reference:.1f} times as much"
    return f"the model finds {abs(change):.0%} {'more' if change > 0 else 'less'}"


def _sure(figures: dict[str, Any], reference: str, name: str) -> str:
    """Whether the difference is more than chance, where it has an interval."""
    apart = figures.get("differences", {}).get(reference, {}).get(name)
    return ", which may be chance" if verdict(apart) == CHANCE else ""


def behind(figures: dict[str, Any]) -> list[str]:
    """The slices in which the model finds less than the most popular items would."""
    name = f"recall@{max(figures['at'])}"
    lines = []
    for part in slice_figures.dividing(figures["slices"]):
        apart = part["differences"].get("popular", {}).get(name)
        if apart is not None and apart["difference"] < 0:
            own, popular = part["systems"]["model"][name], part["systems"]["popular"][name]
            doubt = "" if verdict(apart) == BEHIND else "; it may be chance"
            lines.append(
                f"{words.SLICES[part['slice']]}: {part['value']}, {pages.count(part['cases'])} "
                f"cases of {pages.count(part['users'])} users. "
                f"{pages.percent(own)} against {pages.percent(popular)}{doubt}"
            )
    return lines
