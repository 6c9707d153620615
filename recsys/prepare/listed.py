"""Whom to forget, and which rows are theirs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys import files
from recsys.errors import DataError
from recsys.prepare.sessions import is_by_session
from recsys.prepare.work import Work

# Whether a row is of somebody listed.
GONE = "gone"
# The user who is listed.
WHOSE = "whose"


@dataclass(frozen=True)
class Listed:
    """Whom to forget.

    Args:
        users: user_id as the dataset has it, one row each
        subjects: user_id in sequences and histories, which may be a session, and whose it is
        owner: of a column user_id: whose it is, where that is a session's name
        as_logged: whether ids are not hashed
    """

    users: DataFrame
    subjects: DataFrame
    owner: Column
    as_logged: bool

    def marked(self, rows: DataFrame) -> DataFrame:
        """The rows with GONE and, of those, WHOSE they are."""
        gone = F.broadcast(
            self.subjects.select(F.col("user_id").alias("owner"), WHOSE, F.lit(True).alias(GONE))
        )
        joined = rows.withColumn("owner", self.owner).join(gone, on="owner", how="left")
        return joined.withColumn(GONE, F.coalesce(GONE, F.lit(False)))

    def of(self, table: str) -> Listed:
        """For a table of the dataset: histories may be of sessions, all else is of users."""
        return self if table == "histories" else self.by_user()

    def by_user(self) -> Listed:
        """For a table whose user_id is a user, and never a session."""
        return replace(self, subjects=_own(self.users), owner=F.col("user_id"))

    def left(self, rows: DataFrame) -> DataFrame:
        """The rows of others."""
        return self.marked(rows).where(~F.col(GONE)).select(*rows.columns)


def names(users: str) -> list[str]:
    """The ids in a text with one a line.

    Raises:
        DataError: the file is not there, or has none
    """
    lines = files.read_bytes(files.as_url(users)).decode().splitlines()
    found = [line for line in lines if line.strip()]
    if not found:
        raise DataError(f"{users}: expected ids of users, one a line, found none")
    return found


def listed(work: Work, ids: set[str], as_logged: bool, events: DataFrame | None) -> Listed:
    """Whom to forget, in a dataset made with the work's configuration.

    Args:
        work: with that configuration
        ids: as the dataset has them
        as_logged: whether they are not hashed
        events: EVENTS that it kept, or none

    Raises:
        DataError: its sequences are of sessions that do not say whose they are
    """
    columns, owner = work.config.events.columns, F.col("user_id")
    users = work.spark.createDataFrame([(name,) for name in sorted(ids)], "user_id string")
    subjects = _own(users)
    if is_by_session(work.config) and columns.session_id is None:
        owner = F.regexp_replace("user_id", "-[0-9]+$", "")
    elif is_by_session(work.config) and columns.user_id is not None:
        if events is None:
            raise DataError(
                "prepare.sequence_unit: expected sequences that say whose they are, or kept days "
                "(prepare.days: keep), found neither: sessions under the names that the log gives "
                "them (events.columns.session_id)"
            )
        own = events.join(F.broadcast(users), on="user_id", how="left_semi")
        subjects = own.groupBy(F.col("session_id").alias("user_id")).agg(
            F.min("user_id").alias(WHOSE)
        )
    return Listed(users, subjects, owner, as_logged)


def _own(users: DataFrame) -> DataFrame:
    return users.select("user_id", F.col("user_id").alias(WHOSE))
