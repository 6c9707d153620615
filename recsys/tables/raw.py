"""A shop's own files, read under our column names.

What is wrong with them is named in one line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from recsys import config as configuration
from recsys import files
from recsys.errors import ConfigError, DataError
from recsys.tables.failures import reading

# What read_events and read_items add to the mapped columns.
ROW = "row"  # the whole raw row, as a struct
UNREADABLE = "unreadable"  # the text of a CSV or JSON record that could not be parsed, else null

# Spark's column with the text of such a record.
CORRUPT = "_corrupt_record"


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
    return _read_table(spark, "score.rules.stock", stock, ("item_id", "quantity"))


def read_subjects(spark: SparkSession, subjects: configuration.Subjects) -> DataFrame:
    """Who gets a list, as id and group, with ROW and UNREADABLE.

    Raises:
        DataError: path not there, file not readable, or a column that is not there
    """
    return _read_table(spark, "score.subjects", subjects, ("id", "group"))


def read_pairs(spark: SparkSession, pairs: configuration.Pairs) -> DataFrame:
    """Who may see what next, as id and item_id, with ROW and UNREADABLE.

    Raises:
        DataError: path not there, file not readable, or a column that is not there
    """
    return _read_table(spark, "score.pairs", pairs, ("id", "item_id"))


def read_identities(spark: SparkSession, identities: configuration.Identities) -> DataFrame:
    """Whose ids are, as platform, user_id and person, with ROW and UNREADABLE.

    Raises:
        DataError: path not there, file not readable, or a column that is not there
    """
    return _read_table(spark, "events.identities", identities, ("platform", "user_id", "person"))


def _read_table(
    spark: SparkSession,
    section: str,
    given: configuration.Stock
    | configuration.Subjects
    | configuration.Pairs
    | configuration.Identities,
    names: tuple[str, ...],
) -> DataFrame:
    """A table of a section that has a key for each column, of the name that we give it."""
    columns = {name: (name, getattr(given, name)) for name in names}
    return _read_mapped(spark, section, given.path, given.format, given.options, columns)


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
