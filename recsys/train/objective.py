"""What training makes small: the losses of a batch's targets, against their candidates.

Shapes: C cases, P targets, K candidates, Q distinct items of the cases' histories, O places (case,
candidate) where a score gets something more, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import tensorflow as tf

from recsys.schemas import VALUE_WEIGHT
from recsys.train.augment import augmented
from recsys.train.batch import Batch, Cases, known, target_cases, trim
from recsys.train.batch import lanes as lanes_of
from recsys.train.candidates import EVERYTHING, Candidates, Sampler
from recsys.train.losses import CORRECTED, LOSSES, bpr_max_sum, target_weights
from recsys.train.model import Recommender
from recsys.train.noise import Noise
from recsys.train.optimizer import Gradient
from recsys.train.purchase import labels, purchase_loss_sum
from recsys.train.repeat import value_at
from recsys.train.scored import NO_NEGATIVE, Scored


def batch_loss(
    model: Recommender,
    batch: Batch,
    loss: str,
    basket_power: float,
    sampler: Sampler | None,
    noise: Noise | None,
    total: Callable[[tf.Tensor], tf.Tensor] = tf.identity,
    lanes: int = 1,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The weighted sum of the losses of a batch's known targets, and the sum of the weights.

    Divided by each other, or their totals over the ranks, they give the mean loss of a target. With
    a purchase head they give the sum of two means, which do not depend on each other's weights:
    that one, and train.purchase_weight times the mean over the targets with a purchase label.

    Args:
        model: that scores
        batch: rows
        loss: its name in LOSSES
        basket_power: see losses.target_weights
        sampler: of the candidates; None takes the whole vocabulary
        noise: of the step; None drops and changes nothing, and a sampler needs it
        total: the sum over the ranks of what each of them has; one rank's own is that already
        lanes: parts of the rows that do not need each other, so that TensorFlow can do them at once
    """
    candidates = EVERYTHING
    if sampler is not None and noise is not None:
        candidates = drawn(model, batch, loss, sampler, noise)
    vectors = vectors_to_learn(model, candidates)
    parts = [
        _sums(model, own, loss, basket_power, candidates, vectors, noise and noise.of_lane(lane))
        for lane, own in enumerate(lanes_of(batch, lanes))
    ]
    loss_sum, weight_sum, purchase_sum, labelled_targets = tf.unstack(tf.add_n(parts))
    if model.purchase is None:
        return loss_sum, weight_sum
    weights, labels_of_all = tf.unstack(total(tf.stack([weight_sum, labelled_targets])))
    # The sums over all ranks will be divided by that of the weights.
    share = model.train.purchase_weight * tf.math.divide_no_nan(weights, labels_of_all)
    return loss_sum + share * purchase_sum, weight_sum


def drawn(
    model: Recommender, batch: Batch, loss: str, sampler: Sampler, noise: Noise
) -> Candidates:
    """The candidates of a step, which all lanes share; all known targets of the batch may be."""
    item_P = model.known_only(tf.boolean_mask(batch["item"], batch["target"] > 0))
    candidates = sampler(tf.boolean_mask(item_P, known(item_P)), noise)
    return candidates if loss in CORRECTED else candidates.uncorrected()


def _sums(
    model: Recommender,
    batch: Batch,
    loss: str,
    basket_power: float,
    candidates: Candidates,
    vectors: tuple[tf.Tensor, tf.Tensor],
    noise: Noise | None,
) -> tf.Tensor:
    """Of some rows: of losses, of weights, of the purchase head's losses, and of its labels [4]."""
    cases, history, is_learnt_P = learnt(model, batch, noise)
    weight_P = _weights(model, cases, basket_power)
    state_CD = model.encode(history, cases.row_C, cases.step_C, noise)
    scored = scores_to_learn(model, history, cases, candidates, vectors, state_CD)
    own_loss = LOSSES[loss]
    if own_loss is bpr_max_sum:
        own_loss = partial(bpr_max_sum, regularization=model.train.bpr_max_regularization)
    sums = [own_loss(scored, weight_P), tf.reduce_sum(weight_P), tf.constant(0.0), tf.constant(0.0)]
    if model.purchase is not None:
        pairs, is_bought_P = _with_labels(cases, batch, is_learnt_P)
        logit_P = model.purchase_logits(history, pairs, state_CD)
        sums[2:] = purchase_loss_sum(logit_P, is_bought_P), tf.cast(tf.size(logit_P), tf.float32)
    return tf.stack(sums)


def vectors_to_learn(model: Recommender, candidates: Candidates) -> tuple[tf.Tensor, tf.Tensor]:
    """Vectors [K, D] and biases [K] of the candidates, corrected if asked.

    Of the whole vocabulary what training never meets is no candidate.
    """
    if candidates.item_K is None:
        return model.output_tower.all(), model.biases() + model.unmet_V
    bias_K = model.biases(candidates.item_K)
    if candidates.correction_K is not None:
        bias_K -= candidates.correction_K
    return model.output_tower(candidates.item_K), bias_K


def scores_to_learn(
    model: Recommender,
    batch: Batch,
    cases: Cases,
    candidates: Candidates,
    vectors: tuple[tf.Tensor, tf.Tensor],
    state_CD: tf.Tensor,
) -> Scored:
    """Scores of the targets, and of the candidates that are set against them.

    Args:
        model: that scores
        batch: rows
        cases: of them
        candidates: of these and of any others
        vectors: vectors_to_learn() of the candidates
        state_CD: before the cases' steps
    """
    candidate_KD, bias_K = vectors
    is_all = candidates.item_K is None
    target_PD = (
        tf.gather(candidate_KD, cases.item_P) if is_all else model.output_tower(cases.item_P)
    )
    bias_P = model.biases(cases.item_P)
    target_P = tf.reduce_sum(tf.gather(state_CD, cases.case_P) * target_PD, axis=1) + bias_P
    column_P, is_there_P = candidates.columns(cases.item_P)
    own_O2 = tf.boolean_mask(tf.stack([cases.case_P, column_P], axis=1), is_there_P)
    places_O2, added_O = own_O2, tf.fill([tf.shape(own_O2)[0]], NO_NEGATIVE)
    if model.repeat is not None:
        place_Q2, added_Q = model.repeat_scores(
            batch, cases.row_C, cases.step_C, state_CD, tiled=False
        )
        target_P += value_at(place_Q2, added_Q, cases, model.vocabulary_size)
        column_Q, is_there_Q = candidates.columns(place_Q2[:, 1])
        seen_Q2 = tf.stack([tf.cast(place_Q2[:, 0], tf.int32), column_Q], axis=1)
        places_O2 = tf.concat([tf.boolean_mask(seen_Q2, is_there_Q), places_O2], axis=0)
        added_O = tf.concat([tf.boolean_mask(added_Q, is_there_Q), added_O], axis=0)
    return Scored(
        target_P, cases.case_P, state_CD, candidate_KD, bias_K, places_O2, added_O,
        model.train.precision,
    )  # fmt: skip


def _weights(model: Recommender, cases: Cases, basket_power: float) -> tf.Tensor:
    """What each target weighs [P]: by its basket, its event type and its value."""
    weight_P = target_weights(cases.case_P, tf.size(cases.row_C), basket_power)
    if cases.type_P is not None:
        weight_P *= tf.gather(model.type_weights, cases.type_P)
    if cases.value_weight_P is not None:
        weight_P *= cases.value_weight_P
    return weight_P


def learnt(model: Recommender, batch: Batch, noise: Noise | None) -> tuple[Cases, Batch, tf.Tensor]:
    """The cases of a batch with the targets that are learnt, the histories that they see, and
    which of the batch's targets these are [P].
    """
    batch = trim(batch)
    row_C, step_C, case_P, item_P = target_cases(batch)
    item_P = model.known_only(item_P)
    history = {name: values for name, values in batch.items() if name != VALUE_WEIGHT}
    is_learnt_P = known(item_P)
    if noise is not None and model.train.augment.ways:
        changed = augmented(history, row_C, step_C, model.train.augment, noise.apart())
        history, step_C = changed.batch, changed.step_C
        is_learnt_P &= tf.gather(changed.is_asked_C, case_P)
    case_P, item_P = tf.boolean_mask(case_P, is_learnt_P), tf.boolean_mask(item_P, is_learnt_P)

    def of_targets(name: str) -> tf.Tensor:
        return tf.boolean_mask(tf.boolean_mask(batch[name], batch["target"] > 0), is_learnt_P)

    type_P = None if model.type_weights is None else of_targets("event_type")
    value_weight_P = of_targets(VALUE_WEIGHT) if VALUE_WEIGHT in batch else None
    return Cases(row_C, step_C, case_P, item_P, type_P, value_weight_P), history, is_learnt_P


def labelled(model: Recommender, batch: Batch) -> tuple[Cases, tf.Tensor]:
    """The targets of known items with a purchase label, and whether each was bought [P].

    The cases are all of the batch's, so that their states serve here too.
    """
    row_C, step_C, case_P, item_P = target_cases(batch)
    item_P = model.known_only(item_P)
    is_known_P = known(item_P)
    asked = [tf.boolean_mask(values_P, is_known_P) for values_P in (case_P, item_P)]
    return _with_labels(Cases(row_C, step_C, *asked), batch, is_known_P)


def _with_labels(cases: Cases, batch: Batch, is_asked_P: tf.Tensor) -> tuple[Cases, tf.Tensor]:
    """Those of the cases' targets, which are the asked ones of the batch, that have a label."""
    has_label_P, is_bought_P = (tf.boolean_mask(own, is_asked_P) for own in labels(batch))
    case_P, item_P = (tf.boolean_mask(own, has_label_P) for own in (cases.case_P, cases.item_P))
    pairs = Cases(cases.row_C, cases.step_C, case_P, item_P)
    return pairs, tf.boolean_mask(is_bought_P, has_label_P)


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
