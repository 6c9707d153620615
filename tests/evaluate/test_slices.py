from __future__ import annotations

import numpy as np

from recsys.evaluate.lists import Catalogue, read_lists
from recsys.evaluate.ranked import Lists, rank_all, read_batch
from recsys.evaluate.references.popularity import Everybody
from recsys.evaluate.references.system import places
from recsys.evaluate.slices import Slicing
from tests.evaluate.rows import DAY, record_batch, row

COUNTS = np.array([0, 0, 1, 2, 9, 4, 4, 3])


def moved(own: dict, days: int) -> dict:
    """The row, so many days later."""
    times = zip(own["timestamp"], own["step"], strict=True)
    return {**own, "timestamp": [time + DAY * days * (step >= 0) for time, step in times]}


def test_who_has_an_event_before_test_is_returning_and_others_are_new() -> None:
    rows_and_earlier = [
        (moved(row("begins with test", [(0, [2]), (1, [3]), (2, [4])], 1), days=4), []),
        (moved(row("has no history", [(0, [5]), (1, [6])], 0), days=6), []),
        (row("was there in the row", [(3, [2]), (4, [3]), (5, [4])], 5), []),
        (row("was there before the row", [(4, [2]), (5, [3])], 5), [(3, 6)]),
    ]
    rows, earlier = map(list, zip(*rows_and_earlier, strict=True))
    batch = read_batch(record_batch(rows, earlier))
    popular = Everybody("popular", places(COUNTS))
    (cases,) = rank_all([popular], batch, Lists(3, False, batch_rows=8, vocabulary_size=8))
    lists = read_lists(cases, 3, Catalogue(COUNTS))
    users = np.array(cases.column("user_id").to_pylist())[lists.case]
    found = {
        value: users[is_in].tolist()
        for name, value, is_in in Slicing(test_start=4 * DAY).parts(cases, lists)
        if name == "users"
    }
    assert found == {
        "returning": ["was there in the row", "was there before the row"],
        "new": ["begins with test"] * 2 + ["has no history"] * 2,
    }
