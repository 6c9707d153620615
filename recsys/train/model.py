"""The recommender: items in, steps through a recurrent network, scores of items out.

Shapes: B rows, L events, T steps, C cases (a row's target step), P pairs of a step and an item,
Q distinct items of the cases' histories, K items, V all of them, D width, E = D + 1, H = D or, with
attention, 3 D, R what is read of an item.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from recsys.config import Train
from recsys.saved_model import ITEM_READS
from recsys.schemas import FIRST_ITEM, UNKNOWN
from recsys.train.batch import Batch, Cases, before, pooled
from recsys.train.cells import Stack
from recsys.train.inputs import EventInputs, unread
from recsys.train.noise import Noise
from recsys.train.purchase import PurchaseHead
from recsys.train.readout import Attention
from recsys.train.repeat import RepeatScores, seen
from recsys.train.scored import NO_NEGATIVE, with_one
from recsys.train.tower import Catalogue, ItemTower
from recsys.train.unit import unit


class Recommender(tf.Module):
    """A recurrent network over steps, each the sum of its items' vectors.

    A state is multiplied with the same vectors of items, or with others, of a tower apart.

    A step holds all events of one instant and is a set: their order changes nothing.

    Args:
        train: the configuration
        catalogue: what is known of the items
        seed: of the start
    """

    def __init__(self, train: Train, catalogue: Catalogue, seed: int) -> None:
        super().__init__(name="recommender")
        self.width = width = train.embedding_size  # of a state
        self.train = train
        self.vocabulary_size = catalogue.vocabulary_size
        self.tower = ItemTower(catalogue, width, train.normalize, seed)
        self.output = None
        if not train.tied_output:
            self.output = ItemTower(catalogue, width, train.normalize, seed, beside=self.tower)
        self.events = EventInputs(
            train.event_inputs, catalogue.event_type_size, catalogue.inputs, width
        )
        # A module has the variables of its own attributes, and EventInputs is none. In which order
        # follows from the names: that is the order of checkpoints.
        self.event_tables = self.events.tables
        self.type_weights = catalogue.type_weights
        self.stack = Stack(
            train.cell, width + self.events.numbers, width, train.layers, seed, train.precision
        )
        # Nothing is known of an item that training never meets and that has no features.
        self.known_size = catalogue.known_size or catalogue.vocabulary_size
        met_V = catalogue.train_counts > 0
        has_vector_V = met_V | self.tower.has_features()
        has_vector_V[self.known_size :] = False
        self.unlearnt_V = tf.constant(np.where(has_vector_V, 0.0, NO_NEGATIVE), tf.float32)
        # Always set against the targets, and never one of them, it would be learnt to be no answer.
        self.unmet_V = tf.constant(np.where(met_V, 0.0, NO_NEGATIVE), tf.float32)
        self.attention = Attention(width, seed) if train.readout == "attention" else None
        # Normalized vectors are there to keep popularity out of the scores.
        start_V = _log_popularity(catalogue.train_counts, 0.0 if train.normalize else 1.0)
        self.item_bias = None if train.normalize else tf.Variable(start_V, name="item_bias")
        self.repeat = RepeatScores(catalogue.vocabulary_size, width) if train.repeat else None
        self.purchase = None
        if train.purchase_weight:
            self.purchase = PurchaseHead(
                width, catalogue.vocabulary_size, catalogue.event_type_size, seed
            )
        # An export takes all arrays of events.columns.
        self.reads = self._reads()

    @property
    def features(self) -> list[tf.Variable]:
        """What is known of the items."""
        return [*self.tower.categories.values(), *self.tower.vectors.values()]

    def _reads(self) -> tuple[str, ...]:
        """The arrays of histories that learning and ranking look at."""
        spared = unread(self.train.event_inputs)
        if self.repeat is not None:
            spared -= {"gap_seconds"}
        if self.purchase is not None or self.type_weights is not None:
            spared -= {"event_type"}
        if self.train.augment.ways:
            spared -= {"gap_seconds", "session_start"}
        return tuple(name for name in self.events.columns if name not in spared)

    @property
    def output_tower(self) -> ItemTower:
        """What gives the vectors that states are multiplied with."""
        return self.tower if self.output is None else self.output

    def encode(
        self, batch: Batch, row_C: tf.Tensor, step_C: tf.Tensor, noise: Noise | None = None
    ) -> tf.Tensor:
        """The state [C, D] before the given steps, to be multiplied with item vectors.

        With noise, which is for training, parts of it are dropped.
        """
        inputs_BTD = self.step_inputs(before(batch, step_C), noise)
        states_BTH = self.stack(inputs_BTD, by_step=noise is None)
        if self.attention is not None:
            items_BTD, _ = tf.split(inputs_BTD, [self.tower.width, self.events.numbers], axis=2)
            states_BTH = self.attention(states_BTH, items_BTD, by_step=noise is None)
        before_BTH = tf.pad(states_BTH, [[0, 0], [1, 0], [0, 0]])
        state_CD = tf.gather_nd(before_BTH, tf.stack([row_C, step_C], axis=1))
        state_CD = _drop(state_CD, self.train.state_dropout, noise)
        if self.attention is not None:
            state_CD = self.attention.project(state_CD, tiled=noise is None)
        if not self.train.normalize:
            return state_CD
        return self.train.scale * unit(state_CD)

    def known_only(self, item: tf.Tensor) -> tf.Tensor:
        """Item indexes, the unknown item in place of those that the model does not know."""
        return tf.where(item < self.known_size, item, UNKNOWN)

    def step_inputs(self, batch: Batch, noise: Noise | None) -> tf.Tensor:
        """What the network reads [B, T, D and the numbers of a step]."""
        batch = self._known(batch)
        event_BLD = self.events.add_vectors(self._read_items(batch), batch)
        event_BLD = _drop(event_BLD, self.train.embedding_dropout, noise)
        vectors_BTD = pooled(event_BLD, batch["step"])
        numbers = [number_BT[:, :, None] for number_BT in self.events.step_numbers(batch)]
        return _drop(tf.concat([vectors_BTD, *numbers], axis=2), self.train.input_dropout, noise)

    def _known(self, batch: Batch) -> Batch:
        """The batch, the unknown item in place of those that the model does not know."""
        return {**batch, "item": self.known_only(batch["item"])}

    def _read_items(self, batch: Batch) -> tf.Tensor:
        """The vectors of the events' items [B, L, D]: the batch may bring them."""
        if ITEM_READS in batch:
            return batch[ITEM_READS][..., : self.tower.width]
        return self.tower(batch["item"])

    def item_reads(self, item_K: tf.Tensor) -> tf.Tensor:
        """What encode and repeat_scores read of items: rows of ITEM_READS [K, R]."""
        item_K = self.known_only(item_K)
        vectors_KD = self.tower(item_K)
        if self.repeat is None:
            return vectors_KD
        return tf.concat([vectors_KD, self.repeat.of_items(item_K)], axis=1)

    def scores(self, batch: Batch, row_C: tf.Tensor, step_C: tf.Tensor) -> tf.Tensor:
        """Scores of the vocabulary [C, V] for the given steps, from the steps before each."""
        return self.scores_of(batch, row_C, step_C, self.encode(batch, row_C, step_C))

    def scores_of(
        self,
        batch: Batch,
        row_C: tf.Tensor,
        step_C: tf.Tensor,
        state_CD: tf.Tensor,
        vectors_VE: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """The same from the states before the steps, and item_vectors, where these are known."""
        vectors_VE = self.item_vectors() if vectors_VE is None else vectors_VE
        scores_CV = tf.matmul(with_one(state_CD), vectors_VE, transpose_b=True)
        place_Q2, added_Q = self.repeat_scores(batch, row_C, step_C, state_CD)
        return tf.tensor_scatter_nd_add(scores_CV, place_Q2, added_Q)

    def item_vectors(self, item_K: tf.Tensor | None = None) -> tf.Tensor:
        """What a state with a 1 behind it is multiplied with: vectors and biases [K, D + 1]."""
        tower = self.output_tower
        vectors_KD = tower.all() if item_K is None else tower(item_K)
        return tf.concat([vectors_KD, tf.expand_dims(self.biases(item_K), 1)], axis=1)

    def biases(self, item_N: tf.Tensor | None = None) -> tf.Tensor:
        """Biases of items [N], or of all [V]; looked up one by one, their gradient stays sparse."""
        parts = [self.unlearnt_V] if self.item_bias is None else [self.unlearnt_V, self.item_bias]
        if item_N is not None:
            parts = [tf.gather(part, item_N) for part in parts]
        return tf.add_n([tf.convert_to_tensor(part) for part in parts])

    def pair_reads(self, item_K: tf.Tensor) -> tf.Tensor:
        """What the purchase head reads of items: vectors and biases [K, D + 1].

        Raises:
            ValueError: the model has no such head
        """
        item_K = self.known_only(item_K)
        bias_K = tf.gather(self._head.item_bias, item_K)
        return tf.concat([self.output_tower(item_K), bias_K[:, None]], axis=1)

    @property
    def _head(self) -> PurchaseHead:
        if self.purchase is None:
            raise ValueError("expected a model with a purchase head, found one without")
        return self.purchase

    def purchase_logits(
        self,
        batch: Batch,
        pairs: Cases,
        state_CD: tf.Tensor,
        reads_PR: tf.Tensor | None = None,
        tiled: bool = False,
    ) -> tf.Tensor:
        """The purchase head's logits [P] for items that come at the given steps.

        Args:
            batch: rows
            pairs: of steps and items, which need not be targets
            state_CD: before the steps
            reads_PR: pair_reads of the pairs' items, where somebody looked them up already
            tiled: multiply in_tiles, so that a pair's last bits are its own

        Raises:
            ValueError: the model has no such head
        """
        row_P, step_P = (tf.gather(values, pairs.case_P) for values in (pairs.row_C, pairs.step_C))
        count_PE = self._head.earlier(self._known(batch), row_P, step_P, pairs.item_P)
        state_PD = tf.gather(state_CD, pairs.case_P)
        if reads_PR is None:
            reads_PR = self.pair_reads(pairs.item_P)
        return self._head(state_PD, reads_PR[:, :-1], count_PE, reads_PR[:, -1], tiled)

    def repeat_scores(
        self,
        batch: Batch,
        row_C: tf.Tensor,
        step_C: tf.Tensor,
        state_CD: tf.Tensor,
        tiled: bool = True,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """What the items before the given steps add: places (case, item) [Q, 2] and scores [Q].

        Args:
            batch: rows
            row_C: of the steps
            step_C: the steps
            state_CD: before them
            tiled: as of RepeatScores
        """
        if self.repeat is None:
            return tf.zeros([0, 2], tf.int64), tf.zeros([0])
        own_BL2 = batch[ITEM_READS][..., self.tower.width :] if ITEM_READS in batch else None
        history = seen(self._known(batch), row_C, step_C, own_BL2)
        return self.repeat(history, state_CD, tiled)


def _drop(values: tf.Tensor, share: float, noise: Noise | None) -> tf.Tensor:
    return values if noise is None else noise.drop(values, share)


def _log_popularity(
    train_counts_V: npt.NDArray[np.int64], factor: float
) -> npt.NDArray[np.float32]:
    """Scores that rank by popularity, to start from: learning need not rediscover it."""
    logs_V = np.log1p(train_counts_V.astype(np.float32))
    logs_V[:FIRST_ITEM] = 0.0
    return np.asarray(factor * (logs_V - logs_V[FIRST_ITEM:].mean()), np.float32)
