"""Spark's errors about an input, in one line that names the file."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException

from recsys.errors import ConfigError, DataError

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
def reading(key: str, to: str = "") -> Iterator[None]:
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
            where = f"{to or key}, Spark's local folders or {tempfile.gettempdir()}"
            raise DataError(f"{where}: expected room to write, found a full disk") from error
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
