"""Ranks, the tie rule and top-k: once, for train, evaluate and score.

TensorFlow is loaded when a function first needs it, so that rooms of Spark can import this one.
Shapes: C cases, V vocabulary, K length of a list, P targets, L events.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from recsys import files
from recsys.schemas import FIRST_ITEM

if TYPE_CHECKING:
    import tensorflow as tf

Ints = npt.NDArray[np.int32]


def without_reserved(scores_CV: Any) -> tf.Tensor:
    """The scores with padding and the unknown item out of every list."""
    import tensorflow as tf

    scores_CV = tf.convert_to_tensor(scores_CV, tf.float32)
    worst = tf.fill([tf.shape(scores_CV)[0], FIRST_ITEM], tf.float32.min)
    return tf.concat([worst, scores_CV[:, FIRST_ITEM:]], axis=1)


def without_history(scores_CV: Any, item_CL: Any) -> tf.Tensor:
    """The scores with the items of each case's history out of its list."""
    import tensorflow as tf

    scores_CV = tf.convert_to_tensor(scores_CV, tf.float32)
    cases, events = tf.unstack(tf.shape(item_CL))
    case_N = tf.repeat(tf.range(cases), events)
    places_N2 = tf.stack([case_N, tf.reshape(tf.cast(item_CL, tf.int32), [-1])], axis=1)
    worst_N = tf.fill([cases * events], tf.float32.min)
    return tf.tensor_scatter_nd_min(scores_CV, places_N2, worst_N)


def top_k(scores_CV: Any, k: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The k best scores and their items [C, K], best first; of equal ones the lower index."""
    import tensorflow as tf

    return tuple(tf.math.top_k(scores_CV, k=min(k, scores_CV.shape[1])))


def target_ranks(top_scores_CK: Any, target_score_P: Any, case_P: Any) -> tf.Tensor:
    """The rank of each target in its case's list [P], from 1; 0 where it is not in the list.

    Ties count against the system: a target's rank is the number of items that score at least as
    much. For lists of K, give the K + 1 best scores: the last one tells a tie that goes on
    beyond the list, and a target that is no better than it has no rank.
    """
    import tensorflow as tf

    top_PK = tf.gather(tf.convert_to_tensor(top_scores_CK), case_P)
    target_P1 = tf.convert_to_tensor(target_score_P)[:, None]
    rank_P = tf.reduce_sum(tf.cast(top_PK >= target_P1, tf.int32), axis=1)
    return tf.where(rank_P < tf.shape(top_PK)[1], rank_P, 0)


def limit_threads(threads: int) -> None:
    """Keeps TensorFlow to its share of the machine, in a process where it has not started yet.

    A Spark worker has `spark.task.cpus` cores; TensorFlow would take all that there are.
    """
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(threads))
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", str(threads))


class Ranker:
    """An exported model, ready to score histories.

    Args:
        export: URL of the SavedModel
    """

    def __init__(self, export: str) -> None:
        import tensorflow as tf

        self._model = tf.saved_model.load(files.local_copy(export))

    def cases(self, rows: dict[str, Ints]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Row [C], step [C] and scores [C, V] of every target step, by row and step."""
        found = self._model.signatures["cases"](**_inputs(rows, "target"))
        return found["row"], found["step"], found["scores"]

    def scores(self, rows: dict[str, Ints]) -> tf.Tensor:
        """Scores [B, V] of what comes after the last step of every row."""
        return self._model.signatures["scores"](**_inputs(rows))["scores"]

    def encode(self, rows: dict[str, Ints]) -> dict[str, tf.Tensor]:
        """Vectors [B, D + 1] of the rows, and what their own items add (row, item, added) [P]."""
        found: dict[str, tf.Tensor] = self._model.signatures["encode"](**_inputs(rows))
        return found

    def items(self) -> tf.Tensor:
        """Vectors [V, D + 1] of the items: times a row's vector they are its scores."""
        return self._model.signatures["items"]()["vectors"]


def _inputs(rows: dict[str, Ints], *more: str) -> dict[str, tf.Tensor]:
    import tensorflow as tf

    names = ("item", "event_type", "gap_seconds", "session_start", "step", *more)
    return {name: tf.constant(rows[name], tf.int32) for name in names}


@functools.lru_cache(maxsize=1)
def load(export: str) -> Ranker:
    """The exported model, loaded once a process."""
    return Ranker(export)
