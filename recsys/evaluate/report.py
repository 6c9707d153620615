"""The report: one HTML file that a person reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recsys import pages
from recsys.evaluate import pictures
from recsys.evaluate.words import DESCRIPTIONS, METRICS, QUALITY
from recsys.evaluate.words import SYSTEMS as LABELS
from recsys.manifest import Manifest
from recsys.schemas import SPLITS

CURVES = {
    "recall": "What a longer list finds",
    "precision": "What a longer list costs",
    "ndcg": "How well a list is ordered",
}
# From this share of the better one on, two figures are called different.
_ALIKE = 0.005


def render(
    figures: dict[str, Any],
    manifest: Manifest,
    epochs: Sequence[dict[str, float]],
    config: str,
    exclude_history: bool,
) -> str:
    """The report as HTML.

    Args:
        figures: the content of metrics.json
        manifest: of the dataset
        epochs: the lines of the model's metrics.jsonl
        config: the resolved configuration, as YAML
        exclude_history: whether lists leave out what the history holds
    """
    systems = figures["systems"]
    return pages.render(
        "report.html",
        figures=figures,
        manifest=manifest,
        splits=SPLITS,
        systems=list(systems),
        labels=LABELS,
        descriptions=DESCRIPTIONS,
        metrics=METRICS,
        best=_best(systems),
        summary=summary(figures),
        is_ahead=_is_ahead(figures),
        cards=_cards(figures),
        pictures=_pictures(figures, epochs),
        exclude_history=exclude_history,
        config=config,
    )


def _best(systems: dict[str, dict[str, float]]) -> dict[str, float]:
    """The highest value of each metric that is the better the higher."""
    names = {name for own in systems.values() for name in own if name.split("@", 1)[0] in QUALITY}
    return {name: max(own[name] for own in systems.values()) for name in names}


def _strongest(figures: dict[str, Any], name: str) -> str | None:
    """The reference that is best in a metric."""
    references = {key: own[name] for key, own in figures["systems"].items() if key != "model"}
    return max(references, key=lambda key: references[key]) if references else None


def _is_ahead(figures: dict[str, Any]) -> bool:
    name = f"recall@{max(figures['at'])}"
    strongest = _strongest(figures, name)
    systems = figures["systems"]
    return strongest is None or systems["model"][name] >= systems[strongest][name]


def summary(figures: dict[str, Any]) -> str:
    """Whether the model is worth its training, in words."""
    k = max(figures["at"])
    name = f"recall@{k}"
    systems = figures["systems"]
    found = systems["model"][name]
    text = (
        f"Among {k} recommendations the model finds {pages.percent(found)} of what a user takes "
        f"next, on average over {pages.count(figures['cases'])} cases of "
        f"{pages.count(figures['users'])} users. "
    )
    strongest = _strongest(figures, name)
    if strongest is None:
        return text + "It was compared with nothing."
    text += (
        f"The strongest reference ({LABELS[strongest]}) finds "
        f"{pages.percent(systems[strongest][name])}: {_against(found, systems[strongest][name])}."
    )
    if "popular" in systems and strongest != "popular":
        popular = systems["popular"][name]
        text += (
            f" The most popular items alone would find {pages.percent(popular)}: "
            f"{_against(found, popular)}."
        )
    return text


def _against(model: float, reference: float) -> str:
    if reference == 0:
        return "no reference" if model == 0 else "the model is ahead of nothing found at all"
    change = model / reference - 1
    if abs(change) < _ALIKE:
        return "the model does no better and no worse"
    if change >= 1:
        return f"the model finds {model / reference:.1f} times as much"
    return f"the model finds {abs(change):.0%} {'more' if change > 0 else 'less'}"


def _cards(figures: dict[str, Any]) -> list[dict[str, str]]:
    k = max(figures["at"])
    cards = []
    for metric in ("recall", "ndcg", "mrr", "hit_rate"):
        name = f"{metric}@{k}"
        strongest = _strongest(figures, name)
        against = "no reference"
        if strongest is not None:
            value = figures["systems"][strongest][name]
            against = f"{pages.figure(value)} {LABELS[strongest]}"
        cards.append(
            {
                "metric": f"{METRICS[metric]}@{k}",
                "value": pages.figure(figures["systems"]["model"][name]),
                "against": against,
            }
        )
    return cards


def _pictures(figures: dict[str, Any], epochs: Sequence[dict[str, float]]) -> list[dict[str, str]]:
    k = max(figures["at"])
    systems, curves, spread = figures["systems"], figures["curves"], figures["popularity"]
    groups = ["recall", "ndcg", "mrr"]
    by_system = {name: [own[f"{group}@{k}"] for group in groups] for name, own in systems.items()}
    drawn = {
        f"Recall, NDCG and MRR of the first {k} recommendations.": pictures.bars(
            [f"{METRICS[group]}@{k}" for group in groups], by_system, LABELS, "mean over cases"
        ),
        f"Where the {k} recommendations come from, and what was bought: shares by the item's "
        "rank in popularity.": pictures.shares(spread["bands"], spread["shares"], LABELS),
    }
    for metric, caption in CURVES.items():
        drawn[f"{caption}: {METRICS[metric]} over its length."] = pictures.curves(
            curves["k"], curves[metric], LABELS, METRICS[metric]
        )
    if epochs:
        drawn["How the model learnt."] = pictures.learning(
            [int(epoch["epoch"]) for epoch in epochs],
            [epoch["loss"] for epoch in epochs],
            [epoch["recall@20"] for epoch in epochs],
        )
    return [
        {"address": pages.data_url(picture), "caption": caption}
        for caption, picture in drawn.items()
    ]
