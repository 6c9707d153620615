"""The recommender: items in, steps through a recurrent network, scores of items out.

Shapes: B rows, L events, T steps, C cases (a row's target step), K candidates, D width.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from recsys.config import Train
from recsys.saved_model import ITEM_READS
from recsys.schemas import FIRST_ITEM, UNKNOWN
from recsys.train.batch import Batch, Cases, before, flat_steps, step_days
from recsys.train.candidates import Candidates
from recsys.train.cells import Stack
from recsys.train.inputs import EventInputs, again, unread
from recsys.train.noise import Noise
from recsys.train.purchase import PurchaseHead
from recsys.train.readout import Attention
from recsys.train.repeat import RepeatScores, value_at
from recsys.train.scored import NO_NEGATIVE, Scored, with_one
from recsys.train.tower import Catalogue, ItemTower


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
        self.event_tables = self.events.tables
        self.type_weights = catalogue.type_weights
        self.stack = Stack(
            train.cell, width + self.events.numbers, width, train.layers, seed, train.precision
        )
        # Nothing is known of an item that training never meets and that has no features.
        self.known_size = catalogue.known_size or catalogue.vocabulary_size
        met_V = catalogue.train_counts > 0
        has_vector_V = met_V | bool(catalogue.categories or catalogue.vectors)
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
        states_BTE = self.stack(inputs_BTD, by_step=noise is None)
        if self.attention is not None:
            items_BTD, _ = tf.split(inputs_BTD, [self.tower.width, self.events.numbers], axis=2)
            states_BTE = self.attention(states_BTE, items_BTD, by_step=noise is None)
        before_BTE = tf.pad(states_BTE, [[0, 0], [1, 0], [0, 0]])
        state_CD = tf.gather_nd(before_BTE, tf.stack([row_C, step_C], axis=1))
        state_CD = _drop(state_CD, self.train.state_dropout, noise)
        if self.attention is not None:
            state_CD = self.attention.project(state_CD, tiled=noise is None)
        if not self.train.normalize:
            return state_CD
        return self.train.scale * tf.math.l2_normalize(state_CD, axis=1)

    def known_only(self, item: tf.Tensor) -> tf.Tensor:
        """Item indexes, the unknown item in place of those that the model does not know."""
        return tf.where(item < self.known_size, item, UNKNOWN)

    def step_inputs(self, batch: Batch, noise: Noise | None) -> tf.Tensor:
        """What the network reads [B, T, D and the numbers of a step]."""
        event_BLD = self._read_items(batch)
        event_BLD = self.events.add_vectors(event_BLD, batch)
        event_BLD = _drop(event_BLD, self.train.embedding_dropout, noise)
        if "again" in self.train.event_inputs:
            known_only = {**batch, "item": self.known_only(batch["item"])}
            batch = {**batch, "again": again(known_only)}
        step_N, steps = flat_steps(batch["step"])
        rows = tf.shape(batch["step"])[0]
        segments = rows * steps

        def largest(name: str) -> tf.Tensor:
            values_N = tf.reshape(batch[name], [-1])
            per_step = tf.math.unsorted_segment_max(values_N, step_N, segments)
            return tf.cast(tf.maximum(per_step, 0), tf.float32)

        events_ND = tf.reshape(event_BLD, [-1, self.tower.width])
        total = tf.math.unsorted_segment_sum(events_ND, step_N, segments)
        count = tf.math.unsorted_segment_sum(tf.ones_like(step_N, tf.float32), step_N, segments)
        # The root keeps the scale of a large basket near that of a single item.
        pooled = total / tf.sqrt(tf.maximum(count, 1.0))[:, None]
        numbers = [number[:, None] for number in self.events.step_numbers(largest)]
        width = self.tower.width + self.events.numbers
        inputs_BTD = tf.reshape(tf.concat([pooled, *numbers], axis=1), [rows, steps, width])
        return _drop(inputs_BTD, self.train.input_dropout, noise)

    def _read_items(self, batch: Batch) -> tf.Tensor:
        """The vectors of the events' items [B, L, D]: the batch may bring them."""
        if ITEM_READS in batch:
            return batch[ITEM_READS][..., : self.tower.width]
        return self.tower(self.known_only(batch["item"]))

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
        place_P2, added_P = self.repeat_scores(batch, row_C, step_C, state_CD)
        return tf.tensor_scatter_nd_add(scores_CV, place_P2, added_P)

    def item_vectors(self, item_K: tf.Tensor | None = None) -> tf.Tensor:
        """What a state with a 1 behind it is multiplied with: vectors and biases [K, D + 1]."""
        tower = self.output_tower
        vectors_KD = tower.all() if item_K is None else tower(item_K)
        return tf.concat([vectors_KD, tf.expand_dims(self._bias(item_K), 1)], axis=1)

    def _bias(self, item_N: tf.Tensor | None = None) -> tf.Tensor:
        """Of the items [N], or of all [V]; looked up one by one, its gradient stays sparse."""
        parts = [self.unlearnt_V] if self.item_bias is None else [self.unlearnt_V, self.item_bias]
        if item_N is not None:
            parts = [tf.gather(part, item_N) for part in parts]
        return tf.add_n([tf.convert_to_tensor(part) for part in parts])

    def scores_to_learn(
        self,
        batch: Batch,
        cases: Cases,
        candidates: Candidates,
        vectors: tuple[tf.Tensor, tf.Tensor],
        state_CD: tf.Tensor,
    ) -> Scored:
        """Scores of the targets, and of the candidates that are set against them.

        Args:
            batch: rows
            cases: of them
            candidates: of these and of any others
            vectors: vectors_to_learn() of the candidates
            state_CD: before the cases' steps
        """
        candidate_KD, bias_K = vectors
        is_all = candidates.item_K is None
        target_PD = (
            tf.gather(candidate_KD, cases.item_P) if is_all else self.output_tower(cases.item_P)
        )
        bias_P = self._bias(cases.item_P)
        target_P = tf.reduce_sum(tf.gather(state_CD, cases.case_P) * target_PD, axis=1) + bias_P
        column_P, is_there_P = candidates.columns(cases.item_P)
        own_O2 = tf.boolean_mask(tf.stack([cases.case_P, column_P], axis=1), is_there_P)
        places_O2, added_O = own_O2, tf.fill([tf.shape(own_O2)[0]], NO_NEGATIVE)
        if self.repeat is not None:
            place_Q2, added_Q = self.repeat_scores(
                batch, cases.row_C, cases.step_C, state_CD, tiled=False
            )
            target_P += value_at(place_Q2, added_Q, cases, self.vocabulary_size)
            column_Q, is_there_Q = candidates.columns(place_Q2[:, 1])
            seen_Q2 = tf.stack([tf.cast(place_Q2[:, 0], tf.int32), column_Q], axis=1)
            places_O2 = tf.concat([tf.boolean_mask(seen_Q2, is_there_Q), places_O2], axis=0)
            added_O = tf.concat([tf.boolean_mask(added_Q, is_there_Q), added_O], axis=0)
        return Scored(
            target_P, cases.case_P, state_CD, candidate_KD, bias_K, places_O2, added_O,
            self.train.precision,
        )  # fmt: skip

    def pair_reads(self, item_K: tf.Tensor) -> tf.Tensor:
        """What the purchase head reads of items: vectors and biases [K, D + 1].

        Raises:
            ValueError: the model has no such head
        """
        if self.purchase is None:
            raise ValueError("expected a model with a purchase head, found one without")
        item_K = self.known_only(item_K)
        bias_K = tf.gather(self.purchase.item_bias, item_K)
        return tf.concat([self.output_tower(item_K), bias_K[:, None]], axis=1)

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
        if self.purchase is None:
            raise ValueError("expected a model with a purchase head, found one without")
        row_P, step_P = (tf.gather(values, pairs.case_P) for values in (pairs.row_C, pairs.step_C))
        known = {**batch, "item": self.known_only(batch["item"])}
        count_PE = self.purchase.earlier(known, row_P, step_P, pairs.item_P)
        state_PD = tf.gather(state_CD, pairs.case_P)
        if reads_PR is None:
            reads_PR = self.pair_reads(pairs.item_P)
        return self.purchase(state_PD, reads_PR[:, :-1], count_PE, reads_PR[:, -1], tiled)

    def vectors_to_learn(self, candidates: Candidates) -> tuple[tf.Tensor, tf.Tensor]:
        """Vectors [K, D] and biases [K] of the candidates, corrected if asked.

        Of the whole vocabulary what training never meets is no candidate.
        """
        if candidates.item_K is None:
            return self.output_tower.all(), self._bias() + self.unmet_V
        bias_K = self._bias(candidates.item_K)
        if candidates.correction_K is not None:
            bias_K -= candidates.correction_K
        return self.output_tower(candidates.item_K), bias_K

    def repeat_scores(
        self,
        batch: Batch,
        row_C: tf.Tensor,
        step_C: tf.Tensor,
        state_CD: tf.Tensor,
        tiled: bool = True,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """What the items before the given steps add: places (case, item) [P, 2] and scores [P].

        Args:
            batch: rows
            row_C: of the steps
            step_C: the steps
            state_CD: before them
            tiled: as of RepeatScores
        """
        if self.repeat is None:
            return tf.zeros([0, 2], tf.int64), tf.zeros([0])
        step_CL = tf.gather(batch["step"], row_C)
        age_CL = tf.where(step_CL >= 0, step_C[:, None] - 1 - step_CL, -1)
        days_BL = step_days(batch)
        is_latest_CL = step_CL == step_C[:, None] - 1
        # Step 0 has nothing before it; its cases have no events either.
        latest_C1 = tf.reduce_max(
            tf.where(is_latest_CL, tf.gather(days_BL, row_C), 0.0), axis=1, keepdims=True
        )
        days_CL = latest_C1 - tf.gather(days_BL, row_C)
        item_CL = tf.gather(self.known_only(batch["item"]), row_C)
        own_CL2 = None
        if ITEM_READS in batch:
            own_CL2 = tf.gather(batch[ITEM_READS][..., self.tower.width :], row_C)
        return self.repeat(item_CL, age_CL, days_CL, state_CD, own_CL2, tiled)


def _drop(values: tf.Tensor, share: float, noise: Noise | None) -> tf.Tensor:
    return values if noise is None else noise.drop(values, share)


def _log_popularity(
    train_counts_V: npt.NDArray[np.int64], factor: float
) -> npt.NDArray[np.float32]:
    """Scores that rank by popularity, to start from: learning need not rediscover it."""
    logs_V = np.log1p(train_counts_V.astype(np.float32))
    logs_V[:FIRST_ITEM] = 0.0
    return np.asarray(factor * (logs_V - logs_V[FIRST_ITEM:].mean()), np.float32)
