"""The cross-entropy against many candidates, a few cases at a time.

A few cases' scores are made, and their gradients, before those of others. Of 1,024 cases and
200,000 candidates of 64 dimensions that took 488 MiB, where whole matrices took 1,659, and no more
time; nor does a step with some thousand candidates take more or less.

Shapes: C cases, c of them at a time, K candidates, P targets, p of them, O added scores, o of them,
D width, E = D + 1.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import tensorflow as tf

from recsys.train.precision import product
from recsys.train.scored import Scored, biased_product, with_one

CASES_AT_ONCE = 256

# Loss sum; gradients by state [C, D], item [K, D], bias [K], added [O] and target [P].
Tensors = tuple[tf.Tensor, ...]


def cross_entropy_sum(scored: Scored, weight_P: tf.Tensor) -> tf.Tensor:
    """Sum over targets of weight * -log(exp(target) / (exp(target) + sum_j exp(negative_j))).

    The softmax cross-entropy where a case has one target. Of several, each is set against the
    negatives alone, so that the items of a basket do not compete. The weights have no gradient.
    """

    names = ("state_CD", "item_KD", "bias_K", "added_O", "target_P")

    @tf.custom_gradient
    def fused(*parts: tf.Tensor) -> tuple[tf.Tensor, Any]:
        given = replace(scored, **dict(zip(names, parts, strict=True)))
        loss_sum, *gradients = _with_gradients(given, tf.stop_gradient(weight_P))
        return loss_sum, lambda grad: [grad * own for own in gradients]

    return fused(*(tf.convert_to_tensor(getattr(scored, name)) for name in names))


def _with_gradients(scored: Scored, weight_P: tf.Tensor) -> Tensors:
    cases, candidates = tf.shape(scored.state_CD)[0], tf.shape(scored.item_KD)[0]
    # Scores have their places in int32.
    at_once = tf.clip_by_value(tf.int32.max // tf.maximum(candidates, 1), 1, CASES_AT_ONCE)
    blocks = tf.maximum(-(-cases // at_once), 1)  # of no cases there is one of none
    rows, targets = (
        tf.TensorArray(tf.float32, blocks, element_shape=shape, infer_shape=False)
        for shape in ([None, scored.state_CD.shape[1]], [None])
    )
    item_KE = scored.biased_items()
    whole = [tf.zeros_like(part) for part in (item_KE, scored.added_O)]

    def block(number: tf.Tensor, carried: tuple[Any, ...]) -> tuple[tf.Tensor, tuple[Any, ...]]:
        loss_sum, rows, targets, by_item_KE, by_added_O = carried
        first = number * at_once
        found = _block(scored, item_KE, weight_P, first, tf.minimum(first + at_once, cases))
        by_added_O = tf.tensor_scatter_nd_update(by_added_O, found["added_o1"], found["by_added_o"])
        return number + 1, (
            loss_sum + found["loss_sum"],
            rows.write(number, found["by_state_cD"]),
            targets.write(number, found["by_target_p"]),
            by_item_KE + found["by_item_KE"],
            by_added_O,
        )

    start = (0, (tf.constant(0.0), rows, targets, *whole))
    _, (loss_sum, rows, targets, by_item_KE, by_added_O) = tf.while_loop(
        lambda number, _: number < blocks, block, start, parallel_iterations=1
    )
    by_item = by_item_KE[:, :-1], by_item_KE[:, -1]
    return loss_sum, rows.concat(), *by_item, by_added_O, targets.concat()


def _block(
    scored: Scored, item_KE: tf.Tensor, weight_P: tf.Tensor, first: tf.Tensor, last: tf.Tensor
) -> dict[str, tf.Tensor]:
    """The loss of the cases from first to before last, and its gradients."""
    state_cE = with_one(scored.state_CD[first:last])
    case_O = scored.place_O2[:, 0]
    added_o1 = tf.cast(tf.where((case_O >= first) & (case_O < last)), tf.int32)
    place_o2 = tf.gather(scored.place_O2, added_o1[:, 0]) - [first, 0]
    scores_cK = _added(
        biased_product(state_cE, item_KE, scored.precision),
        place_o2, tf.gather_nd(scored.added_O, added_o1),
    )  # fmt: skip
    largest_c = tf.reduce_max(scores_cK, axis=1)
    # The softmax but for its division, which is left to what is not as large.
    power_cK = tf.exp(scores_cK - largest_c[:, None])
    sum_c = tf.reduce_sum(power_cK, axis=1)
    normalizer_c = largest_c + tf.math.log(sum_c)
    if scored.precision != "float32":  # whose sums may be too large for few bits
        power_cK, sum_c = power_cK / sum_c[:, None], tf.ones_like(sum_c)
    begin, end = tf.unstack(tf.searchsorted(scored.case_P, [first, last]))
    case_p, weight_p = scored.case_P[begin:end] - first, weight_P[begin:end]
    margin_p = tf.gather(normalizer_c, case_p) - scored.target_P[begin:end]
    by_margin_p = weight_p * tf.sigmoid(margin_p)
    by_normalizer_c = tf.math.unsorted_segment_sum(by_margin_p, case_p, last - first)
    by_power_c = tf.math.divide_no_nan(by_normalizer_c, sum_c)
    by_state_cD = product(power_cK, scored.item_KD, scored.precision)
    weighted_cE = by_power_c[:, None] * state_cE
    return {
        "loss_sum": tf.reduce_sum(weight_p * tf.nn.softplus(margin_p)),
        "by_state_cD": by_power_c[:, None] * by_state_cD,
        "by_item_KE": product(power_cK, weighted_cE, scored.precision, transpose_a=True),
        "added_o1": added_o1,
        "by_added_o": tf.gather_nd(power_cK, place_o2) * tf.gather(by_power_c, place_o2[:, 0]),
        "by_target_p": -by_margin_p,
    }


def _added(fresh_cK: tf.Tensor, place_o2: tf.Tensor, added_o: tf.Tensor) -> tf.Tensor:
    """Scores that nobody else reads, with more at some places.

    In place: tf.tensor_scatter_nd_add copies all of them, which took a fifth of the loss's time.
    On a GPU it would lose one of two that are added at the same place.
    """
    if tf.config.list_logical_devices("GPU"):
        return tf.tensor_scatter_nd_add(fresh_cK, place_o2, added_o)
    shape = tf.shape(fresh_cK)
    place_o = place_o2[:, 0] * shape[1] + place_o2[:, 1]
    flat = tf.raw_ops.InplaceAdd(x=tf.reshape(fresh_cK, [-1]), i=place_o, v=added_o)
    return tf.reshape(flat, shape)
