"""The vectors of items: one for what goes in and what comes out, or one for each.

Shapes: V vocabulary, C values of an attribute, D width, N any shape of indexes, M values of a list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from recsys.schemas import PADDING

Indexes = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Catalogue:
    """What the model must know of the items.

    Args:
        vocabulary_size: items, and the reserved indexes before them
        event_type_size: event types, and the reserved indexes before them
        train_counts: events of what is trained on, by item index [V]
        categories: attribute to the value indexes of every item [V, M]; 0 pads
        category_sizes: attribute to the number of its value indexes
        vectors: attribute to numbers of every item [V, M]
        known_size: indexes from here on are not known yet, whatever the vocabulary has; None: all
        inputs: the arrays of events that not every dataset has, with the number of their indexes
        type_weights: of the targets of each event type, by its index; None weighs all alike
    """

    vocabulary_size: int
    event_type_size: int
    train_counts: npt.NDArray[np.int64]
    categories: dict[str, Indexes] = field(default_factory=dict)
    category_sizes: dict[str, int] = field(default_factory=dict)
    vectors: dict[str, Floats] = field(default_factory=dict)
    known_size: int | None = None
    inputs: dict[str, int] = field(default_factory=dict)
    type_weights: Floats | None = None


class ItemTower(tf.Module):
    """An item's vector: its own embedding, plus what each of its features adds.

    A category adds its embedding, a list of categories the mean of theirs, numbers a linear
    projection. An item that train has not seen still has the vectors of its features. A value that
    no item of train has is as none: its row is of zeros and stays so, if no warm start fills it.

    Args:
        catalogue: the features of every item
        width: D
        normalize: give every vector length 1, so that popularity cannot hide in it
        seed: of the start
        beside: the tower of what goes in, where this one is of what comes out; features are its own
    """

    def __init__(
        self,
        catalogue: Catalogue,
        width: int,
        normalize: bool,
        seed: int,
        beside: ItemTower | None = None,
    ) -> None:
        super().__init__(name="output" if beside else "tower")
        self.width = width
        self.normalize = normalize
        self._prefix, self._first_draw = ("output_", 401) if beside else ("", 0)
        # What training never meets has its features, and nothing of its own.
        is_met_V1 = tf.constant(catalogue.train_counts[:, None] > 0, tf.float32)
        self.embedding = self._table(catalogue.vocabulary_size, seed, 0, "item_embedding")
        self.embedding.assign(self.embedding * is_met_V1)
        # In a graph a constant would stand once for each use, and an export has room for 2 GiB.
        self.categories: dict[str, tf.Variable]
        self.vectors: dict[str, tf.Variable]
        self.categories = beside.categories if beside else _kept(catalogue.categories)
        self.category_embeddings = {
            name: self._table(catalogue.category_sizes[name], seed, 1 + place, f"{name}_embedding")
            for place, name in enumerate(sorted(catalogue.categories))
        }
        for name, table in self.category_embeddings.items():
            is_met_C1 = tf.constant(_met_values(catalogue, name)[:, None], tf.float32)
            table.assign(table * is_met_C1)
        self.vectors = beside.vectors if beside else _kept(catalogue.vectors)
        self.projections = {
            name: self._table(values.shape[1], seed, 101 + place, f"{name}_projection")
            for place, (name, values) in enumerate(sorted(catalogue.vectors.items()))
        }

    def _table(self, rows: int, seed: int, offset: int, name: str) -> tf.Variable:
        bound = self.width**-0.5
        draw = [seed, self._first_draw + offset]
        values = tf.random.stateless_uniform([rows, self.width], draw, -bound, bound)
        return tf.Variable(values, name=f"{self._prefix}{name}")

    def __call__(self, index_N: tf.Tensor) -> tf.Tensor:
        """The vectors [N, D] of the items."""
        vectors_ND = tf.gather(self.embedding, index_N)
        for name, values_VM in self.categories.items():
            vectors_ND += self._mean(self.category_embeddings[name], tf.gather(values_VM, index_N))
        for name, numbers_VM in self.vectors.items():
            vectors_ND += tf.matmul(tf.gather(numbers_VM, index_N), self.projections[name])
        return self._finish(vectors_ND)

    def all(self) -> tf.Tensor:
        """The vectors [V, D] of the whole vocabulary."""
        if not self.categories and not self.vectors:
            return self._finish(tf.convert_to_tensor(self.embedding))
        return self(tf.range(self.embedding.shape[0]))

    def _finish(self, vectors_ND: tf.Tensor) -> tf.Tensor:
        return tf.math.l2_normalize(vectors_ND, axis=-1) if self.normalize else vectors_ND

    @staticmethod
    def _mean(table: tf.Variable, value_NM: tf.Tensor) -> tf.Tensor:
        rows_NMD = tf.gather(table, value_NM)
        # As a negative, an item that train never meets would move the row of such a value, too.
        is_learnt_NM1 = tf.reduce_max(tf.abs(rows_NMD), axis=-1, keepdims=True) > 0.0
        is_value_NM1 = tf.cast(is_learnt_NM1 & (value_NM != PADDING)[..., None], tf.float32)
        if value_NM.shape[-1] == 1:
            return (rows_NMD * is_value_NM1)[..., 0, :]
        total_ND = tf.reduce_sum(rows_NMD * is_value_NM1, axis=-2)
        return tf.math.divide_no_nan(total_ND, tf.reduce_sum(is_value_NM1, axis=-2))


def _kept(features: Mapping[str, Indexes | Floats]) -> dict[str, tf.Variable]:
    return {
        name: tf.Variable(values_VM, trainable=False, name=f"{name}_of_items")
        for name, values_VM in features.items()
    }


def _met_values(catalogue: Catalogue, name: str) -> npt.NDArray[np.bool_]:
    """Whether an item of what is trained on has the value of an attribute, by its index."""
    is_met = np.zeros(catalogue.category_sizes[name], np.bool_)
    is_met[catalogue.categories[name][catalogue.train_counts > 0]] = True
    is_met[PADDING] = False
    return is_met
