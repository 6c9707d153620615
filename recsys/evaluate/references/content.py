"""Items that are described like those of the history.

Shapes: N cases, V vocabulary, C values of an attribute, q items of a case.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.errors import ConfigError
from recsys.evaluate.cases import Batch
from recsys.evaluate.references.system import Floats, Table, Training, above_popularity, query
from recsys.schemas import FIRST_ITEM


@dataclass(frozen=True)
class Content:
    """The cosine of an item's attributes with those of the history's items.

    Each value of an attribute is a dimension, weighted by how rare it is: log(items / items with
    the value), squared as both sides have it (Pazzani & Billsus, 2007, 10.3).

    Args:
        values: of each attribute, the indexes of each item's values
        weights: of each attribute, of each value [C]
        length: of each item's vector [V]
        popularity: of each item [V]
        decay: of the weight of a history's item with every step that it lies back
    """

    values: tuple[Table, ...]
    weights: tuple[Floats, ...]
    length: Floats
    popularity: Floats
    decay: float
    name: str = "content"

    def scores(self, batch: Batch) -> Floats:
        """The product of the profile with each item's vector, over that one's length [N, V]."""
        asked = query(batch, self.decay)
        scores_NV = np.zeros((len(batch), len(self.popularity)))
        weight_q = asked.weight / self.length[asked.item]
        for values, weight_C in zip(self.values, self.weights, strict=True):
            of, entry = values.entries(asked.item)
            key = asked.case[of] * len(weight_C) + values.column[entry]
            profile = np.bincount(key, weight_q[of], minlength=len(batch) * len(weight_C))
            profile_NC = profile.reshape(len(batch), -1) * np.square(weight_C)
            said = profile_NC[:, values.column]
            scores_NV += np.add.reduceat(said, values.start[:-1], axis=1)
        return above_popularity(scores_NV / self.length, self.popularity)


def content(training: Training) -> Content:
    """By all attributes of the items.

    Raises:
        ConfigError: the items have none
    """
    if not training.attributes:
        raise ConfigError(
            "evaluate.references: content needs categories of the items (items.attributes: "
            "category or categories), found none"
        )
    values, weights = [], []
    square_V = np.zeros(training.vocabulary_size)
    for name, of_items in training.attributes.items():
        count_C = np.bincount(of_items.column, minlength=training.attribute_sizes[name])
        weight_C = np.log(training.vocabulary_size / np.maximum(count_C, 1))
        weight_C[:FIRST_ITEM] = 0  # no value, or an unknown one: nothing to be alike in
        values.append(of_items)
        weights.append(weight_C)
        square_V += np.add.reduceat(np.square(weight_C[of_items.column]), of_items.start[:-1])
    length_V = np.where(square_V > 0, np.sqrt(square_V), 1)
    return Content(
        tuple(values),
        tuple(weights),
        length_V,
        training.popularity,
        training.settings.content.decay,
    )
