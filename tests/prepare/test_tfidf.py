"""Texts reduced by what the texts of train say, against NumPy's SVD of a dense matrix."""

from __future__ import annotations

import numpy as np
import pytest
from pyspark.sql import SparkSession

from recsys.prepare import dense, tfidf
from recsys.prepare.tfidf import Sparse, fit, term_ids
from recsys.text import words

TRAIN = [
    "Red running shoe", "Blue running shoes, red laces", "Desk lamp", "Red lamp for a desk",
    "Blue lamp lamp", "Green running socks", "Green socks", "",
]  # fmt: skip
OTHERS = ["Lamp, red!", "Unheard of", "lamp Violet", None]


def _tfidf(texts: list[str]) -> tuple[np.ndarray, dict[str, int], np.ndarray]:
    """Rows of length 1, the column of each word, and the logarithms by which they count."""
    names = {word: place for place, word in enumerate(sorted({w for t in texts for w in words(t)}))}
    count = np.zeros((len(texts), len(names)))
    for row, text in enumerate(texts):
        for word in words(text):
            count[row, names[word]] += 1
    rarity = np.log((1 + len(texts)) / (1 + (count > 0).sum(axis=0)))
    length = np.linalg.norm(count * rarity, axis=1, keepdims=True)
    return count * rarity / np.where(length > 0, length, 1), names, rarity


def _fitted(texts: list[str], width: int) -> tfidf.Reduction:
    lists = [term_ids(text) for text in texts]
    start = np.concatenate([[0], np.cumsum([len(own) for own in lists])]).astype(np.int64)
    term = np.array([number for own in lists for number in own], np.int64)
    return fit(term, start, width, seed=1)


@pytest.mark.parametrize("width", [3, 12])
def test_vectors_are_those_of_a_dense_svd(width: int) -> None:
    matrix, names, rarity = _tfidf(TRAIN)
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    rank = min(width, int((values > 1e-9).sum()))
    assert rank == min(width, 7)
    reduction = _fitted(TRAIN, width)
    found = reduction.vectors(TRAIN)
    expected = (left * values)[:, :rank]
    signs = np.sign((found[:, :rank] * expected).sum(axis=0))
    np.testing.assert_allclose(found[:, :rank], expected * signs, atol=1e-9)
    np.testing.assert_array_equal(found[:, rank:], 0)
    assert (np.abs(reduction.components[:, :rank]).max(axis=0)
            == reduction.components[:, :rank].max(axis=0)).all()  # fmt: skip

    # What train does not have: words that it knows, in its directions, and nothing for others.
    others = reduction.vectors(OTHERS)
    own = np.zeros(len(names))
    own[[names["lamp"], names["red"]]] = rarity[[names["lamp"], names["red"]]]
    np.testing.assert_allclose(
        others[0, :rank], right[:rank] @ own / np.linalg.norm(own) * signs, atol=1e-9
    )
    np.testing.assert_allclose(others[2, :rank], right[:rank, names["lamp"]] * signs, atol=1e-9)
    np.testing.assert_array_equal(others[[1, 3]], 0)


def test_many_texts_have_the_directions_of_a_dense_svd() -> None:
    draw = np.random.default_rng(5)
    topics = draw.integers(4, size=400)
    texts = [
        " ".join(f"w{word}" for word in draw.zipf(1.6, 8) % 90 + 90 * topic) for topic in topics
    ]
    matrix, _, _ = _tfidf(texts)
    left, values, _ = np.linalg.svd(matrix, full_matrices=False)
    found = _fitted(texts, width=4).vectors(texts)
    expected = (left * values)[:, :4]
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found, expected * signs, atol=1e-3)


def test_texts_that_tell_nothing_are_zeros() -> None:
    for texts in ([], [""], ["lamp"], ["lamp", "Lamp"]):
        assert not _fitted(texts, 5).vectors(["lamp", "red", None]).any()


def test_a_sparse_product_is_that_of_numpy() -> None:
    draw = np.random.default_rng(2)
    matrix = draw.normal(size=(9, 5)) * (draw.random((9, 5)) < 0.6)
    matrix[np.arange(9), np.arange(9) % 5] = 1
    row, column = np.nonzero(matrix)
    start = np.searchsorted(row, np.arange(10))
    sparse = Sparse(start, column, matrix[row, column])
    right, left = draw.normal(size=(5, 3)), draw.normal(size=(9, 3))
    for entries in (1, 4, 100):
        np.testing.assert_allclose(sparse.times(right, entries), matrix @ right)
        np.testing.assert_allclose(sparse.transposed().times(left, entries), matrix.T @ left)


def test_items_have_the_same_vectors_whatever_the_partitions(spark: SparkSession) -> None:
    texts = [(text, 3) for text in TRAIN] + [(text, 0) for text in OTHERS]
    rows = [(place, text, count) for place, (text, count) in enumerate(texts, 2)]
    schema = "item_index int, title string, train_count bigint"
    expected = _fitted(TRAIN, 6).vectors([text for text, _ in texts]).astype(np.float32)
    for order, partitions in ((1, 1), (-1, 3)):
        items = spark.createDataFrame(rows[::order], schema).coalesce(partitions)
        reductions = {"title": tfidf.fitted(items, "title", 6, seed=1)}
        found = dense.vectors(items, {"title": "text"}, {"title": 6}, {}, reductions).collect()
        in_order = sorted(found, key=lambda row: row.item_index)
        np.testing.assert_array_equal([row.title_vector for row in in_order], expected)
