"""Reading what others wrote, and writing what others read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsys import files, tables
from recsys.config import EventColumns, Events, Items
from recsys.errors import ConfigError, DataError
from recsys.schemas import ddl
from recsys.tables.session import session_with

CSV = Events(
    format="csv",
    options={"header": "true"},
    columns=EventColumns(user_id="who", item_id="what", timestamp="when"),
)


def _events(spark: SparkSession, path: Path, like: Events = CSV) -> DataFrame:
    return tables.read_events(spark, replace(like, path=(str(path),)))


def test_the_log_has_our_names_and_nulls_for_what_it_lacks(
    spark: SparkSession, tmp_path: Path
) -> None:
    (tmp_path / "log.csv").write_text('when,what,who,shop\n1,i,ann,north\n2,"a, b",,south\n')
    found = _events(spark, tmp_path / "log.csv")
    assert found.columns == [
        "user_id", "session_id", "item_id", "event_type", "timestamp", "platform", "price",
        "quantity", "query", "value", "position", "unreadable", "row",
    ]  # fmt: skip
    first, second = found.collect()
    assert (first.user_id, first.item_id, first.timestamp) == ("ann", "i", "1")
    assert (first.session_id, first.price, first.unreadable) == (None, None, None)
    assert first.row.shop == "north"
    assert (second.user_id, second.item_id) == (None, "a, b")


def test_columns_in_another_order_are_not_mixed_up(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("who,what,when\nann,i,1\n")
    (tmp_path / "b.csv").write_text("what,who,when\ni,ann,1\n")
    with pytest.raises(DataError, match=r"/[ab]\.csv: expected readable data"), tables.reading("x"):
        tables.write(
            _events(spark, tmp_path).select("user_id"), str(tmp_path / "out"), {"user_id": "string"}
        )


def test_records_that_cannot_be_parsed_are_kept(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("who,what,when\nann,i,1\nbob,j\ncid,k,3,4,5\n")
    rows = _events(spark, tmp_path / "log.csv").collect()
    assert [row.unreadable for row in rows] == [None, "bob,j", "cid,k,3,4,5"]
    (tmp_path / "log.json").write_text('{"who":"ann","what":"i","when":1}\n{"who":"bob",\n')
    json_log = replace(CSV, format="json", options={})
    rows = _events(spark, tmp_path / "log.json", json_log).collect()
    assert [row.unreadable for row in rows] == [None, '{"who":"bob",']


def test_json_numbers_are_text_and_rare_fields_are_found(
    spark: SparkSession, tmp_path: Path
) -> None:
    lines = [{"who": 7, "what": "i", "when": 1.5}] * 1500 + [{"who": 7, "what": "i", "paid": 2}]
    (tmp_path / "log.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    log = replace(CSV, format="json", options={}, columns=replace(CSV.columns, price="paid"))
    found = _events(spark, tmp_path / "log.json", log)
    row = found.where("price IS NOT NULL").collect()[0]
    assert (row.user_id, row.price, row.timestamp) == ("7", "2", None)
    assert found.first().timestamp == "1.5"  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_a_column_that_is_not_there_is_named_with_those_that_are(
    spark: SparkSession, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / f"log.{kind}"
    if kind == "csv":
        path.write_text("who,what,at\nann,i,1\n")
    elif kind == "json":
        path.write_text('{"at":1,"what":"i","who":"ann"}\n')
    else:
        pq.write_table(pa.table({"who": ["ann"], "what": ["i"], "at": [1]}), path)
    log = replace(CSV, format=kind, options=CSV.options if kind == "csv" else {})
    with pytest.raises(DataError) as caught:
        _events(spark, path, log)
    line = str(caught.value)
    assert f"log.{kind}: expected the column 'when' (events.columns.timestamp), found " in line
    assert set(line.split("found ")[1].split(", ")) == {"who", "what", "at"}


def test_an_empty_file_and_a_path_that_is_not_there(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("")
    with pytest.raises(DataError, match=r"log\.csv: expected the column 'who'.*found no columns"):
        _events(spark, tmp_path / "log.csv")
    (tmp_path / "folder").mkdir()
    parquet = replace(CSV, format="parquet", options={})
    with pytest.raises(DataError, match="found no data files"):
        _events(spark, tmp_path / "folder", parquet)
    for log in (CSV, parquet, replace(parquet, format="json")):
        with pytest.raises(DataError, match=r"/nowhere: .*found no such file or folder"):
            _events(spark, tmp_path / "nowhere", log)
    with pytest.raises(ConfigError, match=r"events\.path: expected files or folders, found none"):
        tables.read_events(spark, CSV)


def test_a_damaged_file_is_named_among_sound_ones(spark: SparkSession, tmp_path: Path) -> None:
    table = pa.table({"who": ["ann"] * 99, "what": ["i"] * 99, "when": list(range(99))})
    for name in ("a", "b", "c"):
        pq.write_table(table, tmp_path / f"{name}.parquet")
    whole = (tmp_path / "b.parquet").read_bytes()
    (tmp_path / "b.parquet").write_bytes(whole[: len(whole) // 2])

    def copy() -> None:
        found = _events(spark, tmp_path, replace(CSV, format="parquet", options={}))
        tables.write(found.select("item_id"), str(tmp_path / "out"), {"item_id": "string"})

    with pytest.raises(DataError) as caught, tables.reading("events.path"):
        copy()
    assert f"{tmp_path}/b.parquet: expected readable data (events.path), found" in str(caught.value)


def test_the_catalogue_has_its_attributes(spark: SparkSession, tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1], "brand": ["b"], "more": [2]}), tmp_path / "items.parquet")
    items = Items(path=(str(tmp_path),), item_id="id", attributes={"brand": "category"})
    assert tables.read_items(spark, items).columns == ["item_id", "brand", "unreadable", "row"]
    lacking = replace(items, attributes={"kind": "category"})
    with pytest.raises(DataError, match=r"expected the column 'kind' \(items\.attributes\.kind\)"):
        tables.read_items(spark, lacking)


def test_a_schema_is_checked_when_writing_and_when_reading(
    spark: SparkSession, tmp_path: Path
) -> None:
    schema = {"n": "int", "tags": "array<string>"}
    frame = spark.createDataFrame([(1, ["a"])], "n int, tags array<string>")
    url = str(tmp_path / "table")
    tables.write(frame, url, schema)
    assert tables.read(spark, url, schema).collect() == frame.collect()
    for wrong, words in (
        ({**schema, "n": "bigint"}, "expected the column n of type bigint, found int"),
        ({**schema, "m": "int"}, "expected the column m of type int, found none of that name"),
        ({"n": "int"}, "expected no column tags, found array<string>"),
    ):
        with pytest.raises(DataError, match=f"table: {words}"):
            tables.read(spark, url, wrong)
        with pytest.raises(DataError, match=f"other: {words}"):
            tables.write(frame, str(tmp_path / "other"), wrong)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("plain", [True, False])
def test_plain_tables_have_neither_dictionaries_nor_statistics(
    spark: SparkSession, tmp_path: Path, plain: bool
) -> None:
    name = F.concat(F.lit("u"), F.col("id") % 3)
    frame = spark.range(99, numPartitions=1).select(name.alias("user"), "id")
    tables.write(frame, str(tmp_path / "rows"), {"user": "string", "id": "bigint"}, plain=plain)
    [file] = (tmp_path / "rows").glob("*.parquet")
    group = pq.ParquetFile(file).metadata.row_group(0)
    for column in (group.column(place) for place in range(2)):
        assert (column.statistics is not None and column.statistics.has_min_max) is not plain
    assert any("DICTIONARY" in encoding for encoding in group.column(0).encodings) is not plain


def test_batches_for_python_are_limited_by_rows_or_by_bytes(spark: SparkSession) -> None:
    def sizes(session: SparkSession) -> list[int]:
        frame = session.range(4000, numPartitions=1).select(F.repeat(F.lit("x"), 900).alias("x"))
        counted = frame.mapInArrow(
            lambda batches: (
                pa.RecordBatch.from_pydict({"rows": [len(batch)]}) for batch in batches
            ),
            "rows bigint",
        )
        return [row.rows for row in counted.collect()]

    limit = "spark.sql.execution.arrow.maxBytesPerBatch"
    few = session_with(spark, {limit: 2**20})
    assert max(sizes(few)) < 4000
    assert sizes(tables.with_batches_by_rows(few)) == sizes(few)  # what was told stands
    by_rows = tables.with_batches_by_rows(spark)
    assert (by_rows.conf.get(limit), sizes(by_rows)) == (str(2**31 - 1), [4000])


def test_row_groups_are_counted_from_the_footers(tmp_path: Path) -> None:
    table = pa.table({"n": list(range(10))})
    (tmp_path / "part=x").mkdir()
    pq.write_table(table, tmp_path / "part=x" / "b.parquet", row_group_size=4)
    pq.write_table(table, tmp_path / "a.parquet")
    (tmp_path / "_SUCCESS").touch()
    found = tables.row_groups(f"file://{tmp_path}")
    assert found == {"a.parquet": [10], "part=x/b.parquet": [4, 4, 2]}


@pytest.mark.parametrize("is_local", [True, False])
def test_files_that_python_makes_are_read_by_whoever_reads_parquet(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_local: bool
) -> None:
    monkeypatch.setattr(files, "is_local", lambda url: is_local)
    schema = {"user_id": "string", "item": "array<int>", "when": "array<bigint>"}
    rows = [
        {"user_id": f"u{number}", "item": [number] * (number % 4), "when": [2**40] * (number % 4)}
        for number in range(11)
    ]
    frame = spark.createDataFrame(rows, ddl(schema)).coalesce(1)
    made = frame.mapInArrow(tables.in_files(schema, rows=4), ddl(tables.FILES))
    url = f"file://{tmp_path}/made"
    tables.write_files(made, url, schema)
    found = tables.row_groups(url)
    assert list(found.values()) == [[4], [4], [3]]
    table = pa.concat_tables(pq.read_table(tmp_path / "made" / name) for name in found)
    assert table.to_pylist() == rows
    assert not table.schema.field("item").type.value_field.nullable
    by_spark = tables.read(spark, url, schema).orderBy("user_id").collect()
    assert [row.asDict() for row in by_spark] == sorted(rows, key=lambda row: str(row["user_id"]))
    with pytest.raises(DataError, match=r"/made: expected nothing there"):
        tables.write_files(made, url, schema)

    nothing = frame.where("user_id = ''").mapInArrow(tables.in_files(schema), ddl(tables.FILES))
    tables.write_files(nothing, f"file://{tmp_path}/nothing", schema)
    assert tables.read(spark, f"file://{tmp_path}/nothing", schema).count() == 0
    hidden = ("_", ".")
    assert all(
        path.suffix == ".parquet" for path in tmp_path.glob("*/*") if path.name[0] not in hidden
    )


def test_what_a_killed_attempt_left_is_no_part_of_a_table(
    spark: SparkSession, tmp_path: Path
) -> None:
    schema = {"user_id": "string"}

    def attempts(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        files.write_bytes(f"file://{tmp_path}/made/.part.parquet.7.writing", b"half", attempt=".8")
        yield from tables.in_files(schema)(batches)

    frame = spark.createDataFrame([("ann",)], "user_id string").coalesce(1)
    tables.write_files(
        frame.mapInArrow(attempts, ddl(tables.FILES)), f"file://{tmp_path}/made", schema
    )
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["part-00000-00000.parquet"]


def test_a_worker_that_loads_tensorflow_loads_no_keras(spark: SparkSession) -> None:
    def loaded(_: int) -> list[str]:
        import sys

        import tensorflow

        return [name for name in (tensorflow.__name__, "keras") if name in sys.modules]

    assert spark.sparkContext.parallelize([0], 1).map(loaded).collect() == [["tensorflow"]]


def test_a_worker_starts_from_modules_that_are_compiled(spark: SparkSession) -> None:
    def sources(_: object) -> list[str]:
        import pyspark.serializers

        return [pyspark.__file__, pyspark.serializers.__file__]

    for found in spark.sparkContext.parallelize([0], 1).flatMap(sources).collect():
        assert found.endswith(".pyc"), "of pyspark.zip, as .make/compiled.py leaves it"
