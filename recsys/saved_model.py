"""The exported model, loaded once a process: what evaluate and score know of the network.

TensorFlow is loaded when a function first needs it, so that rooms of Spark can import this one.
Shapes: C cases, B rows, V vocabulary, L events, D width of a vector, P pairs.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from recsys import files

if TYPE_CHECKING:
    import tensorflow as tf

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
Arrays = Mapping[str, npt.NDArray[Any]]


def limit_threads(threads: int) -> None:
    """Keeps TensorFlow to its share of the machine, in a process where it has not started yet.

    A Spark worker has `spark.task.cpus` cores; TensorFlow would take all that there are.
    """
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(threads))
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", str(threads))


# What an encoder is given of the items of histories, and of pairs.
ITEM_READS, PAIR_READS = "item_reads", "pair_reads"


class Encoder:
    """The part of a trained model that reads histories; what it knows of items is in one array.

    Args:
        url: of its SavedModel
        reads_VR: what it reads of each item, by Ranker.of_items
        pair_reads_VR: what its purchase head reads of each, for whoever asks for purchases
    """

    def __init__(self, url: str, reads_VR: Floats, pair_reads_VR: Floats | None = None) -> None:
        self._model = _loaded(url)
        self._reads_VR, self._pair_reads_VR = reads_VR, pair_reads_VR

    def encode(self, rows: Arrays) -> dict[str, tf.Tensor]:
        """As Ranker.encode."""
        return _call(self._model.signatures["encode"], self._with_reads(rows))

    def purchases(self, rows: Arrays, row: Ints, step: Ints, item: Ints) -> tf.Tensor:
        """As Ranker.purchases.

        Raises:
            ValueError: made without pair_reads_VR
        """
        if self._pair_reads_VR is None:
            raise ValueError("expected what a purchase head reads of items, found none")
        pairs = {"pair_row": row, "pair_step": step, "pair_item": item}
        given = {**self._with_reads(rows), **pairs, PAIR_READS: self._pair_reads_VR[item]}
        return _call(self._model.signatures["purchase_pairs"], given)["probability"]

    def _with_reads(self, rows: Arrays) -> Arrays:
        return {**rows, ITEM_READS: self._reads_VR[rows["item"]]}


class Ranker:
    """An exported model, ready to score histories.

    Args:
        export: URL of the SavedModel
    """

    def __init__(self, export: str) -> None:
        self._model = _loaded(export)

    def cases(self, rows: Arrays) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Row [C], step [C] and scores [C, V] of every target step, by row and step."""
        given = {**rows, "vectors": self._item_vectors}
        found = _call(self._model.signatures["cases"], given)
        return found["row"], found["step"], found["scores"]

    def scores(self, rows: Arrays) -> tf.Tensor:
        """Scores [B, V] of what comes after the last step of every row."""
        return _call(self._model.signatures["scores"], rows)["scores"]

    def encode(self, rows: Arrays) -> dict[str, tf.Tensor]:
        """Vectors [B, D + 1] of the rows, and what their own items add (row, item, added) [P]."""
        return _call(self._model.signatures["encode"], rows)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The arrays of a history that the model reads."""
        return tuple(self._model.signatures["encode"].structured_input_signature[1])

    def purchases(self, rows: Arrays, row: Ints, step: Ints, item: Ints) -> tf.Tensor:
        """The probability [P] that an item which comes at a step of a row is bought.

        Args:
            rows: as for encode
            row: of each pair [P]
            step: that the item comes at [P]; only what is before it is looked at
            item: index in the vocabulary [P]
        """
        pairs = {"pair_row": row, "pair_step": step, "pair_item": item}
        return _call(self._model.signatures["purchase_pairs"], {**rows, **pairs})["probability"]

    def items(self) -> tf.Tensor:
        """Vectors [V, D + 1] of the items: times a row's vector they are its scores."""
        return self._model.signatures["items"]()["vectors"]

    def of_items(self, item: Ints) -> dict[str, tf.Tensor]:
        """Of some items [K] their "vectors" [K, D + 1], and of an Encoder ITEM_READS [K, R] and,
        where it has a purchase head, PAIR_READS [K, D + 1].
        """
        return _call(self._model.signatures["of_items"], {"item": item})

    @functools.cached_property
    def _item_vectors(self) -> tf.Tensor:
        """Kept for the next cases; who scores users has those of a shelf."""
        return self.items()


def _loaded(url: str) -> Any:
    import tensorflow as tf

    with _no_word_of_gradients():
        return tf.saved_model.load(files.local_copy(url))


@contextmanager
def _no_word_of_gradients() -> Iterator[None]:
    """An export has none, of which TensorFlow warns at every signature that it loads."""
    absl = logging.getLogger("absl")
    level = absl.level
    absl.setLevel(logging.ERROR)
    try:
        yield
    finally:
        absl.setLevel(level)


def _call(signature: Any, rows: Arrays) -> dict[str, tf.Tensor]:
    """Calls a signature with those of the arrays that it takes."""
    import tensorflow as tf

    _, specs = signature.structured_input_signature
    inputs = {name: tf.constant(rows[name], spec.dtype) for name, spec in specs.items()}
    return dict(signature(**inputs))


@functools.lru_cache(maxsize=1)
def load(export: str) -> Ranker:
    """The exported model, loaded once a process."""
    return Ranker(export)
