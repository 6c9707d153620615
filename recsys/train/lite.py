"""TFLite of the same model: one history in, its vector or its best items out, on a phone.

One file with two signatures, which share the weights. Both take one history of L events as the
dataset's histories hold it, padded at the end: item, event_type, gap_seconds, session_start, step
and what else the model reads, each [1, L] of int32, or of float32 where it is a number. Of times,
in seconds, TFLite does not divide 64 bits: these are int32, too, until 2038.

    encode     -> vector [1, D + 1], as the SavedModel's signature of the same name
    recommend  -> item [1, K] and score [1, K], best first

TFLite needs a fixed batch, and variables that have become constants.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from recsys.errors import DataError
from recsys.schemas import FIRST_ITEM
from recsys.train.batch import after_last
from recsys.train.export import input_specs, traced
from recsys.train.model import Recommender
from recsys.train.scored import with_one

# Length of the lists.
TOP_K = 20
_TOLERANCE = 1e-4
_SIGNATURES = ("encode", "recommend")

Rows = dict[str, npt.NDArray[Any]]


class Lite(tf.Module):
    """What is converted.

    Args:
        model: the trained recommender
        length: L
        exclude_history: whether lists leave out what the history holds
    """

    def __init__(self, model: Recommender, length: int, exclude_history: bool) -> None:
        super().__init__(name="lite")
        self.model = model
        # Made here: of what they are made of TFLite lacks an operation.
        self.vectors_VE = tf.Variable(model.item_vectors(), trainable=False, name="item_vectors")
        self.exclude_history = exclude_history
        self.inputs = {
            name: own if own.dtype.is_floating else tf.TensorSpec(own.shape, tf.int32, name)
            for name, own in input_specs(model, 1, length).items()
        }
        self.k = min(TOP_K, model.vocabulary_size)

    def encode(self, **row: tf.Tensor) -> dict[str, tf.Tensor]:
        """The signature of the same name."""
        return {"vector": with_one(self.model.encode(row, *after_last(row)))}

    def recommend(self, **row: tf.Tensor) -> dict[str, tf.Tensor]:
        """The signature of the same name."""
        best = tf.math.top_k(self.scores(row), self.k)
        return {"item": best.indices, "score": best.values}

    def scores(self, row: dict[str, tf.Tensor]) -> tf.Tensor:
        """Of all items [1, V], of those that are in no list the lowest that there is."""
        row_1, step_1 = after_last(row)
        state_1D = self.model.encode(row, row_1, step_1)
        scores_1V = self.model.scores_of(row, row_1, step_1, state_1D, self.vectors_VE)
        is_out_V = tf.range(self.model.vocabulary_size) < FIRST_ITEM
        if self.exclude_history:
            # In operations that TFLite has, unlike ranking.without_history's.
            item_L1, once_L = tf.transpose(row["item"]), tf.ones_like(row["item"][0])
            is_out_V |= tf.scatter_nd(item_L1, once_L, [self.model.vocabulary_size]) > 0
        return tf.where(is_out_V, scores_1V.dtype.min, scores_1V)


def convert(lite: Lite) -> bytes:
    """The model as a TFLite file."""
    signatures = {name: traced(getattr(lite, name), **lite.inputs) for name in _SIGNATURES}
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(lite, folder, signatures=signatures)
        make = tf.lite.TFLiteConverter.from_saved_model
        return bytes(make(folder, signature_keys=list(_SIGNATURES)).convert())


def open_lite(content: bytes) -> dict[str, Callable[..., dict[str, npt.NDArray[np.float32]]]]:
    """The signatures of a TFLite file, ready to be called."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it will live in another package
        interpreter = tf.lite.Interpreter(model_content=content)
    return {name: interpreter.get_signature_runner(name) for name in _SIGNATURES}


def check(content: bytes, lite: Lite, rows: Rows) -> None:
    """Makes sure that the TFLite file says what the model says of some histories.

    Args:
        content: the file
        lite: what was converted
        rows: the histories, all that the model reads [B, L]

    Raises:
        DataError: it does not
    """
    rows = {
        name: np.asarray(rows[name], own.dtype.as_numpy_dtype) for name, own in lite.inputs.items()
    }
    converted = open_lite(content)
    for place in range(len(rows["item"])):
        row = {name: values[place : place + 1] for name, values in rows.items()}
        given = {name: tf.constant(values) for name, values in row.items()}
        expected = {**lite.encode(**given), **lite.recommend(**given)}
        found = {**converted["encode"](**row), **converted["recommend"](**row)}
        for name in ("vector", "score"):
            what = f"the {name} that the model gives history {place}"
            _check_values(what, found[name], expected[name].numpy())
        # Items whose scores are as good as equal may change places.
        item_1K = np.asarray(found["item"], np.int64)
        own_1K = np.take(lite.scores(given).numpy()[0], item_1K, mode="clip")
        what = f"of the items in the list of history {place} the scores that the model gives them"
        _check_values(what, found["score"], own_1K)


def _check_values(
    what: str, found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]
) -> None:
    away = np.abs(found - expected) / (1 + np.abs(expected))
    if not np.all(away <= _TOLERANCE):
        raise DataError(f"lite: expected {what}, found {np.max(away):.3g} away")
