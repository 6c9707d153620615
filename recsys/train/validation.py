"""The ranks of validation's targets among all items, for so many cases at a time as memory allows.

Shapes: C cases, D width, E what a state with a 1 behind it is multiplied with, V vocabulary,
P targets, L events, K the best of a case.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from recsys import ranking
from recsys.train.batch import Batch, known, target_cases, trim
from recsys.train.model import Recommender
from recsys.train.objective import labelled
from recsys.train.progress import AT

# That are made at once: 128 MiB. All those of a step would be gigabytes at a million items.
SCORES_AT_ONCE = 2**25

Ints = npt.NDArray[np.int32]


class TargetRanks:
    """Ranks the targets of batches.

    Args:
        model: that scores
        exclude_history: whether what the history holds is out of the lists
        batch: what the batches hold
        scores_at_once: at most, unless each lane has a single case with more
        lanes: parts of a batch's cases that are ranked at the same time
    """

    def __init__(
        self,
        model: Recommender,
        exclude_history: bool,
        batch: dict[str, tf.TensorSpec],
        scores_at_once: int = SCORES_AT_ONCE,
        lanes: int = 1,
    ) -> None:
        self.model, self._exclude_history = model, exclude_history
        self._lanes, self._pool = lanes, ThreadPoolExecutor(lanes) if lanes > 1 else None
        self._cases_at_once = max(1, scores_at_once // model.vocabulary_size // lanes)
        compiled = partial(tf.function, autograph=False)
        self._encode = compiled(self._encoded, input_signature=[batch])
        integers, state_CD = tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, model.width])
        vectors_VE = tf.TensorSpec([model.vocabulary_size, model.width + 1])
        few = [batch, *[integers] * 4, state_CD, vectors_VE]
        self._rank = compiled(self._ranked, input_signature=few)

    def of(self, batch: Batch, vectors_VE: tf.Tensor) -> tuple[int, Ints, Ints, list[tf.Tensor]]:
        """The targets of a batch.

        Args:
            batch: rows
            vectors_VE: the model's, of all items

        Returns:
            how many cases there are; case [P] and rank [P] of each target, 0 where it is behind the
            last place that counts or no known item; and of a model with a purchase head the
            probabilities of the targets that have a label, and their labels
        """
        row_C, step_C, state_CD, case_P, item_P, *of_head = self._encode(batch)
        cases, case_P, item_P = len(row_C), case_P.numpy(), item_P.numpy()
        rank_P = np.zeros(len(case_P), np.int32)
        at_once = max(1, min(self._cases_at_once, -(-cases // self._lanes)))

        def rank(begin: int) -> None:
            few = slice(begin, begin + at_once)
            is_of_few_P = (case_P >= few.start) & (case_P < few.stop)
            own = (case_P[is_of_few_P] - begin, item_P[is_of_few_P])
            rank_P[is_of_few_P] = self._rank(
                batch, row_C[few], step_C[few], *own, state_CD[few], vectors_VE
            )

        begins = range(0, cases, at_once)
        # TensorFlow lets go of Python's lock.
        list(self._pool.map(rank, begins) if self._pool else map(rank, begins))
        return cases, case_P, rank_P, of_head

    def _encoded(self, batch: Batch) -> tuple[tf.Tensor, ...]:
        batch = trim(batch)
        row_C, step_C, case_P, item_P = target_cases(batch)
        state_CD = self.model.encode(batch, row_C, step_C)
        found = row_C, step_C, state_CD, case_P, item_P
        if self.model.purchase is None:
            return found
        pairs, is_bought_P = labelled(self.model, batch)
        return *found, tf.sigmoid(self.model.purchase_logits(batch, pairs, state_CD)), is_bought_P

    def _ranked(
        self, batch: Batch, row_C: tf.Tensor, step_C: tf.Tensor, case_P: tf.Tensor,
        item_P: tf.Tensor, state_CD: tf.Tensor, vectors_VE: tf.Tensor,
    ) -> tf.Tensor:  # fmt: skip
        batch = trim(batch)
        scores_CV = self.model.scores_of(batch, row_C, step_C, state_CD, vectors_VE)
        seen_CL = None
        if self._exclude_history:
            is_seen_CL = tf.gather(batch["step"], row_C) < step_C[:, None]
            seen_CL = tf.where(is_seen_CL, tf.gather(batch["item"], row_C), 0)
        *_, rank_P = ranking.listed(scores_CV, case_P, item_P, AT[-1] + 1, seen_CL)
        return tf.where(known(self.model.known_only(item_P)), rank_P, 0)
