"""Numbers, texts, vectors and statistics of items."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pyspark.sql import SparkSession

from recsys.config import Items, Prepare
from recsys.errors import DataError
from recsys.prepare.catalogue import catalogue, check
from recsys.prepare.dense import Numbers, vectors, widths
from recsys.prepare.statistics import TALLIED, statistics
from recsys.prepare.tally import tally
from recsys.text import ngrams

DAY = 86_400_000_000
NAN = math.nan


def test_numbers_are_normalized_by_those_of_train() -> None:
    train = np.array([1.0, 3.0, NAN, 5.0, 7.0])
    asked = np.array([4.0, 7.0, NAN, 1e9])
    standard = Numbers.of("standard", train).normalized(asked)
    np.testing.assert_allclose(standard[:, 0], [0, 3 / math.sqrt(5), 0, 5])
    np.testing.assert_array_equal(standard[:, 1], [0, 0, 1, 0])
    quantile = Numbers.of("quantile", train).normalized(np.array([0.0, 3.0, 4.0, 9.0]))
    np.testing.assert_allclose(quantile[:, 0], [-1, -0.25, 0, 1])
    logs = np.log1p([1.0, 3.0, 5.0, 7.0])
    log = Numbers.of("log", train).normalized(np.array([3.0]))
    np.testing.assert_allclose(log[0, 0], (logs[1] - logs.mean()) / logs.std())
    assert Numbers.of("standard", np.array([2.0, 2.0])).normalized(np.array([3.0]))[0, 0] == 1
    assert not Numbers.of("log", np.array([NAN])).normalized(np.array([3.0])).any()
    alike = np.full(3, 0.1)  # whose mean is another number, in the last digit
    assert abs(Numbers.of("standard", alike).normalized(alike)).max() < 1e-12


def test_every_item_has_a_vector_of_each_feature(spark: SparkSession) -> None:
    rows = [
        (2, 5, 1.0, "Red shoe", [1.0, 2.0]), (3, 2, 3.0, None, None), (4, 0, 1000.0, "", [0.0, 4.0])
    ]  # fmt: skip
    items = spark.createDataFrame(
        rows, "item_index int, train_count bigint, size double, title string, image array<double>"
    )
    kinds = {"size": "number", "title": "text", "image": "vector"}
    lengths = widths(kinds, {"image": 2}, Prepare(text_width=8))
    assert lengths == {"size": 2, "title": 8, "image": 2}
    found = vectors(items, kinds, lengths, {"size": "standard"}).orderBy("item_index").collect()
    # The third item is none of train: what it weighs moves nobody else.
    assert [row.size_vector for row in found] == [[-1, 0], [1, 0], [5, 0]]
    np.testing.assert_allclose(found[0].title_vector, ngrams("Red shoe", 8), atol=1e-6)
    assert found[1].title_vector == found[2].title_vector == [0] * 8
    assert [row.image_vector for row in found] == [[1, 2], [0, 0], [0, 4]]


def test_statistics_are_those_of_train(spark: SparkSession) -> None:
    train = [
        ("oil", "view", 0 * DAY, 2.0, 0), ("oil", "view", 1 * DAY, 4.0, 0),
        ("oil", "buy", 2 * DAY, 9.0, 0), ("jam", "view", 4 * DAY, 6.0, 0),
        ("tea", "view", 4 * DAY, None, 0),
    ]  # fmt: skip
    later = [("jam", "buy", 8 * DAY, 1.0, 1), ("new", "view", 9 * DAY, 1.0, 2)]
    schema = "item_id string, event_type string, timestamp bigint, price double, part int"
    names = [("oil", "food"), ("jam", "food"), ("tea", "drink"), ("new", "food")]
    items = spark.createDataFrame(names, "item_id string, kind string")
    for rows in (train, train + later):
        tallied = tally(spark.createDataFrame(rows, schema), *TALLIED)
        table = statistics(tallied, items, ("view", "buy"), "kind").collect()
        found = {row.item_id: row for row in table}
        assert found["oil"].popularity == pytest.approx(math.log(4))
        assert found["oil"].conversion == pytest.approx([3 / 5, 2 / 5])
        assert found["jam"].conversion == pytest.approx([2 / 3, 1 / 3])
        assert found["oil"].recency == pytest.approx(math.log(3))
        assert found["jam"].recency == 0
        assert (found["oil"].price_rank, found["jam"].price_rank) == (-1, 1)
        assert found["tea"].price_rank is None
        assert list(found["new"])[2:] == [None] * 4


def _catalogue(spark: SparkSession, kind: str, sql: str, *values: object) -> tuple[list, Items]:
    items = Items(path=("shop",), attributes={"own": kind})  # type: ignore[dict-item]
    rows = [(f"i{place}", value, None) for place, value in enumerate(values)]
    raw = spark.createDataFrame(rows, f"item_id string, own {sql}, unreadable string")
    table = catalogue(raw, items)
    sizes = check(table, items)
    return [row.own for row in table.orderBy("item_id").collect()], sizes


def test_each_start_of_a_path_is_a_category(spark: SparkSession) -> None:
    asked = ("garden > tools>spade", " ", "garden", None)
    starts = ["garden", "garden > tools", "garden > tools > spade"]
    assert _catalogue(spark, "path", "string", *asked)[0] == [starts, None, ["garden"], None]
    lists = (["garden", "tools"], [])
    assert _catalogue(spark, "path", "array<string>", *lists)[0] == [starts[:2], None]


def test_numbers_and_vectors_come_as_text_too(spark: SparkSession) -> None:
    assert _catalogue(spark, "number", "string", " 1.5", "", None)[0] == [1.5, None, None]
    assert _catalogue(spark, "number", "int", 3, None)[0] == [3, None]
    found, sizes = _catalogue(spark, "vector", "string", "[1, 2.5]", None)
    assert (found, sizes) == ([[1, 2.5], None], {"own": 2})
    assert _catalogue(spark, "vector", "array<float>", [1.0, 2.0])[1] == {"own": 2}


@pytest.mark.parametrize(
    ("kind", "sql", "values", "message"),
    [
        ("number", "double", [1.0, NAN], "finite numbers in the column 'own'.* item 'i1'"),
        ("number", "string", ["1", "cheap"], "finite numbers in the column 'own'.* item 'i1'"),
        ("vector", "array<double>", [[1.0], [NAN]], "finite numbers .*'own'.* item 'i1'"),
        ("vector", "array<double>", [[1.0], [None]], "finite numbers .*'own'.* item 'i1'"),
        ("vector", "string", ["[1]", "[one]"], "finite numbers .*'own'.* item 'i1'"),
        ("vector", "array<double>", [[1.0], [1.0, 2.0]], "1 of the item 'i0' and 2 of the item"),
        ("vector", "array<double>", [None], "one length in the column 'own', found none"),
        ("text", "array<string>", [["a"]], "text in the column 'own', found array"),
    ],
)
def test_what_is_no_number_is_named(
    spark: SparkSession, kind: str, sql: str, values: list, message: str
) -> None:
    with pytest.raises(DataError, match=f"shop: expected .*{message}"):
        _catalogue(spark, kind, sql, *values)
