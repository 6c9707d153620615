"""The session of a Spark job."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession

from recsys.config import Config

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
    # Version 2 can leave a failed task's files among the good ones.
    "spark.hadoop.mapreduce.fileoutputcommitter.algorithm.version": "1",
}

_BYTES_OF_BATCH = "spark.sql.execution.arrow.maxBytesPerBatch"
_SHUFFLE_PARTITIONS = "spark.sql.shuffle.partitions"
_OF_A_CLUSTER = 200


@contextmanager
def spark_session(config: Config, job: str) -> Iterator[SparkSession]:
    """The job's session; what spark-submit was told stands. Stopped at the end."""
    SparkContext._ensure_initialized()  # without the JVM a SparkConf is blind to spark-submit
    told = SparkConf()
    console = str(sys.stderr.isatty()).lower()
    defaults = {**_DEFAULTS, "spark.ui.showConsoleProgress": console}
    settings = {key: value for key, value in defaults.items() if not told.contains(key)} | _ALWAYS
    master = told.get("spark.master", None)
    is_local = master is None or master.startswith("local")
    if is_local:
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName(f"{config.name}: {job}")
    for key, value in settings.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    if not told.contains(_SHUFFLE_PARTITIONS):
        # Small parts are joined again. A cluster's executors may not have registered yet.
        least = 16 if is_local else _OF_A_CLUSTER
        parts = max(least, 2 * spark.sparkContext.defaultParallelism)
        spark.conf.set(_SHUFFLE_PARTITIONS, parts)
    spark.sparkContext.setLogLevel("WARN")
    logging.getLogger("py4j").setLevel(logging.WARNING)
    try:
        yield spark
    finally:
        spark.stop()


def with_batches_of(spark: SparkSession, rows: int) -> SparkSession:
    """Another session, whose passes in Python hold at most so many rows at a time."""
    return session_with(spark, {"spark.sql.execution.arrow.maxRecordsPerBatch": rows})


def with_batches_by_rows(spark: SparkSession) -> SparkSession:
    """Another session, whose batches for Python are limited by their rows alone, which are small.

    To limit the bytes, too, Spark adds up the sizes of all columns at every row. What spark-submit
    was told of the bytes stands.
    """
    if spark.conf.get(_BYTES_OF_BATCH, None) is not None:
        return spark
    return session_with(spark, {_BYTES_OF_BATCH: 2**31 - 1})


def session_with(spark: SparkSession, settings: Mapping[str, int | str]) -> SparkSession:
    """Another session, with the settings of this one and others."""
    other = spark.newSession()
    for key, value in spark.conf.getAll.items():
        if spark.conf.isModifiable(key):
            other.conf.set(key, value)
    for key, setting in settings.items():
        other.conf.set(key, setting)
    return other
