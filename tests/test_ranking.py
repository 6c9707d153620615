import numpy as np
import pytest

from recsys import ranking
from recsys.schemas import FIRST_ITEM


def _rank(scores: np.ndarray, target: int) -> int:
    """By definition: the target stands behind all that score as much."""
    return int((scores >= scores[target]).sum())


def test_ranks_equal_a_loop_and_ties_count_against_the_system() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 6, size=(200, 12)).astype(np.float32)  # full of ties
    case, target = np.arange(200).repeat(3), rng.integers(0, 12, 600)
    k = 5
    top, _ = ranking.top_k(scores, k + 1)
    found = ranking.target_ranks(top, scores[case, target], case).numpy()
    expected = [_rank(scores[row], item) for row, item in zip(case, target, strict=True)]
    assert found.tolist() == [rank if rank <= k else 0 for rank in expected]
    assert 0 < (found > 0).sum() < 600


def test_a_system_that_scores_all_alike_finds_nothing() -> None:
    scores = np.zeros((1, 30), np.float32)
    top, _ = ranking.top_k(scores, 21)
    assert ranking.target_ranks(top, scores[[0], [0]], [0]).numpy().tolist() == [0]


def test_of_equal_scores_the_lower_index_comes_first() -> None:
    _, items = ranking.top_k(np.array([[1.0, 3.0, 3.0, 2.0, 3.0]]), 4)
    assert items.numpy().tolist() == [[1, 2, 4, 3]]


@pytest.mark.parametrize("items", [4 * 32 * 20, 4 * 32 * 20 + 1, 9_999])
@pytest.mark.parametrize("values", [2, 50, 10**6])  # nearly all tied, many, hardly any
def test_the_best_of_many_are_those_of_a_stable_sort(items: int, values: int) -> None:
    scores = np.random.default_rng(items).integers(0, values, (7, items)).astype(np.float32)
    scores[1] = -np.inf
    scores[2, 5:] = -np.inf
    scores[3] = np.arange(items)
    scores[4, -1:] = values
    best, places = ranking.top_k(scores, 20)
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :20]
    np.testing.assert_array_equal(places, expected)
    np.testing.assert_array_equal(best, np.take_along_axis(scores, expected, axis=1))


def test_a_list_is_no_longer_than_the_catalogue() -> None:
    values, items = ranking.top_k(np.array([[1.0, 2.0]]), 20)
    assert values.shape == items.shape == (1, 2)


def test_reserved_indexes_and_the_history_stay_out() -> None:
    scores = np.arange(12, dtype=np.float32)[None, ::-1].repeat(2, axis=0)
    kept = ranking.without_reserved(scores)
    _, items = ranking.top_k(kept, 3)
    assert items.numpy().tolist() == [[FIRST_ITEM, FIRST_ITEM + 1, FIRST_ITEM + 2]] * 2
    kept = ranking.without_history(kept, np.array([[3, 2, 3, 0], [0, 0, 0, 0]]))
    _, items = ranking.top_k(kept, 3)
    assert items.numpy().tolist() == [[4, 5, 6], [2, 3, 4]]
