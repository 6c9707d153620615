"""Lists under limits that use up the first candidates."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from recsys.config import Rules, Score
from recsys.encoding import Pairs
from recsys.schemas import FIRST_ITEM, SOURCES
from recsys.score.catalogue import Catalogue
from recsys.score.maker import ListMaker
from recsys.score.plan import Plan
from recsys.score.shelf import ExactShelf

ITEMS, LENGTH, EXPLORED = 300, 10, 2


def test_what_is_new_does_not_fill_places_of_what_is_further_down() -> None:
    """The best 200 items are of one kind, of which a list takes one."""
    index = np.arange(FIRST_ITEM, FIRST_ITEM + ITEMS, dtype=np.int32)
    kind_V = np.full(FIRST_ITEM + ITEMS, 2, np.int32)
    kind_V[FIRST_ITEM + 200 :] = np.arange(3, 103)
    count_V = np.full(FIRST_ITEM + ITEMS, 100)
    count_V[-20:] = 1
    rules = Rules(
        at_most={"kind": 1}, explore_share=EXPLORED / LENGTH, explore_max_train_count=1
    )  # fmt: skip
    catalogue = Catalogue(
        item_id=pa.array([f"item-{number}" for number in range(len(kind_V))]),
        train_count=count_V, allowed=index, values={"kind": kind_V}, value_names={"kind": {}},
    )  # fmt: skip
    plan = Plan(
        kind="home", export="", model_version="", inputs=(), catalogue=catalogue,
        score=Score(top_k=LENGTH, rules=rules), known_items=ITEMS, of_sessions=False,
        exclude_history=False,
    )  # fmt: skip
    vectors = np.linspace(2, 1, ITEMS, dtype=np.float32)[:, None]  # the first is the best

    def shelf(items: np.ndarray) -> ExactShelf:
        return ExactShelf(items, vectors[items - FIRST_ITEM], 4096, len(kind_V))

    maker = ListMaker(plan, shelf(index), shelf(index[-20:]), width=1)
    none = np.zeros(0, np.int32)
    lists = maker.make(np.ones((1, 1), np.float32), Pairs(none, none, np.zeros(0, np.float32)))
    sources = [SOURCES[number] for number in lists.source[0]]
    assert sources.count("exploration") == EXPLORED
    best = [2, *range(FIRST_ITEM + 200, FIRST_ITEM + 207)]
    assert sorted(lists.item[0]) == [*best, *index[-20:-18]]
