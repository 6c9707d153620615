"""The report: one HTML file that a person reads."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from recsys import pages
from recsys.evaluate import exposure, layout, pictures, words
from recsys.evaluate.catalogue import Catalogue
from recsys.evaluate.summary import behind, is_ahead, strongest, summary
from recsys.evaluate.words import METRICS, SYSTEMS
from recsys.manifest import Manifest
from recsys.schemas import FIRST_ITEM, PADDING, SPLITS

_SPLIT_NAMES = {"train": "train", "valid": "validation", "test": "test"}

# Besides the model and what is simple, so many references are drawn as curves.
_CURVES = 4


def render(
    figures: dict[str, Any],
    manifest: Manifest,
    catalogue: Catalogue,
    epochs: Sequence[dict[str, float]],
    config: str,
    left_out: str,
) -> str:
    """The report as HTML.

    Args:
        figures: the content of metrics.json
        manifest: of the dataset
        catalogue: of the items
        epochs: the lines of the model's metrics.jsonl
        config: the resolved configuration, as YAML
        left_out: of lists: "latest", what the row holds of the history, "all" of it, or ""
    """
    return pages.render(
        "report.html",
        figures=figures,
        manifest=manifest,
        splits=SPLITS,
        words=words,
        summary=summary(figures),
        is_ahead=is_ahead(figures),
        behind=behind(figures),
        cards=_cards(figures),
        tables=layout.of_systems(figures),
        steps=layout.of_steps(figures),
        tests=layout.of_tests(figures),
        slices=layout.of_slices(figures, strongest(figures, f"recall@{max(figures['at'])}")),
        pictures=_pictures(figures, epochs),
        purchase=_purchase(figures.get("purchase")),
        story=_story(figures["story"]),
        examples=_examples(figures["examples"], catalogue, manifest.event_types),
        left_out=left_out,
        learnt_from=" and ".join(_SPLIT_NAMES[name] for name in figures["learnt_from"]),
        exposure_resamples=exposure.MOST_RESAMPLES,
        config=config,
    )


def _cards(figures: dict[str, Any]) -> list[dict[str, str]]:
    k = max(figures["at"])
    cards = []
    for metric in ("recall", "ndcg", "mrr", "hit_rate"):
        name = f"{metric}@{k}"
        best = strongest(figures, name)
        against = "no reference"
        if best is not None:
            value = figures["systems"][best][name]
            against = f"{pages.figure(value)} {SYSTEMS[best]}"
        cards.append(
            {
                "metric": f"{METRICS[metric]}@{k}",
                "value": pages.figure(figures["systems"]["model"][name]),
                "interval": layout.interval(figures["intervals"]["model"][name]) or "no interval",
                "against": against,
            }
        )
    return cards


def _pictures(figures: dict[str, Any], epochs: Sequence[dict[str, float]]) -> list[dict[str, str]]:
    k = max(figures["at"])
    systems, spread = figures["systems"], figures["frequency"]
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
        "rank by events of train.": pictures.shares(spread["bands"], spread["shares"], SYSTEMS),
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
    """The model, what is popular, and the references that find most: more lines hide each other."""
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
    return {**story, "pictures": _as_pictures(drawn)}


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
                        "reasons": list(
                            dict.fromkeys(
                                catalogue.title(reason) for reason in reasons if reason != PADDING
                            )
                        ),
                        "is_target": item in own["targets"],
                    }
                    for item, reasons in listed
                    if item != PADDING
                ],
            }
        )
    return shown


def _day(seconds: int) -> str:
    return str(datetime.datetime.fromtimestamp(seconds, datetime.UTC).date())
