"""Every value converted, every row checked, whatever the log's types."""

from __future__ import annotations

import datetime
import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession

from recsys.config import EventColumns, Events
from recsys.errors import DataError
from recsys.prepare.events import check
from recsys.tables import ROW, UNREADABLE, read_events

NOW = 1_800_000_000_000_000
TEXT = Events(
    path=("log",),
    columns=EventColumns("who", "visit", "what", "did", "when", "where", "paid", "pieces"),
    timestamp_unit="s",
)
RAW = (
    "user_id string, session_id string, item_id string, event_type string, timestamp string, "
    "platform string, price string, quantity string, query string, value string, "
    "position string"
)
GOOD = ("ann", "s1", "i1", "view", "1700000000", "web", "1.5", "2", "tea", "4", "3")


def raw(
    spark: SparkSession, *rows: tuple[str | None, ...], unreadable: str | None = None
) -> DataFrame:
    frame = spark.createDataFrame(list(rows), RAW)
    return frame.selectExpr("*", f"struct(*) AS {ROW}", f"CAST(NULL AS STRING) AS {UNREADABLE}")


def changed(**columns: str | None) -> tuple[str | None, ...]:
    names = [part.split()[0] for part in RAW.split(", ")]
    return tuple(columns.get(name, good) for name, good in zip(names, GOOD, strict=True))


def test_a_sound_row_has_our_types_and_no_reason(spark: SparkSession) -> None:
    (row,) = check(raw(spark, GOOD), TEXT, NOW).collect()
    assert row.asDict() == {
        "user_id": "ann", "session_id": "s1", "item_id": "i1", "event_type": "view",
        "timestamp": 1_700_000_000_000_000, "platform": "web", "price": 1.5, "quantity": 2.0,
        "query": None, "value": 4.0, "position": 3, "reason": None, "row": None,
    }  # fmt: skip


def test_every_fault_has_its_reason_and_the_first_one_counts(spark: SparkSession) -> None:
    faults = {
        changed(user_id=None): "user_id: null",
        changed(user_id="  "): "user_id: null",
        changed(session_id=None): "session_id: null",
        changed(item_id=None): "item_id: null",
        changed(event_type=None): "event_type: null",
        changed(timestamp=None): "timestamp: null",
        changed(timestamp="soon"): "timestamp: not a time",
        changed(timestamp="99999999999999999999"): "timestamp: not a time",
        changed(timestamp="1900000000"): "timestamp: after now",
        changed(timestamp="600000000"): "timestamp: before 1990-01-01T00:00:00Z",
        changed(price="cheap"): "price: not a number",
        changed(price="NaN"): "price: not a number",
        changed(price="1e999"): "price: not a number",
        changed(price="-0.01"): "price: negative",
        changed(quantity="two"): "quantity: not a number",
        changed(quantity="-2"): "quantity: negative",
        changed(value="good"): "value: not a number",
        changed(value="-3"): None,
        changed(position="top"): "position: not a whole number",
        changed(position="1.5"): "position: not a whole number",
        changed(position="NaN"): "position: not a whole number",
        changed(position="9999999999"): "position: not a whole number",
        changed(position="-1"): "position: negative",
        changed(position="7.0"): None,
        changed(position=None): None,
        changed(item_id=None, timestamp="soon", price="-1"): "item_id: null",
        changed(timestamp="soon", price="-1"): "timestamp: not a time",
        changed(price=None, quantity=None, platform=None): None,
        changed(price="0", quantity="0"): None,
    }
    found = check(raw(spark, *faults), TEXT, NOW).collect()
    assert [row.reason for row in found] == list(faults.values())
    for row, given in zip(found, faults, strict=True):
        if row.reason:
            names = [part.split()[0] for part in RAW.split(", ")]
            kept = {
                name: value for name, value in zip(names, given, strict=True) if value is not None
            }
            assert json.loads(row.row) == kept
        else:
            assert row.row is None


def test_a_search_has_a_query_and_no_item(spark: SparkSession) -> None:
    log = replace(TEXT, columns=replace(TEXT.columns, query="asked"))
    rows = [changed(event_type="search", item_id=None), changed(event_type="search"),
            changed(event_type="search", query=None), changed(item_id=None)]  # fmt: skip
    found = check(raw(spark, *rows), log, NOW).collect()
    assert [(row.item_id, row.query, row.reason) for row in found] == [
        (None, "tea", None), (None, "tea", None), (None, None, None), (None, None, "item_id: null")
    ]  # fmt: skip


def test_latest_says_how_far_the_future_goes(spark: SparkSession) -> None:
    until = replace(TEXT, latest="2023-11-14")
    (row,) = check(raw(spark, GOOD), until, NOW).collect()
    assert row.reason == "timestamp: after 2023-11-14T00:00:00Z"


@pytest.mark.parametrize(
    ("unit", "texts", "micros"),
    [
        ("s", ("1700000000", "1700000000.25", " 1700000000 "), (0, 250_000, 0)),
        ("ms", ("1700000000000", "1700000000000.5"), (0, 500)),
        ("us", ("1700000000000001",), (1,)),
        ("ns", ("1700000000000001999",), (1,)),
        (
            "text",
            ("2023-11-14T22:13:20Z", "2023-11-14 22:13:20.5", "2023-11-15T00:13:20+02:00"),
            (0, 500_000, 0),
        ),
    ],
)
def test_times_as_text(
    spark: SparkSession, unit: str, texts: tuple[str, ...], micros: tuple[int, ...]
) -> None:
    rows = [changed(timestamp=text) for text in texts]
    found = check(raw(spark, *rows), replace(TEXT, timestamp_unit=unit), NOW).collect()  # type: ignore[arg-type]
    assert [row.timestamp - 1_700_000_000_000_000 for row in found] == list(micros)


@pytest.mark.parametrize("text", ["2017", "12:30", "1700000000", "2023-11-31", "14.11.2023"])
def test_text_that_is_no_date_is_no_time(spark: SparkSession, text: str) -> None:
    wanted = replace(TEXT, timestamp_unit="text")
    (row,) = check(raw(spark, changed(timestamp=text)), wanted, NOW).collect()
    assert row.reason == "timestamp: not a time"


def _parquet(spark: SparkSession, folder: Path, when: pa.Array, unit: str) -> DataFrame:
    table = pa.table({"who": pa.array([7.0, None]), "what": pa.array([1, 2]), "when": when})
    pq.write_table(table, folder / "log.parquet")
    events = Events(
        path=(str(folder / "log.parquet"),),
        columns=EventColumns(user_id="who", item_id="what", timestamp="when"),
        timestamp_unit=unit,  # type: ignore[arg-type]
    )
    return check(read_events(spark, events), events, NOW)


INSTANT = datetime.datetime(2023, 11, 14, 22, 13, 20, 7)
EPOCH = 1_700_000_000


@pytest.mark.parametrize(
    ("when", "unit", "micros"),
    [
        (pa.array([EPOCH] * 2, pa.int32()), "s", 0),
        (pa.array([EPOCH + 0.5] * 2, pa.float64()), "s", 500_000),
        (pa.array([EPOCH * 1000] * 2, pa.int64()), "ms", 0),
        (pa.array([EPOCH * 10**9 + 7999] * 2, pa.int64()), "ns", 7),
        (pa.array([INSTANT] * 2, pa.timestamp("ns")), "ns", 7),
        (pa.array([INSTANT] * 2, pa.timestamp("us")), "text", 7),
        (pa.array([INSTANT] * 2, pa.timestamp("us", "UTC")), "text", 7),
        (pa.array([INSTANT.date()] * 2, pa.date32()), "text", -80_000 * 10**6),
    ],
)
def test_times_and_ids_with_types(
    spark: SparkSession, tmp_path: Path, when: pa.Array, unit: str, micros: int
) -> None:
    first, second = _parquet(spark, tmp_path, when, unit).collect()
    assert first.timestamp == EPOCH * 10**6 + micros
    assert (first.user_id, first.item_id, first.event_type) == ("7", "1", "view")
    assert second.reason == "user_id: null", (
        "pandas writes a missing whole number as a float's null"
    )


@pytest.mark.parametrize(
    ("when", "unit", "words"),
    [
        (pa.array([EPOCH] * 2), "text", "events.timestamp_unit: expected s, ms, us or ns"),
        (pa.array([True] * 2), "s", "events.columns.timestamp: expected a time"),
        (pa.array([[1]] * 2), "s", "type array<bigint>"),
    ],
)
def test_a_type_that_cannot_hold_a_time_is_named(
    spark: SparkSession, tmp_path: Path, when: pa.Array, unit: str, words: str
) -> None:
    with pytest.raises(DataError, match=words):
        _parquet(spark, tmp_path, when, unit)


def test_event_types_are_renamed_and_have_a_default(spark: SparkSession) -> None:
    renamed = replace(TEXT, event_types={"view": "look"})
    rows = [changed(), changed(event_type="cart")]
    found = check(raw(spark, *rows), renamed, NOW).collect()
    assert [row.event_type for row in found] == ["look", "cart"]
    lacking = replace(TEXT, columns=replace(TEXT.columns, event_type=None))
    (row,) = check(raw(spark, changed(event_type=None)), lacking, NOW).collect()
    assert (row.event_type, row.reason) == ("view", None)


def test_a_log_without_users_has_sessions_in_their_place(spark: SparkSession) -> None:
    lacking = replace(TEXT, columns=replace(TEXT.columns, user_id=None))
    (row,) = check(raw(spark, changed(user_id=None)), lacking, NOW).collect()
    assert (row.user_id, row.session_id, row.reason) == ("s1", "s1", None)
