"""What training makes small: the losses of a batch's targets, against their candidates."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from recsys.train.augment import augmented
from recsys.train.batch import Batch, Cases, known, target_cases, trim
from recsys.train.candidates import EVERYTHING, Sampler
from recsys.train.losses import LOSSES, target_weights
from recsys.train.model import Recommender
from recsys.train.noise import Noise
from recsys.train.optimizer import Gradient


def batch_loss(
    model: Recommender,
    batch: Batch,
    loss: str,
    basket_power: float,
    sampler: Sampler | None,
    noise: Noise | None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The weighted sum of the losses of a batch's known targets, and the sum of the weights.

    Args:
        model: that scores
        batch: rows
        loss: its name in LOSSES
        basket_power: see losses.target_weights
        sampler: of the candidates; None takes the whole vocabulary
        noise: of the step; None drops and changes nothing, and a sampler needs it
    """
    cases, history = learnt(model, batch, noise)
    weight_P = target_weights(cases.case_P, tf.size(cases.row_C), basket_power)
    candidates = EVERYTHING
    if sampler is not None and noise is not None:
        candidates = sampler(cases.item_P, noise)
    scored = model.scores_to_learn(history, cases, candidates, noise)
    return LOSSES[loss](scored, weight_P), tf.reduce_sum(weight_P)


def learnt(model: Recommender, batch: Batch, noise: Noise | None) -> tuple[Cases, Batch]:
    """The cases of a batch with the targets that are learnt, and the histories that they see."""
    batch = trim(batch)
    row_C, step_C, case_P, item_P = target_cases(batch)
    item_P = model.known_only(item_P)
    is_asked_P, history = known(item_P), batch
    if noise is not None and model.train.augment.ways:
        changed = augmented(batch, row_C, step_C, model.train.augment, noise.apart())
        history, step_C = changed.batch, changed.step_C
        is_asked_P &= tf.gather(changed.is_asked_C, case_P)
    case_P, item_P = tf.boolean_mask(case_P, is_asked_P), tf.boolean_mask(item_P, is_asked_P)
    return Cases(row_C, step_C, case_P, item_P), history


def penalized(
    gradients: Sequence[Gradient], variables: Sequence[tf.Variable], l1: float, l2: float
) -> list[Gradient]:
    """The gradients of loss + l1 * sum |w| + l2 / 2 * sum w^2, from those of the loss.

    Of a table with a sparse gradient only the rows that it names are made smaller, or every step
    would touch the whole catalogue.
    """
    pairs = zip(gradients, variables, strict=True)
    return [_penalized(gradient, variable, l1, l2) for gradient, variable in pairs]


def _penalized(gradient: Gradient, variable: tf.Variable, l1: float, l2: float) -> Gradient:
    if isinstance(gradient, tf.IndexedSlices):
        weights = tf.gather(variable, gradient.indices)
        values = gradient.values + l1 * tf.sign(weights) + l2 * weights
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return gradient + l1 * tf.sign(variable) + l2 * variable
