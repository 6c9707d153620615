"""The vectors of items: one for what goes in and what comes out, or one for each.

Shapes: V vocabulary, C values of an attribute, D width, N any shape of indexes, M values of a list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from recsys.schemas import FIRST_ITEM, PADDING
from recsys.train.unit import unit

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
    no item of train has is as none: its row is of zeros and stays so, if no warm start fills it,
    since items that training never meets are neither read nor set against targets.

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
            vectors_ND += _means(self.category_embeddings[name], tf.gather(values_VM, index_N))
        for name, numbers_VM in self.vectors.items():
            vectors_ND += tf.matmul(tf.gather(numbers_VM, index_N), self.projections[name])
        return self._finish(vectors_ND)

    def all(self) -> tf.Tensor:
        """The vectors [V, D] of the whole vocabulary.

        Products in place of a look-up for each item, whose gradients name every row.
        """
        vectors_VD = tf.convert_to_tensor(self.embedding)
        for name, values_VM in self.categories.items():
            vectors_VD += _means_of_all(self.category_embeddings[name], values_VM)
        for name, numbers_VM in self.vectors.items():
            vectors_VD += tf.matmul(numbers_VM, self.projections[name])
        return self._finish(vectors_VD)

    def has_features(self) -> npt.NDArray[np.bool_]:
        """Whether an item has any [V]: numbers, which all have, or a value of an attribute."""
        found_V = np.full(self.embedding.shape[0], bool(self.vectors))
        for values_VM in self.categories.values():
            found_V |= (values_VM.numpy() >= FIRST_ITEM).any(axis=1)
        return found_V

    def _finish(self, vectors_ND: tf.Tensor) -> tf.Tensor:
        return unit(vectors_ND) if self.normalize else vectors_ND


def _means(table_CD: tf.Variable, value_NM: tf.Tensor) -> tf.Tensor:
    """The means [N, D] of the rows that lists of values name, of those that are learnt."""
    shape = tf.concat([tf.shape(value_NM)[:-1], table_CD.shape[1:]], axis=0)
    value_RM = tf.reshape(value_NM, [-1, value_NM.shape[-1]])
    # Of a list that is shorter than the longest only what it has is looked up.
    place_F2 = tf.where(value_RM != PADDING)
    row_FD = tf.gather(table_CD, tf.gather_nd(value_RM, place_F2))
    lists = tf.shape(value_RM)[0]
    sums = (
        tf.math.unsorted_segment_sum(part, place_F2[:, 0], lists)
        for part in (row_FD, _is_learnt(row_FD))
    )
    return tf.reshape(tf.math.divide_no_nan(*sums), shape)


def _means_of_all(table_CD: tf.Variable, value_VM: tf.Variable) -> tf.Tensor:
    """The same of the whole vocabulary's lists [V, D]."""
    place_F2 = tf.where(value_VM != PADDING)
    value_F = tf.cast(tf.gather_nd(value_VM, place_F2), tf.int64)
    has_VC = tf.SparseTensor(
        tf.stack([place_F2[:, 0], value_F], axis=1),
        tf.ones_like(value_F, tf.float32),
        [value_VM.shape[0], table_CD.shape[0]],
    )
    table_CD = tf.convert_to_tensor(table_CD)
    sums = (tf.sparse.sparse_dense_matmul(has_VC, part)
            for part in (table_CD, _is_learnt(table_CD)))  # fmt: skip
    return tf.math.divide_no_nan(*sums)


def _is_learnt(row_FD: tf.Tensor) -> tf.Tensor:
    """1 for each row, or 0 for one of zeros [F, 1]."""
    return tf.stop_gradient(tf.cast(tf.reduce_any(row_FD != 0.0, axis=1)[:, None], tf.float32))


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
