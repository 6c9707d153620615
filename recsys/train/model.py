"""The recommender: items in, steps through a GRU, scores of the whole catalogue out.

Shapes: B rows, L events, T steps, C cases (a row's target step), V vocabulary, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from recsys.config import Train
from recsys.schemas import FIRST_ITEM, PADDING
from recsys.train.cells import GRU
from recsys.train.repeat import RepeatScores

Batch = dict[str, tf.Tensor]

_SECONDS_PER_DAY = 86400.0


@dataclass(frozen=True)
class Catalogue:
    """What the model must know of the dataset.

    Args:
        vocabulary_size: items, and the reserved indexes before them
        event_type_size: event types, and the reserved indexes before them
        train_counts: events of train by item index [V]
        features: attribute to the value index of every item [V]
        feature_sizes: attribute to the number of its value indexes
    """

    vocabulary_size: int
    event_type_size: int
    train_counts: npt.NDArray[np.int64]
    features: dict[str, npt.NDArray[np.int32]]
    feature_sizes: dict[str, int]


class Recommender(tf.Module):
    """A GRU over steps, each the sum of its items' vectors, with tied output vectors.

    A step holds all events of one instant and is a set: their order changes nothing.
    """

    def __init__(self, train: Train, catalogue: Catalogue, seed: int) -> None:
        super().__init__(name="recommender")
        width = train.embedding_size
        self.dropout = train.dropout
        self.vocabulary_size = catalogue.vocabulary_size

        def table(rows: int, name: str, offset: int) -> tf.Variable:
            values = tf.random.stateless_normal([rows, width], [seed, offset], stddev=0.05)
            return tf.Variable(values, name=name)

        self.item_embedding = table(catalogue.vocabulary_size, "item_embedding", 0)
        self.item_bias = tf.Variable(_log_popularity(catalogue.train_counts), name="item_bias")
        self.event_type_embedding = table(catalogue.event_type_size, "event_type_embedding", 1)
        self.features = {
            name: tf.constant(catalogue.features[name], tf.int32) for name in train.item_features
        }
        self.feature_embeddings = {
            name: table(catalogue.feature_sizes[name], f"{name}_embedding", 2 + offset)
            for offset, name in enumerate(train.item_features)
        }
        self.gru = GRU(width + 2, width, seed)
        self.repeat = RepeatScores(catalogue.vocabulary_size) if train.repeat else None

    def item_vectors(self) -> tf.Tensor:
        """The vector of every item [V, D]: its own, and those of its features."""
        vectors_VD = tf.convert_to_tensor(self.item_embedding)
        for name, index_V in self.features.items():
            vectors_VD += tf.gather(self.feature_embeddings[name], index_V)
        return vectors_VD

    def states(self, batch: Batch, vectors_VD: tf.Tensor, training: bool) -> tf.Tensor:
        """The state before every step and after the last [B, T + 1, D]; the first is zero."""
        inputs_BTD = self._step_inputs(batch, vectors_VD)
        inputs_BTD = self._drop(inputs_BTD, training)
        return tf.pad(self.gru(inputs_BTD), [[0, 0], [1, 0], [0, 0]])

    def _step_inputs(self, batch: Batch, vectors_VD: tf.Tensor) -> tf.Tensor:
        event_BLD = tf.gather(vectors_VD, batch["item"])
        event_BLD += tf.gather(self.event_type_embedding, batch["event_type"])
        step_N, steps = _flat_steps(batch["step"])
        rows = tf.shape(batch["step"])[0]

        def per_step(values_N: tf.Tensor, reduce: object) -> tf.Tensor:
            return reduce(values_N, step_N, rows * steps)  # type: ignore[operator]

        width = event_BLD.shape[-1]
        total = per_step(tf.reshape(event_BLD, [-1, width]), tf.math.unsorted_segment_sum)
        count = per_step(tf.ones_like(step_N, tf.float32), tf.math.unsorted_segment_sum)
        gap = per_step(tf.reshape(batch["gap_seconds"], [-1]), tf.math.unsorted_segment_max)
        start = per_step(tf.reshape(batch["session_start"], [-1]), tf.math.unsorted_segment_max)
        # The root keeps the scale of a large basket near that of a single item.
        pooled = total / tf.sqrt(tf.maximum(count, 1.0))[:, None]
        gap_days = tf.cast(tf.maximum(gap, 0), tf.float32) / _SECONDS_PER_DAY
        context = tf.stack(
            [tf.math.log1p(gap_days), tf.cast(tf.maximum(start, 0), tf.float32)], axis=1
        )
        return tf.reshape(tf.concat([pooled, context], axis=1), [rows, steps, width + 2])

    def scores(
        self, batch: Batch, row_C: tf.Tensor, step_C: tf.Tensor, training: bool = False
    ) -> tf.Tensor:
        """Scores of all items [C, V] for the given steps, from the steps before each."""
        vectors_VD = self.item_vectors()
        state_CD = self.encode(batch, row_C, step_C, vectors_VD, training)
        scores_CV = tf.matmul(state_CD, vectors_VD, transpose_b=True) + self.item_bias
        if self.repeat is None:
            return scores_CV
        places_P2, repeat_P = self.repeat_scores(batch, row_C, step_C)
        return tf.tensor_scatter_nd_add(scores_CV, places_P2, repeat_P)

    def encode(
        self,
        batch: Batch,
        row_C: tf.Tensor,
        step_C: tf.Tensor,
        vectors_VD: tf.Tensor,
        training: bool = False,
    ) -> tf.Tensor:
        """The state [C, D] before the given steps."""
        states_BTD = self.states(batch, vectors_VD, training)
        return self._drop(tf.gather_nd(states_BTD, tf.stack([row_C, step_C], axis=1)), training)

    def repeat_scores(
        self, batch: Batch, row_C: tf.Tensor, step_C: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """What the items before the given steps add: places (case, item) [P, 2] and scores [P]."""
        if self.repeat is None:
            return tf.zeros([0, 2], tf.int64), tf.zeros([0])
        step_CL = tf.gather(batch["step"], row_C)
        age_CL = tf.where(step_CL >= 0, step_C[:, None] - 1 - step_CL, -1)
        return self.repeat(tf.gather(batch["item"], row_C), age_CL)

    def _drop(self, values: tf.Tensor, training: bool) -> tf.Tensor:
        return tf.nn.dropout(values, self.dropout) if training and self.dropout else values


def _log_popularity(train_counts_V: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Scores that rank by popularity, to start from: learning need not rediscover it."""
    logs_V = np.log1p(train_counts_V.astype(np.float32))
    logs_V[:FIRST_ITEM] = 0.0
    return np.asarray(logs_V - logs_V[FIRST_ITEM:].mean(), np.float32)


def _flat_steps(step_BL: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Each event's step numbered through the batch [B * L], -1 on padding, and steps a row."""
    steps = tf.maximum(tf.reduce_max(step_BL) + 1, 1)
    row_B1 = tf.range(tf.shape(step_BL)[0])[:, None]
    return tf.reshape(tf.where(step_BL >= 0, row_B1 * steps + step_BL, -1), [-1]), steps


def target_cases(batch: Batch) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """The target steps of a batch, and their targets.

    Returns:
        row [C] and step [C] of each case, ordered by row and step; then, an entry a target event,
        case [P], item [P] and the event's place in the flat batch [P]
    """
    step_BL, target_BL = batch["step"], batch["target"]
    flat_N, steps = _flat_steps(step_BL)
    place_P = tf.where(tf.reshape(target_BL, [-1]) > 0)[:, 0]
    of_P = tf.gather(flat_N, place_P)
    is_case = tf.math.unsorted_segment_max(tf.ones_like(of_P), of_P, tf.shape(step_BL)[0] * steps)
    case_C = tf.cast(tf.where(is_case > 0)[:, 0], tf.int32)
    item_P = tf.gather(tf.reshape(batch["item"], [-1]), place_P)
    return case_C // steps, case_C % steps, tf.searchsorted(case_C, of_P), item_P, place_P


def known(item: tf.Tensor) -> tf.Tensor:
    """Whether an index stands for an item of the vocabulary."""
    return item >= FIRST_ITEM


def trim(batch: Batch) -> Batch:
    """Cuts the padding that no row of the batch needs."""
    used_L = tf.reduce_any(batch["item"] != PADDING, axis=0)
    longest = tf.maximum(tf.reduce_sum(tf.cast(used_L, tf.int32)), 1)
    return {name: values[:, :longest] for name, values in batch.items()}
