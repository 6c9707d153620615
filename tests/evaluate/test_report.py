from __future__ import annotations

import pytest

from recsys.evaluate import pictures, two, words
from recsys.evaluate.summary import summary


def figures(**recall: float) -> dict:
    systems = {name: {"recall@20": value} for name, value in recall.items()}
    return {"at": [5, 20], "cases": 1000, "users": 10, "systems": systems}


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
