"""The catalogue, one row an item, and the rules that drop events by it."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from pyspark.sql import SparkSession

from recsys.config import Clean, Config, EventColumns, Events, Items, Prepare
from recsys.errors import ConfigError, DataError
from recsys.prepare.catalogue import catalogue
from recsys.prepare.rules import DROPPED_BY, apply_rules, rules

CONFIG = Config(
    events=Events(columns=EventColumns(quantity="pieces")),
    items=Items(path=("items",), attributes={"kind": "category", "brand": "category"}),
    prepare=Prepare(
        clean=Clean(
            drop_items={"kind": ["fuel", "coupon"], "brand": ["own"]},
            drop_without_quantity=True,
            items_not_in_catalogue="drop",
        )
    ),
)


def test_one_row_an_item_whatever_the_order_of_rows(spark: SparkSession) -> None:
    rows = [
        (1.0, "food", "a", None),
        (1.0, "drink", "b", None),
        (2.0, " ", None, None),
        (None, "food", "a", None),
        (3.0, "food", "b", "3,food,b,more"),
    ]
    for seed in (1, 2):
        random.Random(seed).shuffle(rows)
        schema = "item_id double, kind string, brand string, unreadable string"
        frame = spark.createDataFrame(rows, schema)
        found = catalogue(frame, CONFIG.items).collect()
        assert sorted(map(tuple, found), key=str) == [
            ("1", "drink", "b", 2), ("2", None, None, 1), (None, "food", "a", 2)
        ]  # fmt: skip


def test_a_nested_attribute_is_named(spark: SparkSession) -> None:
    schema = "item_id double, kind array<string>, brand string, unreadable string"
    with pytest.raises(DataError, match=r"items: expected text .* 'kind', found array<string>"):
        catalogue(spark.createDataFrame([], schema), CONFIG.items)


def test_lists_of_categories_are_sorted_sets(spark: SparkSession) -> None:
    items = replace(CONFIG.items, attributes={"tags": "categories"})
    for kind, rows in {
        "array<int>": [("a", [3, None, 12, 3]), ("b", []), ("c", None)],
        "string": [("a", " 3 |12||3"), ("b", ""), ("c", None)],
        "string ": [("a", '[3, "12", null]'), ("b", "[]"), ("c", "[broken")],
    }.items():
        frame = spark.createDataFrame(
            [(*row, None) for row in rows], f"item_id string, tags {kind}, unreadable string"
        )
        found = {row.item_id: row.tags for row in catalogue(frame, items).collect()}
        assert found == {"a": ["12", "3"], "b": None, "c": None}
    with pytest.raises(DataError, match="expected a list of text or numbers in the column 'tags'"):
        catalogue(spark.createDataFrame([], "item_id string, tags int, unreadable string"), items)


def test_a_rule_drops_by_a_list_too(spark: SparkSession) -> None:
    config = Config(
        items=Items(path=("items",), attributes={"tags": "categories"}),
        prepare=Prepare(clean=Clean(drop_items={"tags": ["old", "own"]})),
    )
    rows = [("milk", ["own", "raw"]), ("bag", ["new"]), ("pen", None)]
    items = spark.createDataFrame(rows, "item_id string, tags array<string>")
    events = spark.createDataFrame([(row[0],) for row in rows], "item_id string")
    found = {row.item_id: row[DROPPED_BY] for row in apply_rules(events, items, config).collect()}
    assert found == {"milk": 1, "bag": 0, "pen": 0}


def test_the_first_rule_that_drops_an_event_counts(spark: SparkSession) -> None:
    assert [rule.name for rule in rules(CONFIG)] == [
        "items not in the catalogue", "items by kind", "items by brand", "events without quantity"
    ]  # fmt: skip
    items = spark.createDataFrame(
        [
            ("milk", "food", "a"),
            ("petrol", "fuel", "own"),
            ("bag", None, "own"),
            ("new", None, None),
        ],
        "item_id string, kind string, brand string",
    )
    events = {
        ("milk", 1.0): 0, ("milk", 0.0): 4, ("milk", None): 0, ("petrol", 0.0): 2, ("bag", 1.0): 3,
        ("new", 1.0): 0, ("gone", 1.0): 1,
    }  # fmt: skip
    frame = spark.createDataFrame(list(events), "item_id string, quantity double")
    found = apply_rules(frame, items, CONFIG).collect()
    assert {(row.item_id, row.quantity): row[DROPPED_BY] for row in found} == events


def test_without_rules_nothing_is_dropped(spark: SparkSession) -> None:
    events = spark.createDataFrame([("milk", 0.0)], "item_id string, quantity double")
    assert rules(Config()) == ()
    assert apply_rules(events, None, Config()).collect()[0][DROPPED_BY] == 0


def test_a_rule_that_lacks_what_it_needs_is_named() -> None:
    with pytest.raises(ConfigError, match=r"items\.path: expected a catalogue"):
        rules(replace(CONFIG, items=Items()))
    with pytest.raises(ConfigError, match=r"items\.attributes \(kind\), found 'brand'"):
        rules(replace(CONFIG, items=replace(CONFIG.items, attributes={"kind": "category"})))
