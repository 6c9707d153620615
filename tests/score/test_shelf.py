"""The best items of a shelf, against a full sort."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from recsys.config import Neighbours
from recsys.encoding import Pairs
from recsys.errors import DataError
from recsys.schemas import FIRST_ITEM
from recsys.score.neighbours import NeighbourShelf, build
from recsys.score.shelf import ExactShelf
from recsys.score.vectors import require_finite, write, write_directions, write_whole

USERS, ITEMS, WIDTH = 16, 150, 6
SIZE = ITEMS + FIRST_ITEM + 10
NAMES = pa.array([f"item-{index}" for index in range(ITEMS)])


def _world(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, Pairs]:
    rng = np.random.default_rng(seed)
    # Whole numbers, so that many scores are equal and no sum is rounded.
    vectors = rng.integers(-2, 3, size=(ITEMS, WIDTH)).astype(np.float32)
    users = rng.integers(-2, 3, size=(USERS, WIDTH)).astype(np.float32)
    items = np.sort(rng.choice(np.arange(FIRST_ITEM, SIZE), ITEMS, replace=False)).astype(np.int32)
    count = 300
    score = rng.integers(-3, 9, size=count).astype(np.float32)
    score[rng.random(count) < 0.3] = -np.inf
    pairs = Pairs(
        rng.integers(USERS, size=count).astype(np.int32),
        rng.integers(FIRST_ITEM, SIZE, size=count).astype(np.int32),  # some are on no shelf
        score,
    )
    return users, vectors, items, pairs


def _sorted(
    users: np.ndarray, vectors: np.ndarray, items: np.ndarray, pairs: Pairs, count: int
) -> list[list[tuple[float, int]]]:
    scores = np.full((USERS, SIZE), -np.inf)
    scores[:, items] = users @ vectors.T
    for row, item, added in zip(pairs.row, pairs.item, pairs.score, strict=True):
        scores[row, item] += added
    lists = []
    for row in scores:
        ranked = sorted((-score, item) for item, score in enumerate(row) if score > -np.inf)
        lists.append([(-score, item) for score, item in ranked[:count]])
    return lists


def _lists(score: np.ndarray, item: np.ndarray) -> list[list[tuple[float, int]]]:
    rows = zip(score.tolist(), item.tolist(), strict=True)
    return [[pair for pair in zip(*row, strict=True) if pair[0] > -np.inf] for row in rows]


def _indexed(
    path: Path, vectors: np.ndarray, items: np.ndarray, settings: Neighbours
) -> NeighbourShelf:
    build(path, vectors, settings, threads=1)
    return NeighbourShelf(ExactShelf(items, vectors, 48, SIZE), path, settings, threads=1)


@pytest.mark.parametrize("block_items", [16, 48, 4096])
@pytest.mark.parametrize("count", [1, 20, ITEMS])
def test_exact_with_ties_in_any_blocks(block_items: int, count: int) -> None:
    users, vectors, items, pairs = _world()
    shelf = ExactShelf(items, vectors, block_items, SIZE)
    found = _lists(*shelf.best(users, pairs, count))
    assert found == _sorted(users, vectors, items, pairs, count)


@pytest.mark.parametrize("count", [1, 20, ITEMS])
def test_an_index_that_looks_everywhere_is_exact(tmp_path: Path, count: int) -> None:
    users, vectors, items, pairs = _world(1)
    settings = Neighbours(above_items=1, cells=10, probes=10)
    shelf = _indexed(tmp_path / "index", vectors, items, settings)
    score, item = shelf.best(users, pairs, count)
    expected = _sorted(users, vectors, items, pairs, count)
    # Which of the items that score the same as the last one is found is open.
    assert [[score for score, _ in row] for row in _lists(score, item)] == [
        [score for score, _ in row] for row in expected
    ]
    for row, right in zip(_lists(score, item), expected, strict=True):
        last = right[-1][0]
        assert [pair for pair in row if pair[0] > last] == [
            pair for pair in right if pair[0] > last
        ]


def test_an_index_that_looks_into_few_cells_finds_the_pairs_all_the_same(tmp_path: Path) -> None:
    users, vectors, items, _ = _world(2)
    settings = Neighbours(above_items=1, cells=30, probes=1)
    shelf = _indexed(tmp_path / "index", vectors, items, settings)
    row = np.arange(USERS, dtype=np.int32)
    pairs = Pairs(row, items[row], np.full(USERS, 1000, np.float32))
    score, item = shelf.best(users, pairs, 3)
    assert item[:, 0].tolist() == items[:USERS].tolist()
    np.testing.assert_array_equal(score[:, 0], 1000 + (users * vectors[:USERS]).sum(axis=1))


@pytest.mark.parametrize("count", [4, 20, ITEMS])
def test_an_index_that_looks_into_few_cells_finds_as_many_as_there_are(
    tmp_path: Path, count: int
) -> None:
    users, vectors, items, pairs = _world(4)
    settings = Neighbours(above_items=1, cells=30, probes=1)  # of five items each, about
    shelf = _indexed(tmp_path / "index", vectors, items, settings)
    found = _lists(*shelf.best(users, pairs, count))
    expected = _sorted(users, vectors, items, pairs, count)
    assert [len(row) for row in found] == [len(row) for row in expected]
    assert all(len({item for _, item in row}) == len(row) for row in found)
    everything = _sorted(users, vectors, items, pairs, ITEMS)
    assert all(set(row) <= set(every) for row, every in zip(found, everything, strict=True))
    if count > 4:  # more than any cell holds
        assert [[score for score, _ in row] for row in found] == [
            [score for score, _ in row] for row in expected
        ]


def test_an_index_searches_for_a_user_alike_whoever_is_in_the_block(tmp_path: Path) -> None:
    users, vectors, items, _ = _world(6)
    settings = Neighbours(above_items=1, cells=30, probes=1)
    shelf = _indexed(tmp_path / "index", vectors, items, settings)
    nothing = np.zeros(0, np.int32)
    alone = _lists(*shelf.best(users, Pairs(nothing, nothing, nothing.astype(np.float32)), 2))
    # The last has seen nearly all items, and is searched in all cells.
    row = np.full(ITEMS - 2, USERS - 1, np.int32)
    seen = Pairs(row, items[2:], np.full(len(row), -np.inf, np.float32))
    assert _lists(*shelf.best(users, seen, 2))[:-1] == alone[:-1]


def test_pairs_of_some_rows() -> None:
    _, _, _, pairs = _world(3)
    chosen = np.array([5, 2])
    own = pairs.of_rows(chosen, USERS)
    for number, row in enumerate(chosen):
        assert sorted(own.item[own.row == number]) == sorted(pairs.item[pairs.row == row])
    assert set(own.row.tolist()) <= {0, 1}


def test_vectors_that_a_disk_has_no_room_for_are_an_error() -> None:
    vectors, items = np.ones((ITEMS, WIDTH), np.float32), np.arange(ITEMS, dtype=np.int32)
    with pytest.raises(OSError, match="No space left on device"):
        write(Path("/dev/full"), vectors.__getitem__, items, np.zeros(ITEMS, np.float32), NAMES)
    with pytest.raises(OSError, match="No space left on device"):
        write_whole(Path("/dev/full"), vectors.__getitem__, items)


def test_items_and_users_that_a_broken_model_has_no_numbers_for_are_named(tmp_path: Path) -> None:
    vectors, items = np.ones((ITEMS, WIDTH), np.float32), np.arange(ITEMS, dtype=np.int32)
    vectors[5, 2], vectors[9, 0] = np.nan, np.inf
    message = r"export: expected finite numbers for the item 'item-5', found others; train again"
    with pytest.raises(DataError, match=message):
        write(tmp_path / "scores", vectors.__getitem__, items, np.zeros(ITEMS, np.float32), NAMES)
    with pytest.raises(DataError, match=message):
        write_directions(tmp_path / "directions.npy", vectors.__getitem__, items, NAMES)
    with pytest.raises(DataError, match="for the user 'item-5'"):
        require_finite(vectors, NAMES, "user")
    require_finite(vectors, NAMES.slice(0, 5), "user")  # the others only fill up the block
