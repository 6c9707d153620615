"""The purchase head: its loss, what it looks at, what it leaves alone, and its export."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from recsys import saved_model
from recsys.config import Train
from recsys.config.augment import Augment
from recsys.errors import ConfigError, DataError
from recsys.manifest import Manifest
from recsys.schemas import BOUGHT, FIRST_ITEM, NO_LABEL, NOT_BOUGHT, VALUE_WEIGHT
from recsys.train import encoder
from recsys.train.augment import augmented
from recsys.train.batch import Cases, target_cases, trim
from recsys.train.ensemble import Ensemble
from recsys.train.export import Export, save
from recsys.train.model import Recommender
from recsys.train.noise import Noise
from recsys.train.objective import batch_loss, labelled
from recsys.train.purchase import check_labels, purchase_loss_sum
from recsys.train.tower import Catalogue
from tests.datasets import LENGTH, random_rows

ITEMS = 30
EVENT_TYPES = ("view", "cart")
TRAIN = Train(embedding_size=6, purchase_weight=0.7)


def build(train: Train = TRAIN) -> Recommender:
    size = ITEMS + FIRST_ITEM
    catalogue = Catalogue(size, len(EVENT_TYPES) + FIRST_ITEM, np.arange(size), {}, {})
    model = Recommender(train, catalogue, seed=3)
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign_add(rng.normal(scale=0.3, size=variable.shape))
    return model


@pytest.fixture(scope="module")
def model() -> Recommender:
    return build()


@pytest.fixture(scope="module")
def batch() -> dict[str, tf.Tensor]:
    """Rows with labels on most targets, and some items that come again."""
    rng = np.random.default_rng(1)
    rows = random_rows(rng, 8, ITEMS, 2)
    is_event = rows["step"] >= 0
    rows["item"] = np.where(is_event & (rng.random(is_event.shape) < 0.4), 5, rows["item"])
    rows["event_type"] = np.where(is_event, rng.integers(2, 4, size=is_event.shape), 0)
    drawn = rng.choice([NO_LABEL, NOT_BOUGHT, BOUGHT], size=is_event.shape)
    rows["purchase"] = rows["target"] * drawn
    return {name: tf.constant(values, tf.int32) for name, values in rows.items()}


def logits_by_hand(model: Recommender, batch: dict[str, tf.Tensor]) -> tuple[list, list]:
    """Logit and label of every labelled target, from the head's formula."""
    rows = {name: values.numpy() for name, values in batch.items()}
    head, found = model.purchase, ([], [])
    kernel = np.concatenate([head.kernel.numpy(), head.type_kernel.numpy()])
    bias, weights, of_item = (v.numpy() for v in (head.bias, head.weights, head.item_bias))
    for row in range(len(rows["item"])):
        for place in np.flatnonzero(rows["purchase"][row]):
            step, item = rows["step"][row, place], rows["item"][row, place]
            state = model.encode(batch, tf.constant([row]), tf.constant([step])).numpy()[0]
            vector = model.tower(tf.constant([item])).numpy()[0]
            count = np.zeros(len(EVENT_TYPES) + FIRST_ITEM)
            for other in range(LENGTH):
                if 0 <= rows["step"][row, other] < step and rows["item"][row, other] == item:
                    count[rows["event_type"][row, other]] += 1
            inputs = np.concatenate([state, vector, state * vector, np.log1p(count)])
            hidden = np.maximum(inputs @ kernel + bias, 0)
            found[0].append(of_item[item] + hidden @ weights)
            found[1].append(rows["purchase"][row, place] == BOUGHT)
    return found


def test_logits_are_those_of_the_formula(model: Recommender, batch: dict[str, tf.Tensor]) -> None:
    pairs, is_bought = labelled(model, batch)
    state = model.encode(batch, pairs.row_C, pairs.step_C)
    expected, bought = logits_by_hand(model, batch)
    assert 5 < sum(bought) < len(bought) - 5
    np.testing.assert_allclose(model.purchase_logits(batch, pairs, state), expected, atol=1e-5)
    assert is_bought.numpy().tolist() == bought


def test_the_loss_is_added_to_that_of_the_lists(
    model: Recommender, batch: dict[str, tf.Tensor]
) -> None:
    logits, bought = (np.array(values) for values in logits_by_hand(model, batch))
    probability = 1 / (1 + np.exp(-logits))
    expected = -sum(np.log(p if b else 1 - p) for p, b in zip(probability, bought, strict=True))
    assert float(purchase_loss_sum(tf.constant(logits), tf.constant(bought))) == pytest.approx(
        expected
    )
    both, weight = batch_loss(model, batch, "cross_entropy", 0.0, None, None)
    without = {**batch, "purchase": tf.zeros_like(batch["purchase"])}
    lists, same_weight = batch_loss(model, without, "cross_entropy", 0.0, None, None)
    assert float(weight) == float(same_weight)
    means = float(lists / weight) + 0.7 * expected / len(bought)
    assert float(both / weight) == pytest.approx(means, rel=1e-5)


def test_the_weights_of_the_lists_targets_leave_the_head_alone(
    model: Recommender, batch: dict[str, tf.Tensor]
) -> None:
    logits, bought = (np.array(values) for values in logits_by_hand(model, batch))
    mean = np.log1p(np.exp(np.where(bought, -logits, logits))).mean()
    values = np.random.default_rng(5).uniform(0.1, 0.4, batch["item"].shape).astype(np.float32)
    weighted = {**batch, VALUE_WEIGHT: tf.constant(values)}
    both, weight = batch_loss(model, weighted, "cross_entropy", 0.0, None, None)
    unlabelled = {**weighted, "purchase": tf.zeros_like(batch["purchase"])}
    lists, _ = batch_loss(model, unlabelled, "cross_entropy", 0.0, None, None)
    assert float((both - lists) / weight) == pytest.approx(0.7 * mean, rel=1e-4)


def test_lanes_with_unequal_labels_count_them_together(
    model: Recommender, batch: dict[str, tf.Tensor]
) -> None:
    first = tf.range(tf.shape(batch["item"])[0])[:, None] < 2
    uneven = {**batch, "purchase": tf.where(first, batch["purchase"], 0)}
    one, two = (
        batch_loss(model, uneven, "cross_entropy", 0.0, None, None, lanes=lanes) for lanes in (1, 2)
    )
    np.testing.assert_allclose(two, one, rtol=1e-5)
    lists = batch_loss(model, {**batch, "purchase": 0 * batch["purchase"]},
                       "cross_entropy", 0.0, None, None)  # fmt: skip
    assert float(one[0]) > float(lists[0])


def test_without_a_head_nothing_changes(batch: dict[str, tf.Tensor]) -> None:
    names = [variable.name for variable in build(Train(embedding_size=6)).trainable_variables]
    with_head = [variable.name for variable in build().trainable_variables]
    assert len(with_head) == len(names) + 5
    plain = {name: values for name, values in batch.items() if name != "purchase"}
    batch_loss(build(Train(embedding_size=6)), plain, "cross_entropy", 0.0, None, None)


def test_the_head_learns_and_reaches_every_weight(batch: dict[str, tf.Tensor]) -> None:
    model, losses = build(), []
    for _ in range(120):
        with tf.GradientTape() as tape:
            pairs, is_bought = labelled(model, batch)
            state = model.encode(batch, pairs.row_C, pairs.step_C)
            loss = purchase_loss_sum(model.purchase_logits(batch, pairs, state), is_bought)
        variables = [*model.purchase.trainable_variables, model.tower.embedding]
        variables += list(model.stack.trainable_variables)
        gradients = tape.gradient(loss, variables)
        assert all(gradient is not None for gradient in gradients)
        for variable, gradient in zip(variables, gradients, strict=True):
            variable.assign_sub(0.05 * tf.convert_to_tensor(gradient))
        losses.append(float(loss))
    assert losses[-1] < 0.5 * losses[0]


def test_what_comes_at_the_step_or_later_changes_nothing(
    model: Recommender, batch: dict[str, tf.Tensor]
) -> None:
    step = np.maximum(batch["step"].numpy().max(axis=1) // 2, 1)
    rows = np.arange(len(step))
    of_pairs = (rows, step, rows, np.full(len(rows), 5))
    pairs = Cases(*(tf.constant(values, tf.int32) for values in of_pairs))

    def logits(rows: dict[str, tf.Tensor]) -> np.ndarray:
        return model.purchase_logits(rows, pairs, model.encode(rows, pairs.row_C, pairs.step_C))

    later = batch["step"] >= step[:, None]
    others = {**batch, "item": tf.where(later, 5, batch["item"])}
    np.testing.assert_allclose(logits(others), logits(batch), atol=1e-6)
    earlier = {**batch, "item": tf.where(batch["step"] == 0, 5, batch["item"])}
    assert np.abs(logits(earlier) - logits(batch)).max() > 1e-3


def test_an_ensemble_gives_the_mean_of_the_logits(
    model: Recommender, batch: dict[str, tf.Tensor]
) -> None:
    members = [model, build()]
    members[1].purchase.item_bias.assign_add(tf.linspace(-1.0, 1.0, ITEMS + FIRST_ITEM))
    both = Ensemble(members)
    pairs, _ = labelled(both, batch)
    alone = [
        own.purchase_logits(batch, pairs, own.encode(batch, pairs.row_C, pairs.step_C))
        for own in members
    ]
    found = both.purchase_logits(batch, pairs, both.encode(batch, pairs.row_C, pairs.step_C))
    assert np.abs(alone[0] - alone[1]).max() > 0.5
    np.testing.assert_allclose(found, (alone[0] + alone[1]) / 2, atol=1e-5)


def test_labels_stay_with_their_targets_when_histories_change(
    batch: dict[str, tf.Tensor],
) -> None:
    augment = Augment(rows=1.0, crop=0.5, drop=0.3)
    model = build(dataclasses.replace(TRAIN, augment=augment))
    head, bias = model.purchase, np.linspace(-2, 2, ITEMS + FIRST_ITEM)
    head.weights.assign(tf.zeros_like(head.weights))
    head.item_bias.assign(bias)
    noise = Noise(1, tf.constant(3))
    whole, weight = batch_loss(model, batch, "cross_entropy", 0.0, None, noise)
    none = {**batch, "purchase": tf.zeros_like(batch["purchase"])}
    lists, _ = batch_loss(model, none, "cross_entropy", 0.0, None, Noise(1, tf.constant(3)))
    trimmed = trim(batch)
    row, step, case, item = target_cases(trimmed)
    changed = augmented(trimmed, row, step, augment, Noise(1, tf.constant(3)).apart())
    label = tf.boolean_mask(trimmed["purchase"], trimmed["target"] > 0).numpy()
    is_asked = (label != NO_LABEL) & tf.gather(changed.is_asked_C, case).numpy()
    assert 0 < is_asked.sum() < (label != NO_LABEL).sum()
    signs = np.where(label == BOUGHT, 1, -1)
    losses = np.log1p(np.exp(-signs * bias[item.numpy()]))
    expected = 0.7 * losses[is_asked].mean()
    assert float((whole - lists) / weight) == pytest.approx(expected, rel=1e-4)


@pytest.fixture(scope="module")
def exported(model: Recommender, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "export"
    ids = [f"item-{index}" for index in range(FIRST_ITEM, FIRST_ITEM + ITEMS)]
    save(Export(model, ids, {"event_type": EVENT_TYPES}, exclude_history=False), str(folder))
    return folder


def test_exported_probabilities_are_those_of_the_model(
    exported: Path, model: Recommender, batch: dict[str, tf.Tensor]
) -> None:
    rows = {name: values.numpy() for name, values in batch.items()}
    row, place = np.nonzero(rows["purchase"])
    asked = (row, rows["step"][row, place], rows["item"][row, place])
    found = saved_model.load(str(exported)).purchases(rows, *asked)
    expected = 1 / (1 + np.exp(-np.array(logits_by_hand(model, batch)[0])))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("members", [1, 2])
def test_an_encoder_gives_the_same_and_has_no_table_of_items(
    model: Recommender, batch: dict[str, tf.Tensor], tmp_path: Path, members: int
) -> None:
    whole = model if members == 1 else Ensemble([model] * members)
    ids = [f"item-{index}" for index in range(FIRST_ITEM, FIRST_ITEM + ITEMS)]
    module = Export(whole, ids, {"event_type": EVENT_TYPES}, exclude_history=False)
    save(module, str(tmp_path / "export"))
    encoder.save(module, str(tmp_path / "encoder"))
    ranker = saved_model.Ranker(str(tmp_path / "export"))
    size = model.vocabulary_size
    reads = {name: part.numpy() for name, part in ranker.of_items(np.arange(size)).items()}
    names = (saved_model.ITEM_READS, saved_model.PAIR_READS)
    other = saved_model.Encoder(str(tmp_path / "encoder"), *(reads[name] for name in names))
    rows = {name: values.numpy() for name, values in batch.items()}
    row, place = np.nonzero(rows["purchase"])
    asked = (row, rows["step"][row, place], rows["item"][row, place])
    expected = ranker.purchases(rows, *asked).numpy()
    np.testing.assert_allclose(other.purchases(rows, *asked), expected, atol=1e-6)
    assert expected.std() > 1e-3  # else the test shows little
    held = tf.saved_model.load(str(tmp_path / "encoder")).variables_read
    assert size not in {side for variable in held for side in variable.shape}


def test_raw_events_give_the_same_probabilities(
    exported: Path, batch: dict[str, tf.Tensor]
) -> None:
    rows = {name: values.numpy() for name, values in batch.items()}
    is_event = rows["item"] > 0
    candidates = [["item-5", "item-9", "never seen"]] * len(is_event)
    found = tf.saved_model.load(str(exported)).signatures["purchase"](
        item_ids=tf.constant(
            np.where(is_event, np.char.add("item-", rows["item"].astype(str)), "")
        ),
        event_types=tf.constant(
            np.where(is_event, np.array(["", "", *EVENT_TYPES])[rows["event_type"]], "")
        ),
        timestamps=tf.constant(rows["timestamp"], tf.int64),
        session_starts=tf.constant(rows["session_start"]),
        candidate_ids=tf.constant(candidates),
    )
    assert found["is_known"].numpy().tolist() == [[True, True, False]] * len(is_event)
    after = rows["step"].max(axis=1) + 1
    row = np.repeat(np.arange(len(is_event)), 2)
    expected = saved_model.load(str(exported)).purchases(
        rows, row, after[row], np.tile([5, 9], len(is_event))
    )
    np.testing.assert_allclose(
        found["probability"].numpy()[:, :2].ravel(), expected.numpy(), atol=1e-5
    )


def test_a_dataset_without_labels_is_refused(dataset: Manifest) -> None:
    unlabelled = dataclasses.replace(dataset, config={"prepare": {"purchase_event_types": []}})
    with pytest.raises(
        ConfigError, match=r"set prepare\.purchase_event_types and run jobs/prepare"
    ):
        check_labels(unlabelled, TRAIN)
    check_labels(unlabelled, Train())
    asked = {"prepare": {"purchase_event_types": ["purchase"]}}
    splits = {
        **dataset.splits, "train": dataclasses.replace(dataset.splits["train"], labels=9, bought=2)
    }  # fmt: skip
    with pytest.raises(DataError, match=r"split valid .* found 0 bought of 0"):
        check_labels(dataclasses.replace(dataset, config=asked, splits=splits), TRAIN)
