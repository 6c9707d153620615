"""Vocabulary, categories and items: from train alone, in an order that nothing else decides."""

from __future__ import annotations

import random
from dataclasses import replace

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from recsys.config import Prepare
from recsys.prepare.features import attach, categories, item_table
from recsys.prepare.tally import tally
from recsys.prepare.vocabulary import came_with_valid, train_counts, vocabulary
from recsys.schemas import CATEGORIES, VOCABULARY, ddl, items_schema

EVENTS = [("tea", 0)] * 3 + [("jam", 0)] * 3 + [("oil", 0)] * 5 + [("rye", 0)] + [("new", 1)] * 9
EVENTS += [("jam", 1), ("rye", 1), ("ale", 1), ("fig", 2), ("fig", 2), ("fig", 0)]
ATTRIBUTES = {"kind": "category", "style_index": "category", "tags": "categories"}


def test_items_by_falling_count_in_train_ties_by_id(spark: SparkSession) -> None:
    rows = list(EVENTS)
    random.Random(4).shuffle(rows)
    events = spark.createDataFrame(rows, "item_id string, part int").repartition(3)
    events = tally(events.withColumn("timestamp", F.lit(0)), "item_id")
    prepare = Prepare(vocabulary_min_count=2)
    found = vocabulary(events, None, prepare)
    assert found.columns == list(VOCABULARY)
    train = [(2, "oil", 5, 0), (3, "jam", 3, 1), (4, "tea", 3, 0)]
    assert list(map(tuple, found.collect())) == train
    counts = {row.item_id: row.train_count for row in train_counts(events, "item_id").collect()}
    assert counts == {"oil": 5, "jam": 3, "tea": 3, "rye": 1, "fig": 1}
    with_valid = [(5, "new", 0, 9), (6, "rye", 1, 1)]
    prepare = replace(prepare, vocabulary_tail="valid")
    assert list(map(tuple, vocabulary(events, None, prepare).collect())) == train + with_valid
    ids = [("hay",), ("fig",), ("oil",), ("ale",), ("new",)]
    catalogue = spark.createDataFrame(ids, "item_id string")
    whole = vocabulary(events, catalogue, replace(prepare, vocabulary_tail="catalogue"))
    rest = [(7, "ale", 0, 1), (8, "fig", 1, 0), (9, "hay", 0, 0)]
    assert list(map(tuple, whole.collect())) == train + with_valid + rest
    assert not came_with_valid(1, 0, 2)
    assert not came_with_valid(2, 9, 2)
    assert came_with_valid(1, 1, 2)


def test_attributes_are_aligned_to_the_vocabulary(spark: SparkSession) -> None:
    known = spark.createDataFrame(
        [(2, "oil", 5, 0), (3, "jam", 3, 0), (4, "tea", 3, 0), (5, "rye", 2, 0)],
        ddl(VOCABULARY),
    )
    raw = spark.createDataFrame(
        [
            ("tea", "drink", "x", ["hot"]),
            ("oil", "food", "y", ["fat", "raw"]),
            ("jam", "drink", None, ["hot", "raw"]),
            ("hay", "feed", "z", ["dry"]),
        ],
        "item_id string, kind string, style_index string, tags array<string>",
    )
    items = attach(known, raw)
    table = categories(items, ATTRIBUTES)
    assert sorted(map(tuple, table.select(*CATEGORIES).collect())) == [
        ("kind", 2, "drink", 6), ("kind", 3, "food", 5),
        ("style_index", 2, "y", 5), ("style_index", 3, "x", 3),
        ("tags", 2, "raw", 8), ("tags", 3, "hot", 6), ("tags", 4, "fat", 5),
    ]  # fmt: skip
    found = item_table(items, table, ATTRIBUTES)
    assert set(found.columns) == set(items_schema(ATTRIBUTES))
    columns = ("item_index", "kind", "kind_index", "style_index", "style_index_index")
    rows = found.collect()
    assert [tuple(row[name] for name in columns) for row in rows] == [
        (2, "food", 3, "y", 2), (3, "drink", 2, None, 1), (4, "drink", 2, "x", 3),
        (5, None, 1, None, 1),
    ]  # fmt: skip
    assert [(row.tags, row.tags_index) for row in rows] == [
        (["fat", "raw"], [2, 4]), (["hot", "raw"], [2, 3]), (["hot"], [3]), (None, [1])
    ]  # fmt: skip


def test_without_a_catalogue_there_are_items_and_no_categories(spark: SparkSession) -> None:
    known = spark.createDataFrame([(2, "oil", 5, 0)], ddl(VOCABULARY))
    items = attach(known, None)
    table = categories(items, {})
    assert table.collect() == []
    assert {field.name: field.dataType.simpleString() for field in table.schema} == CATEGORIES
    assert list(map(tuple, item_table(items, table, {}).collect())) == [(2, "oil", 5, 0)]
