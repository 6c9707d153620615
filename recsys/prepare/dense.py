"""Item features that are numbers: one vector an item and feature, aligned to the vocabulary.

    number       0.8 0     normalized, and whether it is missing
    text         0.1 0 …   hashed n-grams (recsys.text), or reduced TF-IDF (recsys.prepare.tfidf)
    vector       as given; zeros where an item has none

What numbers are normalized by, and texts reduced by, is taken from the items of train alone: those
that are often enough there to be in the vocabulary for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys import scale
from recsys.config import Prepare
from recsys.prepare.tfidf import Reduction
from recsys.scale import Floats
from recsys.schemas import ddl
from recsys.text import ngrams

_EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Numbers:
    """How a number is normalized; standard, of its logarithm (log), or its rank (quantile).

    Args:
        by: standard, log or quantile
        known: the finite numbers of the items of train, rising
    """

    by: str
    known: Floats

    @classmethod
    def of(cls, by: str, values: Floats) -> Numbers:
        """As the values of the items of train say; missing ones are NaN."""
        return cls(by, np.sort(values[np.isfinite(values)]))

    def normalized(self, values: Floats) -> Floats:
        """Normalized numbers and whether they are missing [N, 2]; missing ones are 0."""
        is_missing = ~np.isfinite(values)
        if len(self.known) == 0:
            found = np.zeros(len(values))
        elif self.by == "quantile":
            found = scale.ranks(self.known, values)
        else:
            mean = float(self._scaled(self.known).mean())
            found = scale.deviations(self._scaled(values), mean, self._deviation)
        return np.column_stack([np.where(is_missing, 0.0, found), is_missing])

    @property
    def rounding(self) -> float:
        """How far normalized numbers may lie apart because of the last digits of the known ones."""
        if len(self.known) == 0 or self.by == "quantile":
            return 0.0
        return float(50 * _EPSILON * np.abs(self._scaled(self.known)).max() / self._deviation)

    @property
    def _deviation(self) -> float:
        known = self._scaled(self.known)
        return scale.spread(float(known.std()), float(np.abs(known).max()))

    def _scaled(self, values: Floats) -> Floats:
        return scale.logarithm(values) if self.by == "log" else values


Column = Callable[[pa.Array], Floats]


def widths(kinds: Mapping[str, str], sizes: Mapping[str, int], prepare: Prepare) -> dict[str, int]:
    """The length of each feature's vectors.

    Args:
        kinds: feature to number, text or vector
        sizes: lengths of the given vectors
        prepare: says how long those of texts are
    """
    of_kind = {"number": 2, "text": prepare.text_width}
    return {
        name: sizes[name] if kind == "vector" else of_kind[kind] for name, kind in kinds.items()
    }


def vectors(
    items: DataFrame,
    kinds: Mapping[str, str],
    lengths: Mapping[str, int],
    by: Mapping[str, str],
    reductions: Mapping[str, Reduction] | None = None,
    least: int = 1,
) -> DataFrame:
    """item_index, and the vector of each feature as "<feature>_vector".

    Args:
        items: the vocabulary with the features
        kinds: feature to number, text or vector
        lengths: of the vectors
        by: number to how it is normalized
        reductions: of the texts that are reduced; others are hashed
        least: train_count of an item of train
    """
    numbers = [name for name, kind in kinds.items() if kind == "number"]
    of_train = items.where(F.col("train_count") >= least).select("item_index", *numbers).toArrow()
    columns: dict[str, Column] = {}
    for name, kind in kinds.items():
        if kind == "number":
            columns[name] = _number(Numbers.of(by[name], _floats(of_train[name].combine_chunks())))
        elif reductions and name in reductions:
            columns[name] = _reduced(reductions[name])
        else:
            columns[name] = (_text if kind == "text" else _given)(lengths[name])

    def of_rows(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            found = {name: _listed(make(batch.column(name))) for name, make in columns.items()}
            arrays = [batch.column("item_index"), *found.values()]
            yield pa.RecordBatch.from_arrays(arrays, names=list(schema))

    schema = {"item_index": "int", **{f"{name}_vector": "array<float>" for name in kinds}}
    return items.select("item_index", *kinds).mapInArrow(of_rows, ddl(schema))


def _floats(column: pa.Array) -> Floats:
    """Nulls as NaN."""
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)


def _number(numbers: Numbers) -> Column:
    return lambda column: numbers.normalized(_floats(column))


def _text(length: int) -> Column:
    return lambda column: np.array([ngrams(text or "", length) for text in column.to_pylist()])


def _reduced(reduction: Reduction) -> Column:
    return lambda column: reduction.vectors(column.to_pylist())


def _given(length: int) -> Column:
    def given(column: pa.Array) -> Floats:
        found = np.zeros((len(column), length))
        found[column.is_valid().to_numpy(zero_copy_only=False)] = _floats(column.flatten()).reshape(
            -1, length
        )
        return found

    return given


def _listed(values_NM: Floats) -> pa.ListArray:
    count, length = values_NM.shape
    offsets = pa.array(np.arange(count + 1, dtype=np.int32) * length)
    return pa.ListArray.from_arrays(offsets, pa.array(values_NM.ravel().astype(np.float32)))
