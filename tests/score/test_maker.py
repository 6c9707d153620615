"""Lists under limits that use up the first candidates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from recsys.config import Rules, Score
from recsys.encoding import Pairs
from recsys.schemas import FIRST_ITEM, SOURCES, UNKNOWN
from recsys.score.catalogue import Catalogue
from recsys.score.limits import most_possible
from recsys.score.maker import ListMaker
from recsys.score.plan import EVERYBODY, Plan, Popular
from recsys.score.shelf import ExactShelf
from tests.score import brute

ITEMS, LENGTH, EXPLORED = 300, 10, 2
USERS, WIDTH = 5, 3
NAMES = pa.array([f"user-{number}" for number in range(10_000)])
ALL = np.arange(FIRST_ITEM, FIRST_ITEM + ITEMS, dtype=np.int32)


def plan_of(values: dict[str, np.ndarray], count_V: np.ndarray, rules: Rules) -> Plan:
    catalogue = Catalogue(
        item_id=pa.array([f"item-{number}" for number in range(len(count_V))]),
        train_count=count_V, allowed=ALL, values=values,
    )  # fmt: skip
    return Plan(
        kind="home", export="", encoder="", model_version="", inputs=(), catalogue=catalogue,
        score=Score(top_k=LENGTH, rules=rules), known_items=ITEMS, of_sessions=False,
        exclude_history=False, bias=np.zeros(len(count_V), np.float32),
    )  # fmt: skip


def shelf_of(items: np.ndarray, vectors_NW: np.ndarray) -> ExactShelf:
    return ExactShelf(items, vectors_NW[items - FIRST_ITEM], 4096, FIRST_ITEM + ITEMS)


def test_what_is_new_does_not_fill_places_of_what_is_further_down() -> None:
    """The best 200 items are of one kind, of which a list takes one."""
    kind_V = np.full(FIRST_ITEM + ITEMS, 2, np.int32)
    kind_V[FIRST_ITEM + 200 :] = np.arange(3, 103)
    count_V = np.full(FIRST_ITEM + ITEMS, 100)
    count_V[-20:] = 1
    rules = Rules(
        at_most={"kind": 1}, explore_share=EXPLORED / LENGTH, explore_max_train_count=1
    )  # fmt: skip
    plan = plan_of({"kind": kind_V[:, None]}, count_V, rules)
    vectors = np.linspace(2, 1, ITEMS, dtype=np.float32)[:, None]  # the first is the best
    maker = ListMaker(plan, shelf_of(ALL, vectors), shelf_of(ALL[-20:], vectors), width=1)
    none = np.zeros(0, np.int32)
    pairs = Pairs(none, none, np.zeros(0, np.float32))
    lists = maker.make(np.ones((1, 1), np.float32), pairs, plan.explore_places(NAMES[:1], 1))
    sources = [SOURCES[number] for number in lists.source[0]]
    assert sources.count("exploration") == EXPLORED
    best = [2, *range(FIRST_ITEM + 200, FIRST_ITEM + 207)]
    assert sorted(lists.item[0]) == [*best, *ALL[-20:-18]]


@pytest.mark.parametrize("share", [0.02, 0.25, 0.5])
def test_a_share_that_is_no_whole_place_holds_over_all_users(share: float) -> None:
    plan = plan_of({}, np.ones(FIRST_ITEM + ITEMS, np.int64), Rules(explore_share=share))
    places = plan.explore_places(NAMES, len(NAMES) + 7)
    assert set(places) <= {int(share * LENGTH), int(share * LENGTH) + 1, 0}
    assert places[: len(NAMES)].mean() == pytest.approx(share * LENGTH, abs=0.02)
    np.testing.assert_array_equal(plan.explore_places(NAMES[100:], len(NAMES))[:9], places[100:109])
    others = replace(plan, model_version="of the next day").explore_places(NAMES, len(NAMES))
    assert (others != places[: len(NAMES)]).any() == (share * LENGTH % 1 > 0)


def drawn(rng: np.random.Generator, values: int, of_item: int = 1) -> np.ndarray:
    """Up to so many values of each item, some of them unknown."""
    value_VC = np.zeros((FIRST_ITEM + ITEMS, of_item), np.int32)
    for value_C in value_VC:
        own = rng.permutation(values)[: rng.integers(1, of_item + 1)] + FIRST_ITEM
        value_C[: len(own)] = own
    value_VC[rng.random(len(value_VC)) < 0.01] = UNKNOWN
    return value_VC


@pytest.mark.parametrize("of_item", [1, 3])
@pytest.mark.parametrize("most", [{"colour": 2, "brand": 3}, {"colour": 1, "brand": 1}])
def test_two_limits_on_random_items(most: dict[str, int], of_item: int) -> None:
    """Of many lists the second limits leave less than either of them alone would."""
    sizes = set()
    for seed in range(4):
        rng = np.random.default_rng(seed)
        values = {"colour": drawn(rng, 6, of_item), "brand": drawn(rng, 4)}
        plan = plan_of(values, np.ones(FIRST_ITEM + ITEMS, np.int64), Rules(at_most=most))
        vectors = rng.integers(-3, 4, size=(ITEMS, WIDTH)).astype(np.float32)
        users = rng.integers(-3, 4, size=(USERS, WIDTH)).astype(np.float32)
        row, item = rng.integers(USERS, size=400), rng.integers(2, ITEMS + 2, size=400)
        never = np.full(400, -np.inf, np.float32)
        pairs = Pairs(row.astype(np.int32), item.astype(np.int32), never)
        maker = ListMaker(plan, shelf_of(ALL, vectors), None, width=WIDTH)
        lists = maker.make(users, pairs)
        for user in range(USERS):
            score_V = np.concatenate([np.zeros(FIRST_ITEM), vectors @ users[user]])
            rules = brute.Rules(
                plan.list_length, set(ALL.tolist()), set(item[row == user].tolist()),
                [(values[name], count) for name, count in most.items()],
            )  # fmt: skip
            expected = [found for found, _ in brute.brute(score_V, vectors, rules)]
            assert lists.item[user][: lists.size[user]].tolist() == expected
            sizes.add(len(expected) < plan.list_length)
    assert most["colour"] > 1 or True in sizes


class Watched(ExactShelf):
    """Remembers how many items of how many users were looked at, time by time."""

    looks: list[int]

    def best(self, vectors_BW, pairs, count, among=None):  # type: ignore[no-untyped-def]
        self.looks.append(count * len(vectors_BW))
        return super().best(vectors_BW, pairs, count, among)


def test_limits_that_leave_nothing_do_not_make_it_look_at_everything() -> None:
    """A list of ten has room for two items of four shops, each of which is in two of them."""
    rng = np.random.default_rng(3)
    shop = np.stack([rng.permutation(4)[:2] + FIRST_ITEM for _ in range(FIRST_ITEM + ITEMS)])
    values = {"shop": shop.astype(np.int32)}
    plan = plan_of(values, np.ones(FIRST_ITEM + ITEMS, np.int64), Rules(at_most={"shop": 1}))
    vectors = rng.normal(size=(ITEMS, WIDTH)).astype(np.float32)
    users = rng.normal(size=(USERS, WIDTH)).astype(np.float32)
    shelf = Watched(ALL, vectors, 4096, FIRST_ITEM + ITEMS)
    shelf.looks = []
    maker = ListMaker(plan, shelf, None, width=WIDTH)
    none = np.zeros(0, np.int32)
    lists = maker.make(users, Pairs(none, none, np.zeros(0, np.float32)))
    assert (lists.size == 2).all()
    assert (lists.size < plan.list_length).all()
    assert max(shelf.looks) == 4 * plan.list_length * USERS < ITEMS * USERS
    assert len(shelf.looks) <= 2  # again where the second shop's items come later, and no more


def test_lists_that_go_on_have_the_best_of_what_there_is_room_for() -> None:
    """What is left out is not waited for, although its value has room."""
    kind_V = np.full(FIRST_ITEM + ITEMS, 2, np.int32)
    kind_V[FIRST_ITEM + 200 :] = 3
    plan = plan_of(
        {"kind": kind_V[:, None]}, np.ones(FIRST_ITEM + ITEMS, np.int64),
        Rules(at_most={"kind": 5}),
    )  # fmt: skip
    vectors = np.linspace(2, 1, ITEMS, dtype=np.float32)[:, None]
    shelf = Watched(ALL, vectors, 48, FIRST_ITEM + ITEMS)
    shelf.looks = []
    left_out = np.repeat(ALL[203:], 2)  # of the second kind three are left
    row = np.tile(np.arange(2, dtype=np.int32), len(left_out) // 2)
    pairs = Pairs(row, left_out, np.full(len(row), -np.inf, np.float32))
    lists = ListMaker(plan, shelf, None, width=1).make(np.ones((2, 1), np.float32), pairs)
    assert lists.size.tolist() == [8, 8]
    for item in lists.item:
        assert item[:8].tolist() == [*ALL[:5], *ALL[200:203]]
    assert shelf.looks == [4 * LENGTH * 2] * 2


@pytest.mark.parametrize("most", [1, 3])
def test_of_nested_values_the_widest_bound_a_list(most: int) -> None:
    """Departments of 100 items, each in 20 shelves: the departments leave less than the shelves."""
    item = np.arange(FIRST_ITEM + ITEMS) - FIRST_ITEM
    path = np.stack([FIRST_ITEM + item // 100, FIRST_ITEM + 3 + item // 5], axis=1)
    values = {"path": path.astype(np.int32)}
    assert most_possible(ALL, values, {"path": most}) == 3 * most
    assert most_possible(ALL[:2], values, {"path": most}) == min(most, 2)
    assert most_possible(ALL[99:101], values, {"path": most}) == 2


@pytest.mark.parametrize("most", [{}, {"colour": 2, "brand": 3}])
def test_popular_items_without_some_go_on_until_the_list_is_full(most: dict[str, int]) -> None:
    rng = np.random.default_rng(7)
    values = {"colour": drawn(rng, 6), "brand": drawn(rng, 4)}
    count_V = rng.integers(0, 30, FIRST_ITEM + ITEMS)
    of_group = rng.permutation(ALL)[:120]
    app = Popular.counted(of_group, np.arange(len(of_group), 0, -1))
    plan = plan_of(values, count_V, Rules(at_most=most)).with_fallback({"app": app})
    for left_out in (0, 20, 200, ITEMS - 3, ITEMS):
        # Those first of which a list would be made.
        without = np.concatenate([of_group, np.setdiff1d(ALL, of_group)])[:left_out]
        without = rng.permutation(without).astype(np.int32)
        for group, first in (("app", of_group), (EVERYBODY, of_group[:0])):
            score_V = count_V.astype(np.float64)
            score_V[first] = 1000 - np.arange(len(first))
            rules = brute.Rules(
                plan.list_length, set(ALL.tolist()), set(without.tolist()),
                [(values[name], count) for name, count in most.items()],
            )  # fmt: skip
            expected = [item for item, _ in brute.brute(score_V, np.zeros((1, 1)), rules)]
            found = plan.fallback_without(group, without)
            items = found.item[0][: found.size[0]].tolist()
            assert items == expected
            count = dict(zip(app.item.tolist(), range(len(app.item), 0, -1), strict=True))
            counts = [count.get(item, 0) if group else count_V[item] for item in items]
            np.testing.assert_allclose(found.score[0][: len(items)], np.log1p(counts), rtol=1e-6)
