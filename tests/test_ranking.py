import numpy as np
import pytest

from recsys import ranking
from recsys.schemas import FIRST_ITEM


def _ranks(scores: np.ndarray, targets: list[int]) -> list[int]:
    """By definition: places in the order in which targets come behind all that score as much."""
    others = [item for item in range(len(scores)) if item not in targets]
    order = sorted([*others, *targets], key=lambda item: -scores[item])
    return [order.index(target) + 1 for target in targets]


@pytest.mark.parametrize("targets", [1, 2, 4])
def test_ranks_equal_a_loop_and_ties_count_against_the_system(targets: int) -> None:
    rng = np.random.default_rng(targets)
    scores = rng.integers(0, 6, size=(200, 12)).astype(np.float32)  # full of ties
    target = np.array([rng.permutation(12)[:targets] for _ in scores])
    expected = np.array([_ranks(*own) for own in zip(scores, target.tolist(), strict=True)])
    case, k = np.tile(np.arange(200), targets), 5
    top, _ = ranking.top_k(scores, k + targets)
    found = ranking.target_ranks(top, scores[case, target.T.ravel()], case).numpy()
    places = expected.T.ravel()
    assert np.where(found <= k, found, 0).tolist() == np.where(places <= k, places, 0).tolist()
    assert 0 < (found > 0).sum() < len(case)


def test_a_tie_of_targets_that_goes_on_beyond_the_list_is_in_no_shorter_one() -> None:
    scores = np.array([[3, 2, 2, 2, 1, 0]], np.float32)
    case, target = np.zeros(2, np.int64), np.array([3, 2])
    for best, ranks in ((5, [3, 4]), (4, [0, 0])):
        top, _ = ranking.top_k(scores, best)
        assert ranking.target_ranks(top, scores[case, target], case).numpy().tolist() == ranks


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


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("items", [6, 12, 4 * 32 * 8 - 1, 4 * 32 * 8, 4 * 32 * 8 + 1, 3000])
@pytest.mark.parametrize("leaves_out", [False, True])
def test_lists_and_ranks_of_a_graph_equal_a_stable_sort(
    items: int, kind: type[np.floating], leaves_out: bool
) -> None:
    rng = np.random.default_rng(items)
    cases, k, targets = 60, 5, 3
    scores = rng.integers(0, 40, (cases, items)).astype(kind)
    target = np.array([rng.permutation(items - 1)[:targets] + 1 for _ in scores], np.int32)
    # Of every case a target is in its history, or padding is.
    left_out = np.where(rng.random(cases) < 0.5, target[:, 0], 0).astype(np.int32)[:, None]
    case = np.repeat(np.arange(cases, dtype=np.int32), targets)
    make = ranking.compiled_listing(items, scores.dtype, k + targets, leaves_out)
    given = (left_out,) if leaves_out else ()
    top, listed, rank = (part.numpy() for part in make(scores, case, target.ravel(), *given))
    rank = rank.reshape(cases, targets)

    kept = scores.astype(float)
    kept[:, :FIRST_ITEM] = -np.inf
    if leaves_out:
        kept[np.arange(cases), left_out[:, 0]] = -np.inf
    for own, own_kept in enumerate(kept):
        order = np.argsort(-own_kept, kind="stable")[:k]
        order = order[np.isfinite(own_kept[order])]
        assert listed[own, : len(order)].tolist() == order.tolist()
        assert top[own, : len(order)].tolist() == own_kept[order].tolist()
        expected = np.array(_ranks(own_kept, target[own].tolist()))
        expected[(expected > k) | np.isinf(own_kept[target[own]])] = 0
        assert np.where(rank[own] <= k, rank[own], 0).tolist() == expected.tolist()
