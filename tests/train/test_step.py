"""What one step does with a gradient, by the keys that change it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from recsys.manifest import Manifest
from recsys.train import batches, pipeline
from recsys.train.batch import Batch
from recsys.train.optimizer import Optimizer
from recsys.train.shards import Shard
from recsys.train.trainer import Trainer
from tests.data import configuration

RATE = 0.1
ALONE = Shard(0, 1)


class Descent(Optimizer):
    """Plain gradient descent, under which a gradient's size is seen."""

    def state(self) -> list[tf.Variable]:
        return [self.steps]

    def _apply_dense(self, place: int, gradient: tf.Tensor, rate: tf.Tensor) -> None:
        self.trained[place].assign_sub(rate * gradient)

    def _apply_sparse(self, place: int, gradient: tf.IndexedSlices, rate: tf.Tensor) -> None:
        self.trained[place].scatter_sub(tf.IndexedSlices(rate * gradient.values, gradient.indices))


def _trainer(dataset: Manifest, place: Path, **keys: float | str) -> Trainer:
    more = [text for name, value in keys.items() for text in (f"--train.{name}", str(value))]
    config = configuration(
        "--paths.dataset", str(place), "--train.batch_targets_per_rank", "20",
        "--train.negatives", "10", "--train.embedding_size", "8", "--train.input_dropout", "0",
        "--train.state_dropout", "0", *more,
    )  # fmt: skip
    trainer = pipeline.build(config, dataset, ALONE, ("train",), 1)
    trainer.optimizer = Descent(trainer.variables)
    rng = np.random.default_rng(3)
    for variable in trainer.variables:
        variable.assign(rng.normal(scale=0.3, size=variable.shape))
    return trainer


def _batch(trainer: Trainer, dataset: Manifest) -> Batch:
    with batches.open_epoch(dataset, ("train",), ALONE, 20, 1, trainer.columns) as epoch:
        return next(iter(epoch))


def _expected(trainer: Trainer, batch: Batch, keys: dict[str, float], mean: float) -> list[Any]:
    """The weights after a step of descent, by hand."""
    gradients, _, weight_sum = trainer.gradients(batch)
    slopes = []
    for gradient, variable in zip(gradients, trainer.variables, strict=True):
        touched = np.ones(variable.shape[:1], bool)
        if isinstance(gradient, tf.IndexedSlices):
            touched = np.isin(np.arange(variable.shape[0]), gradient.indices)
        slope = tf.convert_to_tensor(gradient).numpy() / float(weight_sum)
        weights = variable.numpy()
        rule = keys.get("l1", 0) * np.sign(weights) + keys.get("l2", 0) * weights
        slopes.append(slope + rule * touched.reshape(-1, *[1] * (weights.ndim - 1)))
    norm = np.sqrt(sum((slope**2).sum() for slope in slopes))
    rate = RATE * min(1, keys.get("clip_norm", np.inf) / norm)
    length = float(tf.reduce_sum(batch["target"])) / len(batch["item"])
    rate *= (length / mean) ** keys.get("learning_rate_length_power", 0)
    return [
        variable.numpy() - rate * slope
        for variable, slope in zip(trainer.variables, slopes, strict=True)
    ]


@pytest.mark.parametrize(
    "keys",
    [
        {"clip_norm": 1e9},
        {"clip_norm": 0.01},
        {"clip_norm": 1e9, "l1": 0.05},
        {"clip_norm": 1e9, "l2": 0.5},
        {"clip_norm": 1e9, "learning_rate_length_power": -2.0},
        {"clip_norm": 0.02, "l1": 0.05, "l2": 0.5, "learning_rate_length_power": 1.0},
    ],
    ids=lambda keys: "-".join(keys),
)
def test_a_step_is_what_its_keys_say(
    dataset: Manifest, dataset_place: Path, keys: dict[str, float]
) -> None:
    trainer, train = _trainer(dataset, dataset_place, **keys), dataset.splits["train"]
    batch = _batch(trainer, dataset)
    expected = _expected(trainer, batch, keys, train.targets / train.rows)
    before = [variable.numpy() for variable in trainer.variables]
    trainer.train_batch(batch, tf.constant(RATE))
    for variable, own, then in zip(trainer.variables, expected, before, strict=True):
        np.testing.assert_allclose(variable.numpy() - then, own - then, rtol=1e-3, atol=1e-7)


_EVERY = {"item", "event_type", "gap_seconds", "session_start", "step", "target"}
_PLAIN = {"event_inputs": "[]", "repeat": "false"}


@pytest.mark.parametrize(
    ("keys", "spared"),
    [
        ({}, set()),
        (_PLAIN, {"event_type", "gap_seconds", "session_start"}),
        ({**_PLAIN, "event_inputs": "[session_start]"}, {"event_type", "gap_seconds"}),
        ({**_PLAIN, "event_inputs": "[dwell]"}, {"event_type"}),
        ({**_PLAIN, "event_inputs": "[gap]"}, {"event_type", "session_start"}),
        ({**_PLAIN, "repeat": "true"}, {"event_type", "session_start"}),
        ({**_PLAIN, "augment.crop": "0.5"}, {"event_type"}),
        ({**_PLAIN, "event_type_weights": "{view: 2}"}, {"gap_seconds", "session_start"}),
    ],
)
def test_a_step_reads_what_it_needs(
    dataset: Manifest, dataset_place: Path, keys: dict[str, str], spared: set[str]
) -> None:
    trainer = _trainer(dataset, dataset_place, **keys)
    assert set(trainer.columns) == _EVERY - spared
    with batches.open_epoch(dataset, ("train",), ALONE, 20, 1) as epoch:
        everything = next(iter(epoch))
    found, expected = (
        trainer.gradients(batch)[0] for batch in (_batch(trainer, dataset), everything)
    )
    for own, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(tf.convert_to_tensor(own), tf.convert_to_tensor(other))


@pytest.mark.parametrize("name", ["embedding_dropout", "input_dropout", "state_dropout"])
def test_dropout_is_for_learning_alone(dataset: Manifest, dataset_place: Path, name: str) -> None:
    plain, dropping = (_trainer(dataset, dataset_place, **{name: share}) for share in (0.0, 0.7))
    batch = _batch(plain, dataset)
    learnt = [float(own.loss(batch, own.noise())[0]) for own in (plain, dropping)]
    assert abs(learnt[0] - learnt[1]) > 1e-3 * learnt[0]
    judged = [float(own.loss(batch, None)[0]) for own in (plain, dropping)]
    assert judged[0] == judged[1]
