"""Items that are described like those of the history.

A worker has what the items are: of a million, 23 MiB of five categories each, and 381 MiB of
vectors of 100 numbers. Scoring takes 80 MiB beside the scores, however many the items.

Shapes: N cases, V vocabulary, C values of an attribute, M width of a feature, q items of a case.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.evaluate.cases import Batch
from recsys.evaluate.references.system import (
    Floats,
    Query,
    Table,
    Training,
    above_popularity,
    query,
)
from recsys.schemas import FIRST_ITEM

Vectors = npt.NDArray[np.float32]

# Of vectors, in double precision at once: 32 MiB.
_NUMBERS_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Content:
    """The cosine of an item with the mean of the history's items (Rocchio's profile).

    Pazzani & Billsus, 2007, 10.3 and 10.5: each item of the history is of length 1 and weighs less
    the longer ago it was. An item's vector is made of blocks: one of all its categories, in which
    each value is a dimension, weighted by how rare it is, log(items / items with the value); and
    one of each of its numbers, texts and vectors, as prepare has made them. Each block is scaled to
    a mean square of 1 over the items that have any of it, so that none outweighs another.

    Args:
        values: of each attribute, the indexes of each item's values
        weights: of each attribute, of each value, scaled [C]
        vectors: of each other feature [V, M]
        scales: of each of these
        length: of each item's vector, all blocks together [V]
        popularity: of each item [V]
        decay: of the weight of a history's item with every step that it lies back
    """

    values: tuple[Table, ...]
    weights: tuple[Floats, ...]
    vectors: tuple[Vectors, ...]
    scales: tuple[float, ...]
    length: Floats
    popularity: Floats
    decay: float
    name: str = "content"

    def scores(self, batch: Batch) -> Floats:
        """The product of the profile with each item's vector, over that one's length [N, V]."""
        asked = query(batch, self.decay)
        asked = Query(asked.case, asked.item, asked.weight / self.length[asked.item])
        scores_NV = np.zeros((len(batch), len(self.popularity)))
        for values, weight_C in zip(self.values, self.weights, strict=True):
            _add_categories(scores_NV, asked, values, weight_C)
        for vectors_VM, scale in zip(self.vectors, self.scales, strict=True):
            _add_vectors(scores_NV, asked, vectors_VM, scale)
        return above_popularity(scores_NV / self.length, self.popularity)


def _add_categories(scores_NV: Floats, asked: Query, values: Table, weight_C: Floats) -> None:
    of, entry = values.entries(asked.item)
    key = asked.case[of] * len(weight_C) + values.column[entry]
    profile = np.bincount(key, asked.weight[of], minlength=len(scores_NV) * len(weight_C))
    # Squared, as the profile and the item both have it.
    profile_NC = profile.reshape(len(scores_NV), -1) * np.square(weight_C)
    items = scores_NV.shape[1]
    width = len(scores_NV) * -(-len(values.column) // items)  # of an item's values on average
    for here in _parts(items, width):
        start = values.start[here.start : here.stop + 1]
        said = profile_NC[:, values.column[start[0] : start[-1]]]
        scores_NV[:, here] += np.add.reduceat(said, start[:-1] - start[0], axis=1)


def _add_vectors(scores_NV: Floats, asked: Query, vectors_VM: Vectors, scale: float) -> None:
    items, width = vectors_VM.shape
    profile_NM = np.zeros((len(scores_NV), width))
    for here in _parts(len(asked.item), width):
        weighted_qM = vectors_VM[asked.item[here]] * asked.weight[here, None]
        case, start = np.unique(asked.case[here], return_index=True)
        profile_NM[case] += np.add.reduceat(weighted_qM, start, axis=0)
    profile_NM *= scale**2  # likewise
    for here in _parts(items, width):
        scores_NV[:, here] += profile_NM @ vectors_VM[here].astype(np.float64).T


def _parts(rows: int, width: int) -> Iterator[slice]:
    """Rows, so many at once that their numbers, of this width, are _NUMBERS_AT_ONCE at most."""
    most = max(1, _NUMBERS_AT_ONCE // width)
    for first in range(0, rows, most):
        yield slice(first, min(first + most, rows))


def content(training: Training) -> Content:
    """By all that is declared of the items."""
    tables = tuple(training.attributes.values())
    weights, square_V = _rarity(training)
    scale = _scale(square_V)
    total_V, scales = square_V * scale**2, []
    for vectors_VM in training.vectors.values():
        square_V = np.einsum("vm,vm->v", vectors_VM, vectors_VM, dtype=np.float64)
        scales.append(_scale(square_V))
        total_V += square_V * scales[-1] ** 2
    return Content(
        values=tables,
        weights=tuple(weight_C * scale for weight_C in weights),
        vectors=tuple(training.vectors.values()),
        scales=tuple(scales),
        length=np.where(total_V > 0, np.sqrt(total_V), 1),
        popularity=training.popularity,
        decay=training.settings.content.decay,
    )


def _rarity(training: Training) -> tuple[list[Floats], Floats]:
    """Of each attribute how rare its values are [C]; each item's squared length by these [V]."""
    weights, square_V = [], np.zeros(training.vocabulary_size)
    for name, of_items in training.attributes.items():
        count_C = np.bincount(of_items.column, minlength=training.attribute_sizes[name])
        weight_C = np.log(training.vocabulary_size / np.maximum(count_C, 1))
        weight_C[:FIRST_ITEM] = 0  # no value, or an unknown one: nothing to be alike in
        weights.append(weight_C)
        square_V += np.add.reduceat(np.square(weight_C[of_items.column]), of_items.start[:-1])
    return weights, square_V


def _scale(square_V: Floats) -> float:
    """What makes the mean of the squares 1, over those that are any; 0 where none is."""
    squares = square_V[square_V > 0]
    return float(1 / np.sqrt(squares.mean())) if len(squares) else 0.0
