from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pyarrow as pa
import pytest

from recsys.config.evaluate import REFERENCE_NAMES
from recsys.errors import ConfigError
from recsys.evaluate import cases, references
from recsys.evaluate.ranked import read_batch
from recsys.evaluate.references import content, popularity
from recsys.evaluate.references.factors import Factors
from recsys.evaluate.references.neighbours import Neighbours, Past
from recsys.evaluate.references.pairs import ItemsToItems
from recsys.evaluate.references.rules import CategoryBestSellers, RecentlyViewed
from recsys.evaluate.references.system import System, Table, places
from recsys.evaluate.references.units import user_numbers
from recsys.schemas import FIRST_ITEM, PADDING, SEQUENCE_ARRAYS, UNKNOWN
from tests.evaluate.rows import DAY, record_batch, row

# Items 2 to 7; item 4 is the most popular, 5 and 6 are equally so.
BOUGHT = np.array([0, 0, 1, 2, 9, 4, 4, 3])
POPULAR_ORDER = [4, 5, 6, 7, 3, 2]


def order(scores_V: np.ndarray) -> list[int]:
    """Items from best to worst, the lower index first among equals."""
    return [int(item) for item in np.argsort(-scores_V, kind="stable") if item >= FIRST_ITEM]


def test_popular_is_the_same_for_all() -> None:
    batch = read_batch(record_batch([row("u", [(0, [2]), (1, [3]), (2, [7])], 1)], [[]]))
    scores = popularity.Everybody("popular", places(BOUGHT)).scores(batch)
    assert [order(case) for case in scores] == [POPULAR_ORDER, POPULAR_ORDER]
    assert scores[0, 5] == scores[0, 6], "equal counts must stay a tie"


def test_own_items_by_count_then_latest_then_popularity() -> None:
    steps = [(0, [2, 3]), (1, [2, 5, 6]), (2, [7])]
    batch = read_batch(record_batch([row("u", steps, 2)], [[]]))
    scores = popularity.OwnItems(BOUGHT).scores(batch)[0]
    # 2 twice; 5 and 6 later than 3 and equally popular; the rest by popularity.
    assert order(scores) == [2, 5, 6, 3, 4, 7]
    assert scores[5] == scores[6]


def test_own_items_hold_what_came_before_the_row() -> None:
    earlier = [(0, 3), (1, 3), (2, 6)]
    batch = read_batch(record_batch([row("u", [(3, [2]), (4, [7])], 4)], [earlier]))
    scores = popularity.OwnItems(BOUGHT).scores(batch)[0]
    assert order(scores)[:3] == [3, 2, 6]


def test_a_case_sees_nothing_of_its_own_step_or_later() -> None:
    steps = [(0, [2]), (1, [3, 3]), (2, [7])]
    batch = read_batch(record_batch([row("u", steps, 1)], [[]]))
    first, second = popularity.OwnItems(BOUGHT).scores(batch)
    assert order(first) == [2, 4, 5, 6, 7, 3]
    assert order(second) == [3, 2, 4, 5, 6, 7]


def test_old_events_fade() -> None:
    # Item 2 three times, long ago; item 3 once, a day ago.
    earlier = [(0, 2), (1, 2), (2, 2)]
    batch = read_batch(record_batch([row("u", [(200, [3]), (201, [7])], 201)], [earlier]))
    assert order(popularity.OwnItems(BOUGHT).scores(batch)[0])[:2] == [2, 3]
    recent = popularity.OwnItemsRecent(BOUGHT, half_life_days=60)
    assert order(recent.scores(batch)[0])[:2] == [3, 2]
    slow = popularity.OwnItemsRecent(BOUGHT, half_life_days=1000)
    assert order(slow.scores(batch)[0])[:2] == [2, 3]


def test_only_what_is_predicted_counts_as_bought() -> None:
    view, purchase = FIRST_ITEM, FIRST_ITEM + 1
    viewed = row("u", [(0, [2, 2]), (1, [7])], 1, event_type=view)
    batch = read_batch(record_batch([viewed], [[(0, 3)]]))
    own = popularity.OwnItems(BOUGHT, target_types=(purchase,))
    assert order(own.scores(batch)[0]) == POPULAR_ORDER
    assert order(popularity.OwnItems(BOUGHT, (view,)).scores(batch)[0])[0] == 2


def test_unknown_items_are_nobodys_own() -> None:
    batch = read_batch(record_batch([row("u", [(0, [1, 1]), (1, [7])], 1)], [[]]))
    scores = popularity.OwnItems(BOUGHT).scores(batch)[0]
    assert scores.max() < 1


def plain_scores(events: list[tuple[int, int]], half_life_days: float) -> list[int]:
    """The order of own_items_recent, for one case of (item, timestamp), by a plain loop."""
    now = max(timestamp for _, timestamp in events)
    weight: dict[int, float] = {}
    for item, timestamp in events:
        decayed = 2 ** (-(now - timestamp) / DAY / half_life_days)
        weight[item] = weight.get(item, 0.0) + decayed
    everything = range(FIRST_ITEM, len(BOUGHT))
    return sorted(everything, key=lambda item: (-weight.get(item, 0), -BOUGHT[item], item))


@pytest.mark.parametrize("pairs_at_once", [1, 7, 1 << 20])
def test_many_cases_at_once_equal_a_plain_loop(
    monkeypatch: pytest.MonkeyPatch, pairs_at_once: int
) -> None:
    monkeypatch.setattr(cases, "PAIRS_AT_ONCE", pairs_at_once)
    rng = np.random.default_rng(3)
    rows, earlier = [], []
    for user in range(20):
        number = int(rng.integers(0, 5))
        steps = [
            (number + step, [int(item) for item in rng.integers(FIRST_ITEM, 8, size=2)])
            for step in range(4)
        ]
        rows.append(row(str(user), steps, number + int(rng.integers(1, 4))))
        earlier.append([(step, int(rng.integers(FIRST_ITEM, 8))) for step in range(number)])
    batch = read_batch(record_batch(rows, earlier))
    scores = popularity.OwnItemsRecent(BOUGHT, half_life_days=2).scores(batch)
    assert len(batch) > 25
    for case in range(len(batch)):
        own, step = rows[batch.row[case]], batch.step[case]
        before = [(item, DAY * number) for number, item in earlier[batch.row[case]]]
        before += [
            (item, timestamp)
            for item, timestamp, of in zip(own["item"], own["timestamp"], own["step"], strict=True)
            if 0 <= of < step
        ]
        assert batch.history_events[case] == len(before)
        assert order(scores[case]) == plain_scores(before, 2)


def past(*units: tuple[str, int, list[int]]) -> Past:
    """Of users, what each unit holds, and the day on which it ends; from the latest on."""
    user, day, items = zip(*units, strict=True)
    numbers = user_numbers(np.array(user, object))
    ends = DAY * np.array(day)
    return Past.of(pa.array(items, pa.list_(pa.int32())), numbers, ends, len(BOUGHT))


def test_nobody_is_a_neighbour_of_their_own() -> None:
    batch = read_batch(record_batch([row("u", [(0, [2]), (1, [3]), (2, [7])], 2)], [[]]))
    users = past(("u", 1, [2, 3]), ("v", 0, [3, 5]))
    of_users = Neighbours("user_knn", users, places(BOUGHT), neighbours=5, regularisation=1)
    scores = of_users.scores(batch)[0]
    assert order(scores) == [5, 3, 4, 6, 7, 2], "5 and 3 are alike to v, and u does not count"
    # Their former sessions may be neighbours, but not what train has of the latest.
    sessions = past(("u", 1, [3]), ("v", 0, [3, 5]), ("u", 0, [2, 3]))
    of_sessions = Neighbours("s", sessions, places(BOUGHT), neighbours=1, latest_session=True)
    assert order(of_sessions.scores(batch)[0])[:2] == [5, 3]
    two = dataclasses.replace(of_sessions, neighbours=2)
    assert order(two.scores(batch)[0])[:3] == [3, 5, 2]


_PAST = past(("v", 0, [3, 5]), ("w", 0, [3, 5]))
_SAYS = Table.of(8, np.array([2]), np.array([3], np.int32), np.array([0.6]))


@pytest.mark.parametrize(
    "system",
    [
        Neighbours("user_knn", _PAST, places(BOUGHT), neighbours=5, regularisation=1),
        Neighbours("session_knn", _PAST, places(BOUGHT), neighbours=5, latest_session=True),
        Factors(np.ones((8, 2)), 0.1, 5.0, places(BOUGHT)),
        ItemsToItems("item_knn", _SAYS, places(BOUGHT), 0.5),
        content.Content((), (), (np.ones((8, 2), np.float32),), (1.0,), np.ones(8),
                        places(BOUGHT), decay=0.5),
        popularity.OwnItems(BOUGHT),
        popularity.OwnItemsRecent(BOUGHT),
        popularity.InSession(BOUGHT),
        RecentlyViewed(places(BOUGHT)),
        CategoryBestSellers(np.ones(8), np.zeros(8, np.int32), 1, places(BOUGHT)),
    ],
    ids=lambda system: system.name,
)  # fmt: skip
def test_where_no_history_has_a_known_item_popularity_decides(system: System) -> None:
    steps = [(0, [UNKNOWN]), (1, [PADDING]), (2, [3])]
    batch = read_batch(record_batch([row("u", steps, 2)], [[]]))
    assert [order(case) for case in system.scores(batch)] == [POPULAR_ORDER]


def test_what_was_viewed_long_ago_keeps_its_order() -> None:
    back = [5, 4, 3, *[2] * 3000]
    steps = [(3000 + len(back), [2]), (3001 + len(back), [7])]
    earlier = [list(enumerate(back))]
    batch = read_batch(record_batch([row("u", steps, 3001 + len(back))], earlier))
    assert order(RecentlyViewed(places(BOUGHT)).scores(batch)[0]) == [2, 3, 4, 5, 6, 7]


def test_past_sessions_take_no_more_than_they_need() -> None:
    """What most_sessions and most_users say of memory, and as many bytes go to each worker."""
    units, items = 5_000, 4
    listed = pa.array([list(range(FIRST_ITEM, FIRST_ITEM + items))] * units, pa.list_(pa.int32()))
    numbers = np.arange(units, dtype=np.int64)
    size = len(pickle.dumps(Past.of(listed, numbers, numbers, len(BOUGHT))))
    assert size < 1_000 + units * (28 + 8 * items)


@pytest.mark.parametrize("nothing", [PADDING, UNKNOWN], ids=["search", "unknown item"])
@pytest.mark.parametrize(("decay", "best"), [(0.0, [5, 4]), (0.5, [5, 3]), (1.0, [3, 5])])
def test_the_latest_known_items_are_asked_whatever_was_searched_for_since(
    nothing: int, decay: float, best: list[int]
) -> None:
    # 2 speaks for 3, and 6 for 5; where both count alike 2 says more.
    says = Table.of(8, np.array([2, 6]), np.array([3, 5], np.int32), np.array([0.6, 0.5]))
    rules = ItemsToItems("rules", says, places(BOUGHT), decay)
    steps = [(0, [2]), (1, [6]), (2, [nothing]), (3, [nothing]), (4, [7])]
    batch = read_batch(record_batch([row("u", steps, 4), row("v", steps[:2], 1)], [[], []]))
    asked, without = rules.scores(batch)
    assert order(asked)[:2] == best
    assert order(without)[0] == 3
    batch = read_batch(record_batch([row("u", [(3, [7])], 3)], [[(0, 2), (1, 6), (2, nothing)]]))
    assert order(rules.scores(batch)[0])[:2] == best, "likewise of what came before the row"


@pytest.mark.parametrize("numbers_at_once", [1, 7, 1 << 20])
def test_content_by_vectors_equals_a_plain_loop(
    monkeypatch: pytest.MonkeyPatch, numbers_at_once: int
) -> None:
    monkeypatch.setattr(content, "_NUMBERS_AT_ONCE", numbers_at_once)
    rng = np.random.default_rng(2)
    features = [rng.normal(size=(8, width)).astype(np.float32) for width in (3, 2)]
    features[0][5] = 0
    scales = (0.5, 2.0)
    whole = np.hstack([own * scale for own, scale in zip(features, scales, strict=True)])
    length = np.linalg.norm(whole.astype(float), axis=1)
    system = content.Content((), (), tuple(features), scales, length, places(BOUGHT), decay=0.5)
    batch = read_batch(
        record_batch([row("u", [(0, [5]), (1, [3]), (2, [6])], 1), row("v", [(0, [7])], 0)],
                     [[], []])
    )  # fmt: skip
    unit = whole / length[:, None]
    expected = [unit @ unit[5], unit @ (0.5 * unit[5] + unit[3])]
    scores = system.scores(batch)
    for case, cosines in enumerate(expected):
        assert order(scores[case]) == order(cosines)
        np.testing.assert_allclose(
            np.diff(scores[case][FIRST_ITEM:] - places(BOUGHT)[FIRST_ITEM:]) / 2**20,
            np.diff(cosines[FIRST_ITEM:]) / (cosines.max() - min(cosines.min(), 0)),
            atol=1e-6,
        )
    assert order(scores[2]) == POPULAR_ORDER, "nothing is known of who has no history"


def test_content_by_categories_is_the_same_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    row_of, values = np.repeat(np.arange(8), [1, 1, 3, 1, 2, 4, 1, 2]), rng.integers(0, 4, 15)
    table = Table.of(8, row_of, values.astype(np.int32))
    rarity = np.array([0, 1.0, 2.0, 0.5])
    system = content.Content((table,), (rarity,), (), (), np.ones(8), places(BOUGHT), decay=0.5)
    batch = read_batch(record_batch([row("u", [(0, [2, 5]), (1, [3]), (2, [6])], 1)], [[]]))
    whole = system.scores(batch)
    assert len(np.unique(whole)) > 8, "items differ in what they are alike in"
    for numbers_at_once in (1, 9, 40):
        monkeypatch.setattr(content, "_NUMBERS_AT_ONCE", numbers_at_once)
        np.testing.assert_array_equal(system.scores(batch), whole)


@pytest.mark.parametrize(
    ("lacks", "message"),
    [
        ("has_category", "category_best_sellers needs an attribute of the items of kind category"),
        ("is_described", "content needs attributes of the items"),
        ("is_refit", "expected no hybrid, whose weights validation decides"),
    ],
)
def test_what_a_reference_needs_is_asked_for_before_any_work(lacks: str, message: str) -> None:
    there = {"has_category": True, "is_described": True, "is_refit": False}
    references.check(REFERENCE_NAMES, **there)
    there[lacks] = not there[lacks]
    with pytest.raises(ConfigError, match=message):
        references.check(REFERENCE_NAMES, **there)
    references.check(("popular", "item_knn"), **there)


def test_scoring_changes_no_input() -> None:
    rows = record_batch([row("u", [(0, [2]), (1, [3])], 1)], [[(0, 5)]])
    batch = read_batch(rows)
    before = {name: batch.arrays[name].copy() for name in SEQUENCE_ARRAYS}
    popularity.OwnItemsRecent(BOUGHT).scores(batch)
    for name, values in before.items():
        np.testing.assert_array_equal(batch.arrays[name], values)
