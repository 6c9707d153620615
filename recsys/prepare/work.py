"""Where a run writes: what stays in the version, and what is only needed on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession

from recsys import files, tables
from recsys.config import Config
from recsys.prepare import days

_STAGING = "staging"  # below the version; goes at the end
_ENTRIES_PER_TASK = 1_000_000


def together(*calls: Callable[[], Any]) -> list[Any]:
    """Runs at once Spark jobs that do not need each other: the cores work while others plan.

    Returns:
        their results, in their order; where some fail, the first error is raised when all ended
    """
    with ThreadPoolExecutor(len(calls)) as pool:
        futures = [pool.submit(call) for call in calls]
    return [future.result() for future in futures]


@dataclass(frozen=True)
class Work:
    """One run of prepare.

    Args:
        spark: the session
        config: the whole configuration
        version: URL of the version that the run writes
    """

    spark: SparkSession
    config: Config
    version: str

    def url(self, name: str) -> str:
        """Of a table of the version."""
        return files.join(self.version, name)

    def tasks(self, entries: int) -> int:
        """Partitions for events or array entries: small enough to sort in memory, never idle."""
        cores = self.spark.sparkContext.defaultParallelism
        return max(cores, -(-entries // _ENTRIES_PER_TASK))

    def keep(self, frame: DataFrame, name: str, schema: Mapping[str, str]) -> DataFrame:
        """Writes a table of the version, and reads it back."""
        tables.write(frame, self.url(name), schema)
        return tables.read(self.spark, self.url(name), schema)

    def stage(
        self,
        frame: DataFrame,
        name: str,
        schema: Mapping[str, str],
        partition_by: tuple[str, ...] = (),
        large_rows: bool = False,
    ) -> DataFrame:
        """Computes a table once: written below staging/, which goes at the end, and read back.

        Args:
            frame: the table
            name: of its folder
            schema: column to type
            partition_by: columns that become folders
            large_rows: of megabytes, which are read, and handed on to Python, one by one
        """
        self._stage(frame, name, schema, partition_by, large_rows)
        spark = self.spark if large_rows else tables.with_batches_by_rows(self.spark)
        return tables.read(spark, self._staging(name), schema, large_rows=large_rows)

    def stage_in_order(
        self, frame: DataFrame, name: str, schema: Mapping[str, str], large_rows: bool = False
    ) -> DataFrame:
        """Like stage(), but what is read back has the partitions and the order of its rows."""
        self._stage(frame, name, schema, large_rows=large_rows)
        return tables.read_in_order(self.spark, self._staging(name), schema, large_rows)

    def unstage(self, name: str) -> None:
        """Removes what stage_in_order() wrote, and nobody reads any more."""
        files.remove(self._staging(name))

    def _stage(
        self,
        frame: DataFrame,
        name: str,
        schema: Mapping[str, str],
        partition_by: tuple[str, ...] = (),
        large_rows: bool = False,
    ) -> None:
        # Dictionaries of users, items and sessions took 1 us of each of 20 million events.
        tables.write(
            frame, self._staging(name), schema, partition_by, plain=True, large_rows=large_rows
        )

    def _staging(self, name: str) -> str:
        return files.join(self.version, _STAGING, name)


@dataclass(frozen=True)
class Unwritten(Work):
    """Work on a version that nobody makes: what is computed once lies on Spark's own disks."""

    def stage_in_order(
        self, frame: DataFrame, name: str, schema: Mapping[str, str], large_rows: bool = False
    ) -> DataFrame:
        """Computes a table when somebody first asks for it, and then no more."""
        of_schema = frame.select(*schema)
        return of_schema.localCheckpoint(eager=False, storageLevel=StorageLevel.DISK_ONLY)

    def unstage(self, name: str) -> None:
        """Does nothing: Spark removes what nobody refers to any more."""


@contextmanager
def drafted(spark: SparkSession, config: Config) -> Iterator[Work]:
    """The work on a new version of the dataset, which is published if it ends well."""
    place = config.paths.dataset
    # The days that a version keeps lie beside it.
    with files.drafted(place) as version, files.removed_on_failure(days.kept_by(version)):
        work = Work(spark, config, version)
        yield work
        files.remove(work.url(_STAGING))
