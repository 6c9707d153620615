from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from recsys.config import Config, Paths, Train
from recsys.manifest import Manifest
from recsys.schemas import FIRST_ITEM
from recsys.train import pipeline
from recsys.train.candidates import EVERYTHING, Sampler
from recsys.train.noise import Noise
from recsys.train.shards import Shard

COUNTS = np.array([0, 0, 50, 30, 15, 4, 1, 0])


def test_candidates_are_the_targets_and_drawn_items_each_once() -> None:
    sampler = Sampler(COUNTS, negatives=3, alpha=1.0, from_batch=True)
    for step in range(20):
        items = sampler(tf.constant([5, 2, 5]), Noise(1, step)).item_K.numpy()
        assert sorted(set(items)) == items.tolist()
        assert {2, 5} <= set(items) <= set(range(FIRST_ITEM, 7))  # 7 never occurs in train


@pytest.mark.parametrize("from_batch", [True, False])
@pytest.mark.parametrize("negatives", [0, 5])
def test_a_step_takes_all_items_where_none_is_drawn_and_the_batch_gives_none(
    dataset: Manifest, dataset_place: Path, negatives: int, from_batch: bool
) -> None:
    train = Train(embedding_size=4, negatives=negatives, negatives_from_batch=from_batch)
    config = Config(paths=Paths(dataset=str(dataset_place)), train=train)
    sampler = pipeline.build(config, dataset, Shard(0, 1), ("train",), 1).sampler
    assert (sampler is not None) == (negatives > 0 or from_batch)
    if sampler is not None:
        assert (sampler.negatives, sampler.from_batch) == (negatives, from_batch)


@pytest.mark.parametrize("negatives", [0, 5])
@pytest.mark.parametrize("targets", [0, 2])
def test_an_only_item_is_a_candidate_for_certain(negatives: int, targets: int) -> None:
    sampler = Sampler(np.array([0, 0, 7]), negatives, alpha=1.0, from_batch=True)
    found = sampler(tf.fill([targets], FIRST_ITEM), Noise(1, 0))
    assert found.item_K.numpy().tolist() == [FIRST_ITEM] * (negatives + targets > 0)
    assert found.correction_K.numpy().tolist() == [0.0] * (negatives + targets > 0)


def test_columns_lead_back_to_the_items() -> None:
    candidates = Sampler(COUNTS, negatives=2, alpha=0.0, from_batch=True)(
        tf.constant([6, 3]), Noise(1, 0)
    )
    column, is_there = candidates.columns(tf.constant([3, 6, 7]))
    assert is_there.numpy().tolist() == [True, True, False]
    assert tf.gather(candidates.item_K, column[:2]).numpy().tolist() == [3, 6]
    column, is_there = EVERYTHING.columns(tf.constant([4, 0]))
    assert (column.numpy().tolist(), is_there.numpy().tolist()) == ([4, 0], [True, True])


@pytest.mark.parametrize("from_batch", [True, False])
def test_the_correction_is_the_chance_to_be_a_candidate(from_batch: bool) -> None:
    sampler = Sampler(COUNTS, negatives=4, alpha=0.5, from_batch=from_batch)
    rng = np.random.default_rng(0)
    shares = COUNTS / COUNTS.sum()
    seen, chance, times = np.zeros(8), np.zeros(8), 3000
    draw = tf.function(lambda targets, step: _drawn(sampler, targets, step), autograph=False)
    for step in range(times):
        targets = rng.choice(8, size=2, p=shares)
        items, correction = draw(tf.constant(targets), tf.constant(step))
        seen[items.numpy()] += 1
        chance[items.numpy()] = np.exp(correction.numpy())
    np.testing.assert_allclose(chance[FIRST_ITEM:7], seen[FIRST_ITEM:7] / times, atol=0.06)


def _drawn(sampler: Sampler, targets: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    candidates = sampler(targets, Noise(1, step))
    return candidates.item_K, candidates.correction_K


def test_a_step_done_again_draws_the_same() -> None:
    sampler = Sampler(COUNTS, negatives=3, alpha=0.5)
    first, again = (
        sampler(tf.constant([2]), Noise(7, step)).item_K.numpy().tolist() for step in (3, 3)
    )
    assert first == again
    values = tf.ones([200])
    kept = [Noise(7, step).drop(values, 0.5).numpy() for step in (3, 3, 4)]
    np.testing.assert_array_equal(kept[0], kept[1])
    assert np.any(kept[0] != kept[2])


def test_ranks_draw_the_same_negatives_and_drop_what_they_like() -> None:
    sampler = Sampler(np.arange(1000), 50, 0.5)
    drawn = [sampler(tf.constant([2]), Noise(7, 3, rank)).item_K.numpy() for rank in (0, 1)]
    np.testing.assert_array_equal(*drawn)
    kept = [Noise(7, 3, rank).drop(tf.ones([100]), 0.5).numpy() for rank in (0, 1)]
    assert np.any(kept[0] != kept[1])
