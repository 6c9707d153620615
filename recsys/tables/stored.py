"""The tables that pass between stages; writing and reading check the schema at both ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsys import files
from recsys.errors import DataError
from recsys.schemas import ddl
from recsys.tables.failures import reading
from recsys.tables.session import session_with

_ONE_BY_ONE = {
    "spark.sql.execution.arrow.maxRecordsPerBatch": 1,
    "spark.sql.parquet.columnarReaderBatchSize": 1,
}

_TWO_HASH_TABLES = "spark.sql.codegen.aggregate.map.twolevel.enabled"


def write(
    frame: DataFrame,
    url: str,
    schema: Mapping[str, str],
    partition_by: tuple[str, ...] = (),
    rows_per_file: int = 0,
    plain: bool = False,
    large_rows: bool = False,
) -> None:
    """Writes a table as Parquet, once: what is there already stays and is an error.

    Args:
        frame: exactly the columns of the schema, in any order
        url: the folder
        schema: column to type
        partition_by: columns that become folders
        rows_per_file: most rows of a file; 0 is no limit
        plain: values as they are, without dictionaries and statistics: larger, and cheaper
        large_rows: of megabytes, a few of which must not wait in memory for a page to fill

    Raises:
        DataError: the table's schema is not the expected one
    """
    _check(frame, url, schema)
    writer = frame.select(*schema).write.mode("errorifexists")
    if plain:
        writer.options(**_plain(schema))
    if large_rows:
        # Parquet looks at a page's and a block's size every hundred rows at most.
        writer.option("parquet.page.size.row.check.min", 1)
        writer.option("parquet.block.size.row.check.min", 1)
    writer.option("maxRecordsPerFile", rows_per_file).partitionBy(*partition_by).parquet(url)


def _plain(schema: Mapping[str, str]) -> dict[str, str]:
    """Options of Parquet's writer; 1.15 ignores the one for the statistics of all columns."""
    leaves = [
        f"{name}.array" if kind.startswith("array") else name for name, kind in schema.items()
    ]
    statistics = [f"parquet.column.statistics.enabled#{leaf}" for leaf in leaves]
    return dict.fromkeys(("parquet.enable.dictionary", *statistics), "false")


def write_json_lines(frame: DataFrame, url: str) -> None:
    """Writes a table as lines of JSON, a row a line, packed with gzip."""
    frame.write.mode("errorifexists").option("compression", "gzip").json(url)


def read_lines(spark: SparkSession, url: str) -> DataFrame:
    """Reads what write_json_lines wrote, a line a row of the column value."""
    return spark.read.text(url)


def read(
    spark: SparkSession,
    url: str,
    schema: Mapping[str, str],
    only: Sequence[str] = (),
    large_rows: bool = False,
) -> DataFrame:
    """Reads a table that a stage wrote.

    Args:
        url: the folder
        schema: column to type
        only: paths of files below it; none reads all
        large_rows: of megabytes, which are read, and handed on to Python, one by one

    Raises:
        DataError: nothing there, or another schema than the expected one
    """
    with reading(url):
        paths = [files.join(url, path) for path in only] or [url]
        session = session_with(spark, _ONE_BY_ONE) if large_rows else spark
        frame = session.read.parquet(*paths)
        _check(frame, url, schema)
        return frame.select(*schema)


def read_undamaged(spark: SparkSession, url: str, schema: Mapping[str, str]) -> DataFrame:
    """Reads a table that a stage wrote, without the files, or the ends of files, that are damaged.

    Args:
        url: the folder
        schema: column to type, those that are folders, too
    """
    reader = spark.read.option("ignoreCorruptFiles", "true").option("ignoreMissingFiles", "true")
    return reader.schema(ddl(dict(schema))).parquet(url)


def read_whole(spark: SparkSession, url: str) -> DataFrame:
    """Reads a table that a stage wrote, whatever its columns are.

    Raises:
        DataError: nothing there
    """
    with reading(url):
        return spark.read.parquet(url)


def read_with_places(spark: SparkSession, url: str) -> DataFrame:
    """Reads a table with the name of the file that each row is in, and its place there.

    Returns:
        the table's columns, file, and rank, from 0 on

    Raises:
        DataError: nothing there
    """
    place = F.col("_metadata.row_index").alias("rank")
    return read_whole(spark, url).select("*", F.col("_metadata.file_name").alias("file"), place)


def schema_of(frame: DataFrame) -> dict[str, str]:
    """Column to type."""
    return {field.name: field.dataType.simpleString() for field in frame.schema}


def read_in_order(
    spark: SparkSession, url: str, schema: Mapping[str, str], large_rows: bool = False
) -> DataFrame:
    """Reads a table with one partition a file, and its rows in the order of the file.

    Args:
        spark: the session
        url: the folder
        schema: column to type
        large_rows: as in read()

    Raises:
        DataError: nothing there, or another schema than the expected one
    """
    # Spark cuts and joins files by size; a cost to open one above that size leaves each alone.
    sizes = ("spark.sql.files.maxPartitionBytes", "spark.sql.files.openCostInBytes")
    # What is in order is grouped by users, items and sessions, of which there are more than the
    # first of Spark's two hash tables has room for: it would be searched in vain.
    apart = session_with(spark, {**dict.fromkeys(sizes, 2**50), _TWO_HASH_TABLES: "false"})
    return read(apart, url, schema, large_rows=large_rows)


def read_files(spark: SparkSession, url: str, schema: Mapping[str, str]) -> DataFrame:
    """The files of a table that a stage wrote, a row and a batch of Arrow's each.

    Returns:
        path, content, and the columns that are folders

    Raises:
        DataError: nothing there, or another schema than the expected one
    """
    read(spark, url, schema)
    one = session_with(spark, _ONE_BY_ONE)
    files_of = one.read.format("binaryFile").option("pathGlobFilter", "*.parquet").load(url)
    return files_of.drop("modificationTime", "length")


def of_file(path: str, content: bytes, only: Sequence[str] | None = None) -> pa.Table:
    """A file of read_files(), in a worker.

    Args:
        path: of the file
        content: of the file
        only: columns to read; none reads all

    Raises:
        DataError: it is not Parquet, or cut off
    """
    try:
        # Threads would cost more than they bring: a file is small, and a core has its own worker.
        file = pyarrow.parquet.ParquetFile(pa.BufferReader(content))
        return file.read(None if only is None else [*only], use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: expected a whole Parquet file, found {error}") from None


def _check(frame: DataFrame, url: str, schema: Mapping[str, str]) -> None:
    found = schema_of(frame)
    for name, kind in schema.items():
        if found.get(name) != kind:
            raise DataError(
                f"{url}: expected the column {name} of type {kind}, "
                f"found {found.get(name, 'none of that name')}"
            )
    if extra := sorted(found.keys() - schema.keys()):
        raise DataError(f"{url}: expected no column {extra[0]}, found {found[extra[0]]}")


def row_groups(url: str) -> dict[str, list[int]]:
    """The rows of each row group of each Parquet file below a folder, by path, from the footers.

    Raises:
        DataError: a file is not Parquet, or cut off
    """
    fs, root = files.filesystem(url)
    paths = sorted(path for path in fs.find(root) if path.endswith(".parquet"))

    def rows(path: str) -> list[int]:
        try:
            with fs.open(path, "rb") as file:
                footer = pyarrow.parquet.ParquetFile(file).metadata
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path}: expected a whole Parquet file, found {error}") from None
        return [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]

    with ThreadPoolExecutor(16) as pool:
        return {
            path[len(root) + 1 :]: counts
            for path, counts in zip(paths, pool.map(rows, paths), strict=True)
        }
