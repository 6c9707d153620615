from __future__ import annotations

import pytest

from recsys.evaluate import pictures, two, words
from recsys.evaluate.layout import AHEAD, BEHIND, CHANCE, verdict
from recsys.evaluate.summary import behind, summary


def figures(**recall: float) -> dict:
    systems = {name: {"recall@20": value} for name, value in recall.items()}
    return {
        "at": [5, 20], "cases": 1000, "users": 10, "measured_cases": 900, "measured_users": 9,
        "systems": systems,
    }  # fmt: skip


def test_the_summary_counts_what_is_measured() -> None:
    assert "on average over 900 cases of 9 users" in summary(figures(model=0.3))


@pytest.mark.parametrize(
    ("recall", "said"),
    [
        ({"model": 0.30, "own_items": 0.20}, "the model finds 50% more"),
        ({"model": 0.30, "own_items": 0.10, "popular": 0.1}, "the model finds 3.0 times as much"),
        ({"model": 0.15, "own_items": 0.20}, "the model finds 25% less"),
        ({"model": 0.2001, "own_items": 0.20}, "the model does no better and no worse"),
        ({"model": 0.20, "popular": 0.0}, "the model is ahead of nothing found at all"),
        ({"model": 0.20}, "It was compared with nothing"),
    ],
)
def test_the_summary_says_how_the_model_compares(recall: dict[str, float], said: str) -> None:
    assert said in summary(figures(**recall))


def test_the_summary_compares_with_the_strongest_reference() -> None:
    text = summary(figures(model=0.3, popular=0.1, own_items=0.2, own_items_recent=0.25))
    assert "The strongest reference (user's own items, recent first) finds 25.0%" in text
    assert "The most popular items alone would find 10.0%" in text


def test_the_summary_says_how_the_purchase_head_compares() -> None:
    rate = {"purchase_rate": {"figures": {"auc": 0.62}}}
    head = {"figures": {"auc": 0.75}, "references": rate}
    said = summary({**figures(model=0.3, popular=0.1), "purchase": head})
    assert said.endswith("in 75.0% of the pairs; the item's purchase rate does in 62.0%.")
    nobody = {**head, "figures": {"auc": None}}
    assert "pairs" not in summary({**figures(model=0.3), "purchase": nobody})


def test_every_system_has_a_colour_of_its_own() -> None:
    assert set(pictures.COLOURS) == {*words.SYSTEMS, two.FIRST, two.SECOND}
    assert len(set(pictures.COLOURS.values())) == len(pictures.COLOURS)


@pytest.mark.parametrize(
    ("low", "high", "p", "said"),
    [
        (0.01, 0.03, 0.005, AHEAD),
        (-0.03, -0.01, 0.005, BEHIND),
        (-0.01, 0.03, 0.4, CHANCE),
        (None, None, None, CHANCE),  # nothing was drawn again, or of too few users
    ],
)
def test_a_difference_is_sure_or_may_be_chance(
    low: float | None, high: float | None, p: float | None, said: str
) -> None:
    assert verdict({"difference": 0.02, "low": low, "high": high, "p": p}) == said


def test_slices_that_fall_behind_what_is_popular_are_named() -> None:
    def of(value: str, model: float, high: float) -> dict:
        apart = {"difference": model - 0.2, "low": model - 0.25, "high": high, "p": 0.1}
        recall = {"model": {"recall@20": model}, "popular": {"recall@20": 0.2}}
        differences = {"popular": {"recall@20": apart}}
        return {
            "slice": "users", "value": value, "cases": 7, "users": 5, "systems": recall,
            "differences": differences,
        }  # fmt: skip

    told = [of("ahead", 0.3, 0.15), of("behind", 0.1, -0.05), of("unsure", 0.19, 0.01)]
    lines = behind({"at": [5, 20], "slices": told})
    assert [line.split(": ")[1].split(",")[0] for line in lines] == ["behind", "unsure"]
    assert "7 cases of 5 users. 10.0% against 20.0%" in lines[0]
    assert ["it may be chance" in line for line in lines] == [False, True]
