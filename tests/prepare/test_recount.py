"""A leak into what items' features rest on is planted, and seen in what was written."""

from __future__ import annotations

import pytest
from pyspark.sql import DataFrame, SparkSession

from recsys.config import Config, Items, Prepare
from recsys.errors import DataError
from recsys.prepare import dense, tfidf
from recsys.prepare.certificate import certificate
from recsys.prepare.recount import feature_checks, platform_check, recounted, type_check
from recsys.prepare.statistics import KINDS, TALLIED, statistics
from recsys.prepare.tally import tally
from recsys.schemas import VOCABULARY, ddl

DAY = 86_400_000_000
TYPES = ("view", "buy")
CONFIG = Config(
    items=Items(path=("shop",), attributes={"kind": "category", "size": "number"}),
    prepare=Prepare(item_statistics=True, vocabulary_min_count=1),
)
# Item, type, time, price, part. The last of train is of an item that the vocabulary lacks.
TRAIN = [
    ("oil", "view", 0, 2.0, 0), ("oil", "view", 1 * DAY, 4.0, 0), ("oil", "buy", 2 * DAY, 9.0, 0),
    ("oil", "buy", 2 * DAY, 9.0, 0), ("jam", "view", 3 * DAY, 6.0, 0), ("fat", "view", 1, 6.0, 0),
    ("tea", "view", 4 * DAY, None, 0), ("tea", "view", 4 * DAY, 1.0, 0),
    ("rare", "view", 5 * DAY, 0.5, 0),
]  # fmt: skip
LATER = [("jam", "buy", 7 * DAY, 1.0, 1), ("new", "view", 6 * DAY, 3.0, 2)]
CATALOGUE = [("oil", "food", 1.0), ("jam", "food", 3.0), ("fat", "food", None),
             ("tea", "drink", 4.0), ("new", "food", 100.0)]  # fmt: skip


def _events(spark: SparkSession, rows: list) -> DataFrame:
    schema = "item_id string, event_type string, timestamp bigint, price double, part int"
    return spark.createDataFrame(rows, schema)


def _vocabulary(spark: SparkSession, **counts: int) -> DataFrame:
    rows = [(place, name, count, 0) for place, (name, count) in enumerate(counts.items(), 2)]
    return spark.createDataFrame(rows, ddl(VOCABULARY))


def test_features_that_saw_later_events_are_no_certificate(spark: SparkSession) -> None:
    leaked = _events(spark, [*TRAIN, *((*row[:4], 0) for row in LATER)])
    counted = _vocabulary(spark, oil=4, tea=2, fat=1, jam=2, new=1, old=0)
    catalogue = spark.createDataFrame(CATALOGUE, "item_id string, kind string, size double")
    items = statistics(
        tally(leaked, *TALLIED), counted.join(catalogue, "item_id", "left"), TYPES, "kind"
    )
    kinds = {"size": "number", **KINDS}
    lengths = dense.widths(kinds, {"conversion": len(TYPES)}, CONFIG.prepare)
    found = dense.vectors(items, kinds, lengths, dict.fromkeys(kinds, "standard"))
    table = counted.join(found, "item_index")
    written = spark.createDataFrame(table.collect(), table.schema)

    # Were all these events of train, it would be as it should.
    checks = feature_checks(
        written, counted, recounted(leaked, TYPES, CONFIG.prepare), catalogue, CONFIG
    )
    assert [check.name.split()[0] for check in checks if check.holds] == [
        "conversion", "size", "popularity", "recency", "price_rank",
    ]  # fmt: skip
    certificate(checks)

    events = _events(spark, TRAIN + LATER)
    vocabulary = _vocabulary(spark, oil=4, tea=2, fat=1, jam=1, new=0, old=0)
    checks = feature_checks(
        written, vocabulary, recounted(events, TYPES, CONFIG.prepare), catalogue, CONFIG
    )
    # Of jam and the new item; then all but the old one, and of sizes all but fat, which has none.
    assert [check.found for check in checks] == [
        f"{count} that differ" for count in (2, 4, 5, 5, 5)
    ]
    with pytest.raises(DataError, match=r"conversion from train alone: expected .* 2 that differ"):
        certificate(checks)


def test_event_types_and_platforms_are_counted_again(spark: SparkSession) -> None:
    rows = [(place, kind, when, None, part) for place, (kind, when, part) in enumerate(
        [("view", 0, 0), ("view", 0, 0), ("buy", 0, 0), ("cart", 0, 0),
         *[("cart", 0, 2)] * 3, ("later", 0, 1)]
    )]  # fmt: skip
    events = _events(spark, [(f"i{place}", *row) for place, *row in rows])
    searched = events.unionAll(_events(spark, [(None, "search", 0, None, 0)] * 3))

    def found(types: tuple[str, ...], before: tuple[str, ...] = ()) -> bool:
        return type_check(types, before, recounted(searched, types, Prepare())).holds

    assert found(("search", "view", "buy", "cart"))
    assert not found(("search", "cart", "view", "buy")), "test decides the order"
    assert not found(("search", "view", "buy", "cart", "later")), "valid names one"
    assert not found(("search", "view", "buy")), "one is left out"
    assert found(("old", "buy", "search", "view", "cart"), before=("old", "buy"))
    named = searched.withColumnRenamed("event_type", "platform")
    for platforms, holds in ((("search", "view", "buy", "cart"), True), (("view",), False)):
        assert [check.holds for check in platform_check(platforms, (), named)] == [holds]
    assert platform_check((), (), named) == []


def test_texts_reduced_by_what_later_items_say_are_no_certificate(spark: SparkSession) -> None:
    config = Config(
        items=Items(path=("shop",), attributes={"title": "text"}),
        prepare=Prepare(text_method="tfidf_svd", vocabulary_min_count=1),
    )
    titles = ["red shoe", "blue shoe", "red lamp", "lamp lamp", "blue sock", "green sock"]
    catalogue = spark.createDataFrame(
        [(f"i{place}", title) for place, title in enumerate(titles)], "item_id string, title string"
    )
    counts = {f"i{place}": 3 - place // 2 for place in range(len(titles))}
    saw_all, is_right = _vocabulary(spark, **counts), _vocabulary(spark, **{**counts, "i5": 0})

    def holds(counted: DataFrame) -> list[bool]:
        items = counted.join(catalogue, on="item_id")
        reduction = tfidf.fitted(items, "title", 3, config.seed)
        written = dense.vectors(items, {"title": "text"}, {"title": 3}, {}, {"title": reduction})
        table = is_right.join(written, "item_index")
        return [
            check.holds
            for check in feature_checks(table, is_right, _events(spark, []), catalogue, config)
        ]

    assert holds(is_right) == [True]
    assert holds(saw_all) == [False]
