"""The loss of a batch as training has it, against loops in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from recsys.config import Train
from recsys.schemas import FIRST_ITEM, UNKNOWN
from recsys.train.batch import target_cases
from recsys.train.batches import COLUMNS
from recsys.train.candidates import Sampler
from recsys.train.losses import LOSSES
from recsys.train.model import Recommender
from recsys.train.noise import Noise
from recsys.train.objective import batch_loss
from recsys.train.tower import Catalogue
from tests.datasets import random_rows
from tests.train.test_losses import LOOPS

ITEMS = 30
NEGATIVES = 8
COUNTS = np.arange(ITEMS + FIRST_ITEM)
COUNTS[:FIRST_ITEM] = 0


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "apart"])
def model(request: pytest.FixtureRequest) -> Recommender:
    train = Train(embedding_size=6, tied_output=request.param, input_dropout=0.0, state_dropout=0.0)
    built = Recommender(train, Catalogue(len(COUNTS), 4, COUNTS), seed=2)
    rng = np.random.default_rng(0)
    for variable in built.trainable_variables:
        variable.assign_add(rng.normal(scale=0.3, size=variable.shape))
    return built


@pytest.fixture(scope="module")
def batch() -> dict[str, tf.Tensor]:
    rows = random_rows(np.random.default_rng(4), 6, ITEMS, step_events=3)
    return {name: tf.constant(rows[name], tf.int32) for name in COLUMNS}


def _chances(negatives: int, targets: int) -> np.ndarray:
    """Of each item to be among so many draws or among so many targets [V]."""
    drawn, asked = np.sqrt(COUNTS) / np.sqrt(COUNTS).sum(), COUNTS / COUNTS.sum()
    return 1 - (1 - drawn) ** negatives * (1 - asked) ** targets


@pytest.mark.parametrize(
    ("negatives", "from_batch"), [(NEGATIVES, False), (NEGATIVES, True), (0, True)]
)
@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_sampled_negatives_equal_a_loop(
    model: Recommender, batch: dict[str, tf.Tensor], name: str, negatives: int, from_batch: bool
) -> None:
    sampler, noise = Sampler(COUNTS, negatives, 0.5, from_batch), Noise(1, tf.constant(3))
    row_C, step_C, case_P, item_P = target_cases(batch)
    items = sampler(item_P, noise).item_K.numpy()
    assert negatives or items.tolist() == sorted({*item_P.numpy()})
    scores_CV = model.scores(batch, row_C, step_C).numpy().astype(float)
    case_P, item_P = case_P.numpy(), item_P.numpy()
    log_chance_V = np.zeros(len(COUNTS))
    if name == "cross_entropy":  # the only one whose negatives stand for the whole catalogue
        chance_V = _chances(negatives, len(item_P) * from_batch)
        log_chance_V[FIRST_ITEM:] = np.log(chance_V[FIRST_ITEM:])
    expected = 0.0
    for case, item in zip(case_P, item_P, strict=True):
        # No target of a basket is a negative of the others in it, drawn or not.
        others = np.setdiff1d(items, item_P[case_P == case])
        against = scores_CV[case, others] - log_chance_V[others]
        expected += LOOPS[name](np.append(scores_CV[case, item], against), 0, [0])
    found, weight = batch_loss(model, batch, name, 0.0, sampler, Noise(1, tf.constant(3)))
    assert float(found) == pytest.approx(expected, rel=1e-4)
    assert float(weight) == len(item_P)


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_without_known_targets_has_no_negatives_and_no_loss(
    model: Recommender, batch: dict[str, tf.Tensor], name: str
) -> None:
    unknown = {**batch, "item": tf.where(batch["target"] > 0, UNKNOWN, batch["item"])}
    sampler = Sampler(COUNTS, 0, 0.5, from_batch=True)
    with tf.GradientTape() as tape:
        loss, weight = batch_loss(model, unknown, name, 0.0, sampler, Noise(1, tf.constant(3)))
    assert (float(loss), float(weight)) == (0.0, 0.0)
    for gradient in tape.gradient(loss, model.trainable_variables):
        if gradient is not None:
            assert not np.any(tf.convert_to_tensor(gradient).numpy())


@pytest.mark.parametrize("lanes", [2, 3, 7])  # the batch has six rows
@pytest.mark.parametrize("name", LOSSES)
def test_lanes_learn_together_what_one_does(
    model: Recommender, batch: dict[str, tf.Tensor], name: str, lanes: int
) -> None:
    sampler, found = Sampler(COUNTS, NEGATIVES, 0.5, from_batch=True), []
    for count in (1, lanes):
        noise = Noise(1, tf.constant(3))
        with tf.GradientTape() as tape:
            loss, weight = batch_loss(model, batch, name, 1.0, sampler, noise, lanes=count)
        gradients = tape.gradient(loss, model.trainable_variables)
        found.append([loss, weight, *map(tf.convert_to_tensor, gradients)])
    assert float(found[0][0]) > 0
    for one, several in zip(*found, strict=True):
        np.testing.assert_allclose(several, one, rtol=1e-4, atol=1e-5)


def test_lanes_drop_what_they_draw_themselves_and_share_what_all_ranks_do() -> None:
    noise, ones = Noise(1, tf.constant(3)), tf.ones([200])
    dropped = [noise.of_lane(lane).drop(ones, 0.5).numpy() for lane in range(3)]
    np.testing.assert_array_equal(dropped[0], noise.drop(ones, 0.5))
    for lane in (0, 1):
        assert 50 < (dropped[lane] != dropped[lane + 1]).sum() < 150
    shared = [noise.of_lane(lane).shared().uniform(9).numpy() for lane in range(2)]
    np.testing.assert_array_equal(*shared)


def test_negatives_from_the_batch_are_the_targets_of_the_own_rank() -> None:
    targets = {0: [5, 9, 9], 1: [20]}
    found = [
        Sampler(COUNTS, NEGATIVES, 0.5, from_batch=True)(
            tf.constant(own), Noise(1, tf.constant(3), rank)
        )
        for rank, own in targets.items()
    ]
    drawn = Sampler(COUNTS, NEGATIVES, 0.5)(tf.constant([5]), Noise(1, tf.constant(3))).item_K
    assert not {5, 9, 20} & {*drawn.numpy()}  # else the test shows less
    for rank, own in targets.items():
        assert found[rank].item_K.numpy().tolist() == sorted({*drawn.numpy(), *own})
