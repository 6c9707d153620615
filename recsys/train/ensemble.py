"""Several models as one, for whoever validates, exports and scores.

Shapes: C cases, P pairs, Q distinct items of the cases' histories, K items, M models, of one of
them D width, R what is read of an item.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from recsys.saved_model import ITEM_READS
from recsys.train.batch import Batch, Cases
from recsys.train.model import Recommender
from recsys.train.noise import Noise


class Ensemble(Recommender):
    """Recommenders of one configuration and one dataset that differ in their seeds; to be read.

    The mean of M products is one product of vectors M times as long: with the states divided by M
    and set side by side, and the item vectors set side by side, whoever multiplies a state with an
    item gets the mean of the scores, exactly.

    Args:
        members: the models
    """

    def __init__(self, members: Sequence[Recommender]) -> None:
        tf.Module.__init__(self, name="ensemble")  # a recommender's own parts are the members'
        self.members = list(members)
        self.width = sum(member.width for member in self.members)
        self.train = members[0].train
        self.vocabulary_size = members[0].vocabulary_size
        self.known_size = members[0].known_size
        self.purchase = members[0].purchase  # all have such a head, or none
        self.events = members[0].events
        self.reads = members[0].reads

    def encode(
        self, batch: Batch, row_C: tf.Tensor, step_C: tf.Tensor, noise: Noise | None = None
    ) -> tf.Tensor:
        """The states [C, M D] before the given steps."""
        states = [
            member.encode(own, row_C, step_C, noise)
            for member, own in zip(self.members, self._parts(batch), strict=True)
        ]
        return tf.concat(states, axis=1) / len(states)

    def _parts(self, batch: Batch) -> list[Batch]:
        """The batch for each member: of what it may bring of its items, only the member's."""
        if ITEM_READS not in batch:
            return [batch] * len(self.members)
        parts = tf.split(batch[ITEM_READS], len(self.members), axis=2)
        return [{**batch, ITEM_READS: part_BLR} for part_BLR in parts]

    def item_reads(self, item_K: tf.Tensor) -> tf.Tensor:
        """What encode and repeat_scores read of items: rows of ITEM_READS [K, M R]."""
        return tf.concat([member.item_reads(item_K) for member in self.members], axis=1)

    def item_vectors(self, item_K: tf.Tensor | None = None) -> tf.Tensor:
        """What a state with a 1 behind it is multiplied with: vectors and biases [K, M D + 1]."""
        vectors = [member.item_vectors(item_K) for member in self.members]
        bias_K1 = _mean([vectors_KE[:, -1:] for vectors_KE in vectors])
        return tf.concat([*(vectors_KE[:, :-1] for vectors_KE in vectors), bias_K1], axis=1)

    def repeat_scores(
        self,
        batch: Batch,
        row_C: tf.Tensor,
        step_C: tf.Tensor,
        state_CD: tf.Tensor,
        tiled: bool = True,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """What the items before the given steps add: places (case, item) [Q, 2] and scores [Q]."""
        states = tf.split(state_CD, len(self.members), axis=1)
        found = [
            member.repeat_scores(own, row_C, step_C, state_CD, tiled)
            for member, own, state_CD in zip(self.members, self._parts(batch), states, strict=True)
        ]
        # The places follow from the batch alone.
        return found[0][0], _mean([added_Q for _, added_Q in found])

    def pair_reads(self, item_K: tf.Tensor) -> tf.Tensor:
        """What the purchase heads read of items: vectors and biases [K, M (D + 1)]."""
        return tf.concat([member.pair_reads(item_K) for member in self.members], axis=1)

    def purchase_logits(
        self,
        batch: Batch,
        pairs: Cases,
        state_CD: tf.Tensor,
        reads_PR: tf.Tensor | None = None,
        tiled: bool = False,
    ) -> tf.Tensor:
        """The mean of the purchase heads' logits [P]."""
        count = len(self.members)
        states = tf.split(count * state_CD, count, axis=1)
        reads = [None] * count if reads_PR is None else tf.split(reads_PR, count, axis=1)
        parts = zip(self.members, states, reads, strict=True)
        return _mean(
            [
                member.purchase_logits(batch, pairs, state_CD, reads_PR, tiled)
                for member, state_CD, reads_PR in parts
            ]
        )


def _mean(values: Sequence[tf.Tensor]) -> tf.Tensor:
    return tf.add_n(values) / len(values)
