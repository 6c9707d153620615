"""Texts as TF-IDF, reduced to a few dimensions by a truncated SVD (latent semantic analysis,
Deerwester et al., 1990): words that occur in the same texts come to mean the same.

Terms are hashed words. A text is the counts of its terms, each times log((1 + n) / (1 + texts with
the term)) for n texts of train, scaled to length 1; its vector is that times the first right
singular vectors of train's texts. Items that train does not have are projected by what train gave.

Shapes: N texts, E different terms of all texts one after another, T terms of train, K dimensions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys.prepare.cutting import Ints
from recsys.text import token_id, words

Floats = NDArray[np.float64]

# Different hashes of words; few of a catalogue's words fall together.
_BUCKETS = 2**22
# Of the subspace in which singular vectors are looked for.
_MORE_DIMENSIONS, _ITERATIONS = 16, 5
# Singular values below this share of the largest are rounding.
_RELATIVE = 1e-7


@dataclass(frozen=True)
class Sparse:
    """A matrix with few entries: E of them, row by row.

    Args:
        start: of each row's entries, and the end of all [N + 1]; no row is empty
        column: of each entry [E]
        value: of each entry [E]
    """

    start: Ints
    column: Ints
    value: Floats

    def times(self, dense_CK: Floats, entries_at_once: int = 20_000) -> Floats:
        """The product [N, K], of about so many entries at once, which the cache has room for."""
        result = np.empty((len(self.start) - 1, dense_CK.shape[1]))
        cuts = np.searchsorted(self.start, np.arange(0, self.start[-1], entries_at_once))
        rows = np.unique([*cuts, len(result)])
        for first, last in pairwise(rows):
            begin, end = self.start[first], self.start[last]
            entries = dense_CK[self.column[begin:end]] * self.value[begin:end, None]
            result[first:last] = np.add.reduceat(entries, self.start[first:last] - begin)
        return result

    def transposed(self) -> Sparse:
        """Columns as rows; each needs an entry."""
        order = np.argsort(self.column, kind="stable")
        row = np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))
        counts = np.bincount(self.column)
        start = np.concatenate([[0], np.cumsum(counts)])
        return Sparse(start, row[order], self.value[order])


@dataclass(frozen=True)
class Reduction:
    """From texts to vectors, as the texts of train say.

    Args:
        terms: hashes, rising [T]
        rarity: of each, the logarithm of the inverse document frequency [T]
        components: right singular vectors [T, K]; 0 beyond the rank of train's texts
    """

    terms: Ints
    rarity: Floats
    components: Floats

    def vectors(self, texts: Sequence[str | None]) -> Floats:
        """A vector a text [N, K]; zeros where it has no word of train's."""
        term, start = _flat([term_ids(text or "") for text in texts])
        result = np.zeros((len(texts), self.components.shape[1]))
        has_terms, weighted = self._weighted(term, start)
        if has_terms.any():
            result[has_terms] = weighted.times(self.components)
        return result

    def _weighted(self, term: Ints, start: Ints) -> tuple[NDArray[np.bool_], Sparse]:
        """Which texts have terms of train's, and these texts' TF-IDF."""
        text = np.repeat(np.arange(len(start) - 1), np.diff(start))
        place = np.searchsorted(self.terms, term)
        place = np.minimum(place, max(len(self.terms) - 1, 0))
        is_known = self.terms[place] == term if len(self.terms) else np.zeros(len(term), np.bool_)
        cell, count = np.unique(
            text[is_known] * len(self.terms) + place[is_known], return_counts=True
        )
        row, column = np.divmod(cell, max(len(self.terms), 1))
        value = count * self.rarity[column]
        length = np.sqrt(np.bincount(row, weights=value**2, minlength=len(start) - 1))
        kept = length[row] > 0
        row, column, value = row[kept], column[kept], value[kept]
        sizes = np.bincount(row, minlength=len(start) - 1)
        has_terms = sizes > 0
        ends = np.concatenate([[0], np.cumsum(sizes[has_terms])])
        return has_terms, Sparse(ends, column, value / length[row])


def term_ids(text: str) -> list[int]:
    """The hashes of a text's words."""
    return [token_id(word, _BUCKETS) for word in words(text)]


def fitted(items: DataFrame, name: str, width: int, seed: int, least: int = 1) -> Reduction:
    """The reduction that the items of train give, whatever the partitions.

    Args:
        items: with item_index, train_count and the text
        name: of the text
        width: K
        seed: of the subspace that the search starts from
        least: train_count of an item of train
    """

    def of_rows(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            ids = [term_ids(text) for text in batch.column(1).to_pylist()]
            terms = pa.array(ids, pa.list_(pa.int32()))
            yield pa.RecordBatch.from_arrays([batch.column(0), terms], names=["item", "terms"])

    of_train = items.where((F.col("train_count") >= least) & F.col(name).isNotNull())
    named = of_train.select("item_index", name).mapInArrow(of_rows, "item int, terms array<int>")
    table = named.toArrow().sort_by("item")
    lists = table["terms"].combine_chunks()
    term = lists.flatten().to_numpy().astype(np.int64)
    start = np.concatenate([[0], np.cumsum(lists.value_lengths().to_numpy())])
    return fit(term, start.astype(np.int64), width, seed)


def fit(term: Ints, start: Ints, width: int, seed: int) -> Reduction:
    """The reduction that texts give.

    Args:
        term: hashes of the words of all texts, one after another
        start: of each text in them, and the end of all [N + 1]
        width: K
        seed: of the subspace that the search starts from
    """
    texts = len(start) - 1
    text = np.repeat(np.arange(texts), np.diff(start))
    terms = np.unique(term)
    pairs = np.unique(text * len(terms) + np.searchsorted(terms, term))
    frequency = np.bincount(pairs % max(len(terms), 1), minlength=len(terms))
    rarity = np.log((1 + texts) / (1 + frequency))
    # What every text has tells none apart.
    terms, rarity = terms[rarity > 0], rarity[rarity > 0]
    blank = Reduction(terms, rarity, np.zeros((len(terms), width)))
    if not len(terms):
        return blank
    _, matrix = blank._weighted(term, start)
    found = _right_singular_vectors(matrix, len(terms), width, seed)
    return Reduction(terms, rarity, found)


def _right_singular_vectors(matrix: Sparse, terms: int, width: int, seed: int) -> Floats:
    """The first ones [T, K], the largest entry of each above 0; zeros beyond the rank.

    By subspace iteration from a random start (Halko, Martinsson and Tropp, 2011, algorithm 4.4),
    which is exact where texts or terms are no more than its dimensions.
    """
    by_term = matrix.transposed()
    texts = len(matrix.start) - 1
    dimensions = min(width + _MORE_DIMENSIONS, texts, terms)
    draws = np.random.default_rng(seed).standard_normal((terms, dimensions))
    basis, _ = np.linalg.qr(matrix.times(draws))
    for _ in range(_ITERATIONS):
        basis, _ = np.linalg.qr(matrix.times(by_term.times(basis)))
    left, values, _ = np.linalg.svd(by_term.times(basis), full_matrices=False)
    rank = min(width, int((values > _RELATIVE * values[0]).sum()))
    largest = np.abs(left[:, :rank]).argmax(axis=0)
    result = np.zeros((terms, width))
    result[:, :rank] = left[:, :rank] * np.sign(left[largest, np.arange(rank)])
    return result


def _flat(lists: Sequence[Sequence[int]]) -> tuple[Ints, Ints]:
    """Lists one after another, and where each starts."""
    start = np.concatenate([[0], np.cumsum([len(own) for own in lists])]).astype(np.int64)
    return np.array([number for own in lists for number in own], np.int64), start
