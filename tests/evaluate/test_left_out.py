"""What lists leave out of a history: what a row holds of it, or all of it."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.evaluate.ranked import Lists, rank_all, read_batch
from recsys.evaluate.references.popularity import Everybody
from recsys.evaluate.references.system import places
from recsys.schemas import FIRST_ITEM, PADDING
from tests.evaluate.rows import record_batch, row

# Items 2 to 7, the last one most popular.
COUNTS = np.array([0, 0, 1, 2, 3, 4, 5, 6])


@pytest.mark.parametrize("whole", [False, True])
def test_lists_leave_out_the_history(whole: bool) -> None:
    rows = [
        row("long", [(2, [3]), (3, [4]), (4, [2])], 3),
        row("unknown", [(1, [1, 6]), (2, [6]), (3, [5])], 2),
        row("new", [(0, [2])], 0),
    ]
    earlier = [[(0, 7), (1, 7), (1, 6)], [(0, 5)], []]
    batch = read_batch(record_batch(rows, earlier))
    lists = Lists(6, True, batch_rows=8, vocabulary_size=8, exclude_earlier=whole)
    (cases,) = rank_all([Everybody("popular", places(COUNTS))], batch, lists)
    left_out = [{3}, {3, 4}, {6}, {6}, set()]
    if whole:
        left_out = [{3, 6, 7}, {3, 4, 6, 7}, {5, 6}, {5, 6}, set()]
    items = range(len(COUNTS) - 1, FIRST_ITEM - 1, -1)
    assert cases.column("recommended").to_pylist() == [
        [item for item in items if item not in own] for own in left_out
    ]
    # A target that was there before is a miss.
    ranks = [4, 4, 0, 2, 6] if not whole else [2, 2, 0, 0, 6]
    assert cases.column("ranks").to_pylist() == [[rank] for rank in ranks]
    assert (batch.whole_items == PADDING).any()
