"""The items that a step of training scores as negatives: all that it met, or a sample.

Shapes: V vocabulary, K candidates, P targets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from recsys.schemas import FIRST_ITEM
from recsys.train.noise import Noise


@dataclass(frozen=True)
class Candidates:
    """Distinct items, by rising index, against which every case of a batch is scored.

    Args:
        item_K: their indexes; None stands for the whole vocabulary, of which a model
            leaves out what training never meets
        correction_K: log of the chance of each to be a candidate, which is taken from its score;
            None where none is
    """

    item_K: tf.Tensor | None
    correction_K: tf.Tensor | None

    def uncorrected(self) -> Candidates:
        """The same, with the scores as they are."""
        return replace(self, correction_K=None)

    def columns(self, item_P: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The column of each item [P], and whether it is a candidate and the column its own [P]."""
        item_P = tf.cast(item_P, tf.int32)
        if self.item_K is None:
            return item_P, tf.ones_like(item_P, tf.bool)
        place_P = tf.searchsorted(self.item_K, item_P)
        # Behind the last one, which may be none at all, is nobody's place.
        return place_P, tf.gather(tf.concat([self.item_K, [-1]], axis=0), place_P) == item_P


EVERYTHING = Candidates(None, None)


class Sampler(tf.Module):
    """Draws negatives for a batch: items by popularity ** alpha, and the batch's own targets.

    For the cross-entropy the scores of what was drawn are corrected by the logarithm of the chance
    to be a candidate (logQ: Bengio and Senecal, 2008; Yi et al., RecSys 2019), which makes the loss
    an estimate of the one over the whole catalogue. A target itself is certain to be scored, and
    not corrected.

    Args:
        train_counts: events of train by item [V]
        negatives: items drawn for a step, with replacement; 0 leaves those of the batch
        alpha: 1 draws by popularity, 0 all alike
        from_batch: whether the targets of the batch, which is one rank's, are negatives of its
            other cases
    """

    def __init__(
        self,
        train_counts: npt.NDArray[np.int64],
        negatives: int,
        alpha: float,
        from_batch: bool = False,
    ) -> None:
        super().__init__(name="sampler")
        counts_V = train_counts.astype(np.float64)
        counts_V[:FIRST_ITEM] = 0.0
        drawn_V = np.where(counts_V > 0, np.maximum(counts_V, 1) ** alpha, 0.0)
        drawn_V /= drawn_V.sum()
        self.negatives = negatives
        self.from_batch = from_batch
        self.target_share_V = tf.constant(counts_V / counts_V.sum(), tf.float32)
        self.drawn_share_V = tf.constant(drawn_V, tf.float32)
        # In double precision, or the tail of a large catalogue would never be drawn.
        self.cumulated_V = tf.constant(np.cumsum(drawn_V), tf.float64)

    def __call__(self, item_P: tf.Tensor, noise: Noise) -> Candidates:
        """Candidates for a rank's batch with these targets; what is drawn is the same on all ranks.

        So the ranks do together what one would do with all their rows, and their gradients name
        fewer rows of the items' table.
        """
        draws = noise.shared().uniform(self.negatives) * self.cumulated_V[-1]
        drawn = tf.searchsorted(self.cumulated_V, draws, side="right")
        drawn = tf.minimum(drawn, tf.size(self.cumulated_V) - 1)
        if self.from_batch:
            drawn = tf.concat([drawn, tf.cast(item_P, tf.int32)], axis=0)
        item_K = tf.sort(tf.unique(drawn).y)
        # The logarithm of the chance that no draw gave the item.
        missed_K = _missed(self.negatives, self.drawn_share_V, item_K)
        if self.from_batch:
            missed_K += _missed(tf.size(item_P), self.target_share_V, item_K)
        # expm1 keeps what 1 - exp would round to zero.
        return Candidates(item_K, tf.math.log(-tf.math.expm1(tf.minimum(missed_K, -1e-12))))


def _missed(draws: int | tf.Tensor, share_V: tf.Tensor, item_K: tf.Tensor) -> tf.Tensor:
    """The logarithm of the chance that so many draws give none of an item [K]."""
    of_one_K = tf.math.log1p(-tf.gather(share_V, item_K))  # of an only item -inf
    return tf.math.multiply_no_nan(of_one_K, tf.cast(draws, tf.float32))
