"""The report: one HTML file that a person reads."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from recsys import pages
from recsys.evaluate import layout, pictures, words
from recsys.evaluate.catalogue import Catalogue
from recsys.evaluate.words import METRICS, SYSTEMS
from recsys.manifest import Manifest
from recsys.schemas import FIRST_ITEM, PADDING, SPLITS

# Besides the model and what is simple, so many references are drawn as curves.
_CURVES = 4
# From this share of the better one on, two figures are called different.
_ALIKE = 0.005


def render(
    figures: dict[str, Any],
    manifest: Manifest,
    catalogue: Catalogue,
    epochs: Sequence[dict[str, float]],
    config: str,
    exclude_history: bool,
) -> str:
    """The report as HTML.

    Args:
        figures: the content of metrics.json
        manifest: of the dataset
        catalogue: of the items
        epochs: the lines of the model's metrics.jsonl
        config: the resolved configuration, as YAML
        exclude_history: whether lists leave out what the history holds
    """
    return pages.render(
        "report.html",
        figures=figures,
        manifest=manifest,
        splits=SPLITS,
        words=words,
        summary=summary(figures),
        is_ahead=_is_ahead(figures),
        behind=behind(figures),
        cards=_cards(figures),
        tables=layout.of_systems(figures),
        slices=layout.of_slices(figures, _strongest(figures, f"recall@{max(figures['at'])}")),
        pictures=_pictures(figures, epochs),
        purchase=_purchase(figures.get("purchase")),
        story=_story(figures["story"]),
        examples=_examples(figures["examples"], catalogue, manifest.event_types),
        exclude_history=exclude_history,
        config=config,
    )


def _strongest(figures: dict[str, Any], name: str) -> str | None:
    """The reference that is best in a metric; the hybrid, which has the model in it, is none."""
    references = {
        key: own[name] for key, own in figures["systems"].items() if key not in ("model", "hybrid")
    }
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
        f"The strongest reference ({SYSTEMS[strongest]}) finds "
        f"{pages.percent(systems[strongest][name])}: {_against(found, systems[strongest][name])}"
        f"{_sure(figures, strongest, name)}."
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


def _sure(figures: dict[str, Any], reference: str, name: str) -> str:
    """Whether the difference is more than chance, where it has an interval."""
    apart = figures.get("differences", {}).get(reference, {}).get(name)
    if apart is None or apart["low"] > 0 or apart["high"] < 0:
        return ""
    return ", which may be chance"


def behind(figures: dict[str, Any]) -> list[str]:
    """The slices in which the model finds less than the most popular items would."""
    name = f"recall@{max(figures['at'])}"
    lines = []
    for part in figures["slices"]:
        apart = part["differences"].get("popular", {}).get(name)
        if apart is not None and apart["difference"] < 0:
            own, popular = part["systems"]["model"][name], part["systems"]["popular"][name]
            doubt = "" if apart["high"] < 0 else "; it may be chance"
            lines.append(
                f"{words.SLICES[part['slice']]}: {part['value']}, {pages.count(part['cases'])} "
                f"cases. {pages.percent(own)} against {pages.percent(popular)}{doubt}"
            )
    return lines


def _cards(figures: dict[str, Any]) -> list[dict[str, str]]:
    k = max(figures["at"])
    cards = []
    for metric in ("recall", "ndcg", "mrr", "hit_rate"):
        name = f"{metric}@{k}"
        strongest = _strongest(figures, name)
        against = "no reference"
        if strongest is not None:
            value = figures["systems"][strongest][name]
            against = f"{pages.figure(value)} {SYSTEMS[strongest]}"
        low, high = figures["intervals"]["model"][name]
        cards.append(
            {
                "metric": f"{METRICS[metric]}@{k}",
                "value": pages.figure(figures["systems"]["model"][name]),
                "interval": f"{pages.figure(low)} to {pages.figure(high)}",
                "against": against,
            }
        )
    return cards


def _pictures(figures: dict[str, Any], epochs: Sequence[dict[str, float]]) -> list[dict[str, str]]:
    k = max(figures["at"])
    systems, spread = figures["systems"], figures["popularity"]
    recall, ndcg, coverage = (
        {name: own[f"{metric}@{k}"] for name, own in systems.items()}
        for metric in ("recall", "ndcg", "coverage")
    )
    ranges = {name: own[f"recall@{k}"] for name, own in figures["intervals"].items()}
    drawn = {
        f"Recall of the first {k} recommendations, with 95 % intervals.": pictures.intervals(
            recall, ranges, SYSTEMS, f"Recall@{k}"
        ),
        f"Quality against coverage: what is found, and how much of the catalogue is shown, in {k} "
        "recommendations.": pictures.against(coverage, ndcg, SYSTEMS, f"Coverage@{k}", f"NDCG@{k}"),
        f"Where the {k} recommendations come from, and what was bought: shares by the item's "
        "rank in popularity.": pictures.shares(spread["bands"], spread["shares"], SYSTEMS),
    }
    captions = {
        "recall": "What a longer list finds",
        "precision": "What a longer list costs",
        "ndcg": "How well a list is ordered",
    }
    chosen = _drawn(recall)
    for metric, caption in captions.items():
        own = {name: figures["curves"][metric][name] for name in chosen}
        drawn[f"{caption}: {METRICS[metric]} over its length."] = pictures.curves(
            figures["curves"]["k"], own, SYSTEMS, METRICS[metric]
        )
    if epochs:
        drawn["How the model learnt."] = pictures.learning(
            [int(epoch["epoch"]) for epoch in epochs],
            [epoch["loss"] for epoch in epochs],
            [epoch["recall@20"] for epoch in epochs],
        )
    return _as_pictures(drawn)


def _drawn(recall: Mapping[str, float]) -> list[str]:
    """The model, popularity, and the references that find most: more lines hide each other."""
    others = [name for name in recall if name not in ("model", "popular")]
    best = sorted(others, key=lambda name: -recall[name])[:_CURVES]
    return [name for name in recall if name in ("model", "popular", *best)]


def _as_pictures(drawn: Mapping[str, bytes]) -> list[dict[str, str]]:
    return [
        {"address": pages.data_url(picture), "caption": caption}
        for caption, picture in drawn.items()
    ]


def _purchase(found: dict[str, Any] | None) -> dict[str, Any] | None:
    """The purchase head's figures as texts, and the picture of its calibration."""
    if found is None:
        return None
    caption = (
        "How often what the model predicts comes true: targets in ten groups by their probability, "
        "with 95 % intervals."
    )
    drawn = _as_pictures({caption: pictures.calibration(found["calibration"])})
    return {"table": layout.of_purchases(found), "pictures": drawn, "found": found}


def _story(story: dict[str, Any]) -> dict[str, Any]:
    each = "a day" if story["days_each"] == 1 else "a week"
    days, sessions = story["days"], story["sessions"]
    drawn = {
        f"Events {each}.": pictures.counts(list(days), list(days.values()), "", f"events {each}"),
        "Lengths of sessions.": pictures.counts(
            list(sessions), list(sessions.values()), "events of a session", "sessions"
        ),
    }
    return {"pictures": _as_pictures(drawn), "funnel": story["funnel"], "users": story["users"]}


def _examples(
    examples: Sequence[dict[str, Any]], catalogue: Catalogue, event_types: Sequence[str]
) -> list[dict[str, Any]]:
    """With the names of items, events and days in place of their numbers."""
    types = dict(enumerate(event_types, FIRST_ITEM))
    shown = []
    for own in examples:
        history = zip(own["history"], own["history_types"], own["history_times"], strict=True)
        listed = zip(own["recommended"], own["reasons"], strict=True)
        shown.append(
            {
                "user": own["user_id"],
                "when": _day(own["timestamp"]),
                "events": own["events"],
                "history": [
                    {"item": catalogue.title(item), "kind": types.get(kind, ""), "when": _day(when)}
                    for item, kind, when in reversed(list(history))
                ],
                "targets": [catalogue.title(item) for item in own["targets"]],
                "recommended": [
                    {
                        "item": catalogue.title(item),
                        "reason": "" if reason == PADDING else catalogue.title(reason),
                        "is_target": item in own["targets"],
                    }
                    for item, reason in listed
                    if item != PADDING
                ],
            }
        )
    return shown


def _day(seconds: int) -> str:
    return str(datetime.datetime.fromtimestamp(seconds, datetime.UTC).date())
