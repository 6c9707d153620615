"""The only place that reads and writes Spark tables, and the session that does it.

Reading names what is wrong with a log in one line; writing and reading between stages check the
schema at both ends.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict

import pyarrow as pa
import pyarrow.parquet
from py4j.protocol import Py4JJavaError
from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from recsys import config as configuration
from recsys import files
from recsys.config import Config
from recsys.errors import ConfigError, DataError
from recsys.schemas import ddl

log = logging.getLogger(__name__)

# What read_events and read_items add to the mapped columns.
ROW = "row"  # the whole raw row, as a struct
UNREADABLE = "unreadable"  # the text of a CSV or JSON record that could not be parsed, else null

# Spark's column with the text of such a record.
CORRUPT = "_corrupt_record"

# Set unless spark-submit, spark-defaults.conf or the caller said otherwise.
_DEFAULTS = {
    "spark.ui.enabled": "false",
    "spark.sql.adaptive.enabled": "true",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    # Large batches for the passes in Python; they carry their state from one to the next.
    "spark.sql.execution.arrow.maxRecordsPerBatch": "65536",
    # A few folders written side by side, without sorting the rows by folder first.
    "spark.sql.maxConcurrentOutputFileWriters": "8",
    # Where in Python each column was made, noted for messages: an eighth of a small prepare.
    "spark.python.sql.dataFrameDebugging.enabled": "false",
    # Workers that load TensorFlow load no Keras with it, a quarter of the time and 100 MiB each:
    # it looks for the old one, which is not there, and which nobody there asks for.
    "spark.executorEnv.TF_USE_LEGACY_KERAS": "1",
}

# What results depend on, whatever anybody said.
_ALWAYS = {
    "spark.sql.session.timeZone": "UTC",
    # A model's version of digits alone is text like any other.
    "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
    # Nanoseconds, which pandas writes, come as numbers; Spark refuses them otherwise.
    "spark.sql.legacy.parquet.nanosAsLong": "true",
    # Lists without nulls lie in Parquet's two levels, which cost half as much to write as three.
    "spark.sql.parquet.writeLegacyFormat": "true",
    # Groups of sequences are ranked within the partitions that they are in.
    "spark.sql.requireAllClusterKeysForDistribution": "false",
    # Version 2 can leave a failed task's files among the good ones.
    "spark.hadoop.mapreduce.fileoutputcommitter.algorithm.version": "1",
}

_ONE_BY_ONE = {
    "spark.sql.execution.arrow.maxRecordsPerBatch": 1,
    "spark.sql.parquet.columnarReaderBatchSize": 1,
}

_SHUFFLE_PARTITIONS = "spark.sql.shuffle.partitions"


@contextmanager
def spark_session(config: Config, job: str) -> Iterator[SparkSession]:
    """The job's session; what spark-submit was told stands. Stopped at the end."""
    SparkContext._ensure_initialized()  # without the JVM a SparkConf is blind to spark-submit
    told = SparkConf()
    console = str(sys.stderr.isatty()).lower()
    defaults = {**_DEFAULTS, "spark.ui.showConsoleProgress": console}
    settings = {key: value for key, value in defaults.items() if not told.contains(key)} | _ALWAYS
    master = told.get("spark.master", None)
    if master is None or master.startswith("local"):
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName(f"{config.name}: {job}")
    for key, value in settings.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    if not told.contains(_SHUFFLE_PARTITIONS):
        # For counts and joins; whatever is large says itself into how many parts it goes.
        parts = max(16, 2 * spark.sparkContext.defaultParallelism)
        spark.conf.set(_SHUFFLE_PARTITIONS, parts)
    spark.sparkContext.setLogLevel("WARN")
    logging.getLogger("py4j").setLevel(logging.WARNING)
    try:
        yield spark
    finally:
        spark.stop()


def read_events(spark: SparkSession, events: configuration.Events) -> DataFrame:
    """The raw log under our column names: what it lacks is null, types are the log's own.

    Returns:
        the columns of EventColumns, ROW and UNREADABLE; text where the format has no types

    Raises:
        ConfigError: no path
        DataError: path not there, file not readable, or a mapped column that is not there
    """
    return _read_mapped(
        spark,
        "events",
        events.path,
        events.format,
        events.options,
        {f"columns.{key}": (key, column) for key, column in asdict(events.columns).items()},
    )


def read_items(spark: SparkSession, items: configuration.Items) -> DataFrame:
    """The raw catalogue: item_id, the attributes under their own names, ROW and UNREADABLE.

    Raises:
        ConfigError: no path
        DataError: path not there, file not readable, or a column that is not there
    """
    attributes = {f"attributes.{name}": (name, name) for name in items.attributes}
    columns = {"item_id": ("item_id", items.item_id), **attributes}
    return _read_mapped(spark, "items", items.path, items.format, items.options, columns)


def read_stock(spark: SparkSession, stock: configuration.Stock) -> DataFrame:
    """What can be sold, as item_id and quantity, with ROW and UNREADABLE.

    Raises:
        DataError: path not there, file not readable, or a column that is not there
    """
    columns = {name: (name, getattr(stock, name)) for name in ("item_id", "quantity")}
    section = "score.rules.stock"
    return _read_mapped(spark, section, stock.path, stock.format, stock.options, columns)


def read_subjects(spark: SparkSession, subjects: configuration.Subjects) -> DataFrame:
    """Who gets a list, as id and group, with ROW and UNREADABLE.

    Raises:
        DataError: path not there, file not readable, or a column that is not there
    """
    columns = {name: (name, getattr(subjects, name)) for name in ("id", "group")}
    section = "score.subjects"
    return _read_mapped(spark, section, subjects.path, subjects.format, subjects.options, columns)


def read_pairs(spark: SparkSession, pairs: configuration.Pairs) -> DataFrame:
    """Who may see what next, as id and item_id, with ROW and UNREADABLE.

    Raises:
        DataError: path not there, file not readable, or a column that is not there
    """
    columns = {name: (name, getattr(pairs, name)) for name in ("id", "item_id")}
    return _read_mapped(spark, "score.pairs", pairs.path, pairs.format, pairs.options, columns)


def read_identities(spark: SparkSession, identities: configuration.Identities) -> DataFrame:
    """Whose ids are, as platform, user_id and person, with ROW and UNREADABLE.

    Raises:
        DataError: path not there, file not readable, or a column that is not there
    """
    names = ("platform", "user_id", "person")
    columns = {name: (name, getattr(identities, name)) for name in names}
    section, options = "events.identities", identities.options
    return _read_mapped(spark, section, identities.path, identities.format, options, columns)


def _read_mapped(
    spark: SparkSession,
    section: str,
    paths: tuple[str, ...],
    format_name: str,
    options: Mapping[str, str],
    columns: Mapping[str, tuple[str, str | None]],
) -> DataFrame:
    """Columns maps a configuration key to our name and the log's."""
    if not paths:
        raise ConfigError(f"{section}.path: expected files or folders, found none")
    urls = [files.as_url(path) for path in paths]
    with reading(f"{section}.path"):
        wanted = [column for _, column in columns.values() if column is not None]
        raw = _read_raw(spark, urls, format_name, options, wanted)
    found = [name for name in raw.columns if name != CORRUPT]
    for key, (_, column) in columns.items():
        if column is not None and column not in found:
            raise DataError(
                f"{', '.join(paths)}: expected the column {column!r} ({section}.{key}), "
                f"found {', '.join(found) or 'no columns'}"
            )
    mapped = [
        F.lit(None).cast("string").alias(ours) if column is None else _quoted(column).alias(ours)
        for ours, column in columns.values()
    ]
    has_corrupt = CORRUPT in raw.columns
    unreadable = _quoted(CORRUPT) if has_corrupt else F.lit(None).cast("string")
    row = F.struct(*[_quoted(name) for name in raw.columns])
    return raw.select(*mapped, unreadable.alias(UNREADABLE), row.alias(ROW))


def _quoted(column: str) -> Column:
    return F.col("`" + column.replace("`", "``") + "`")


def _read_raw(
    spark: SparkSession,
    urls: list[str],
    format_name: str,
    options: Mapping[str, str],
    wanted: list[str],
) -> DataFrame:
    reader = spark.read.format(format_name).options(**options)
    if format_name == "csv":
        names = spark.read.options(**{**options, "inferSchema": "false"}).csv(urls).columns
        # A file whose header has another order would be read with its columns swapped.
        reader = reader.option("enforceSchema", options.get("enforceSchema", "false"))
    elif format_name == "json":
        names = _json_names(spark, urls, options, wanted)
    else:
        return reader.load(urls)
    # As text, so that what is not a number is seen and not lost or thrown.
    fields = [T.StructField(name, T.StringType()) for name in [*names, CORRUPT]]
    reader = reader.option("columnNameOfCorruptRecord", CORRUPT).option("mode", "PERMISSIVE")
    return reader.schema(T.StructType(fields)).load(urls)


def _json_names(
    spark: SparkSession, urls: list[str], options: Mapping[str, str], wanted: list[str]
) -> list[str]:
    """The fields of the first records, and of all where a wanted one is not among these."""
    reader = spark.read.options(**{**options, "primitivesAsString": "true"})
    if options.get("multiLine", "false").lower() != "true":
        lines = [row.value for row in spark.read.text(urls).limit(1000).collect()]
        names = reader.json(spark.sparkContext.parallelize(lines, 1)).columns
        if set(wanted) <= set(names):
            return [name for name in names if name != CORRUPT]
    return [name for name in reader.json(urls).columns if name != CORRUPT]


# Spark's words for an input that is not there or not what its name says.
_NOT_READABLE = re.compile(
    r"PATH_NOT_FOUND|CANNOT_READ_FILE_FOOTER|FAILED_READ_FILE|UNABLE_TO_INFER_SCHEMA"
    r"|DATA_SOURCE_NOT_FOUND|is not a Parquet file|CSV header does not conform"
    r"|FileNotFoundException|UNSUPPORTED_FEATURE|_LEGACY_ERROR_TEMP_3055"
)
_OF_WORKER = re.compile(r"recsys\.errors\.DataError: (?P<line>.*)")
_NO_ROOM = "No space left on device"
# Spark's words for an option that its reader does not take.
_BAD_OPTION = re.compile(
    r"(?P<line>\w+ flag can be true or false|[Dd]elimiter cannot be[^\n]*"
    r"|Failed to find the data source: \S+|INVALID_DELIMITER_VALUE[^\n]*)"
)
_FILE = re.compile(r"(?:file|hdfs|s3a?|gs|abfss?|wasbs?|viewfs|dbfs):/[^\s,;\]}'\"]+")


@contextmanager
def reading(key: str) -> Iterator[None]:
    """Turns Spark's errors about an input, or a full disk, into one line that names the file.

    Raises:
        DataError: in place of Spark's error, where it is about the input or a worker raised it
        ConfigError: where it is about an option of the reader
    """
    try:
        yield
    except (PySparkException, Py4JJavaError) as error:  # some of them come as Java's own
        message = str(error)
        if of_worker := _OF_WORKER.search(message):
            raise DataError(of_worker["line"]) from error
        if _NO_ROOM in message:
            raise DataError(f"{key}: expected room to write, found a full disk") from error
        if option := _BAD_OPTION.search(message):
            section = key.removesuffix(".path")
            raise ConfigError(
                f"{section}.options or {section}.format: expected what Spark's reader takes, "
                f"found: {option['line']}"
            ) from error
        if not _NOT_READABLE.search(message):
            raise
        place = _FILE.search(message)
        where = place.group().rstrip(".)") if place else key
        raise DataError(
            f"{where}: expected readable data ({key}), found {_cause(error)}"
        ) from error


def _cause(error: Exception) -> str:
    message = str(error)
    for words, cause in (
        ("PATH_NOT_FOUND", "no such file or folder"),
        ("FileNotFoundException", "no such file or folder"),
        ("is not a Parquet file", "a file that is not Parquet or is cut off"),
        ("CANNOT_READ_FILE_FOOTER", "a file that is not Parquet or is cut off"),
        ("FAILED_READ_FILE", "a damaged file"),
        ("UNABLE_TO_INFER_SCHEMA", "no data files"),
    ):
        if words in message:
            return cause
    return " ".join(message.split("\n")[0].split())


def write(
    frame: DataFrame,
    url: str,
    schema: Mapping[str, str],
    partition_by: tuple[str, ...] = (),
    rows_per_file: int = 0,
    dictionaries: bool = True,
    large_rows: bool = False,
) -> None:
    """Writes a table as Parquet, once: what is there already stays and is an error.

    Args:
        frame: exactly the columns of the schema, in any order
        url: the folder
        schema: column to type
        partition_by: columns that become folders
        rows_per_file: most rows of a file; 0 is no limit
        dictionaries: whether columns may have them: they make a table smaller, and cost more
        large_rows: of megabytes, a few of which must not wait in memory for a page to fill

    Raises:
        DataError: the table's schema is not the expected one
    """
    _check(frame, url, schema)
    writer = frame.select(*schema).write.mode("errorifexists")
    writer.option("parquet.enable.dictionary", str(dictionaries).lower())
    if large_rows:
        # Parquet looks at a page's and a block's size every hundred rows at most.
        writer.option("parquet.page.size.row.check.min", 1)
        writer.option("parquet.block.size.row.check.min", 1)
    writer.option("maxRecordsPerFile", rows_per_file).partitionBy(*partition_by).parquet(url)


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
        session = _session_with(spark, _ONE_BY_ONE) if large_rows else spark
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
    apart = _session_with(spark, dict.fromkeys(sizes, 2**50))
    return read(apart, url, schema, large_rows=large_rows)


def read_files(spark: SparkSession, url: str, schema: Mapping[str, str]) -> DataFrame:
    """The files of a table that a stage wrote, a row and a batch of Arrow's each.

    Returns:
        path, content, and the columns that are folders

    Raises:
        DataError: nothing there, or another schema than the expected one
    """
    read(spark, url, schema)
    one = _session_with(spark, _ONE_BY_ONE)
    files_of = one.read.format("binaryFile").option("pathGlobFilter", "*.parquet").load(url)
    return files_of.drop("modificationTime", "length")


def of_file(path: str, content: bytes) -> pa.Table:
    """A file of read_files(), in a worker.

    Raises:
        DataError: it is not Parquet, or cut off
    """
    try:
        # Threads would cost more than they bring: a file is small, and a core has its own worker.
        return pyarrow.parquet.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: expected a whole Parquet file, found {error}") from None


def with_batches_of(spark: SparkSession, rows: int) -> SparkSession:
    """Another session, whose passes in Python hold at most so many rows at a time."""
    return _session_with(spark, {"spark.sql.execution.arrow.maxRecordsPerBatch": rows})


def _session_with(spark: SparkSession, settings: Mapping[str, int]) -> SparkSession:
    """Another session, with the settings of this one and others."""
    other = spark.newSession()
    for key, value in spark.conf.getAll.items():
        if spark.conf.isModifiable(key):
            other.conf.set(key, value)
    for key, setting in settings.items():
        other.conf.set(key, setting)
    return other


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
