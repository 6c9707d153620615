"""Whom to forget, and which rows are theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys import files, hashing, tables
from recsys.errors import DataError
from recsys.manifest import Manifest
from recsys.prepare.identities import apart
from recsys.prepare.sessions import are_named_by_log, is_by_session
from recsys.prepare.work import Work
from recsys.schemas import OWNERS

# Whether a row is of somebody listed.
GONE = "gone"
# The user who is listed.
WHOSE = "whose"
# Tables whose user_id is a session where a session is a sequence; sequences are no part of them.
_OF_SUBJECTS = ("histories", "earlier")


@dataclass(frozen=True)
class Listed:
    """Whom to forget.

    Args:
        users: user_id as the dataset has it, one row each, and whose it is: as it was listed
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
        """For a table of the dataset: some may be of sessions, all else is of users."""
        return self if table in _OF_SUBJECTS else self.by_user()

    def by_user(self) -> Listed:
        """For a table whose user_id is a user, and never a session."""
        return replace(self, subjects=self.users, owner=F.col("user_id"))

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
    return list(dict.fromkeys(found))


def listed(work: Work, names: Sequence[str], former: Manifest, key: hashing.Key | None) -> Listed:
    """Whom to forget, in a dataset made with the work's configuration.

    Args:
        work: with that configuration
        names: of users, as the log has them
        former: of the dataset
        key: of its ids' hashes; none where they are as logged

    Raises:
        DataError: its sequences are of sessions, and whose these are is not there
    """
    whose = {apart(platform, name): name for platform in former.platforms_apart for name in names}
    whose |= {name: name for name in names}
    rows = [(key.hashed(own), key.hashed(of)) if key else (own, of) for own, of in whose.items()]
    users = work.spark.createDataFrame(rows, f"user_id string, {WHOSE} string")
    subjects, owner = users, F.col("user_id")
    if are_named_by_log(work.config):
        owners = tables.read(work.spark, files.join(former.url, "owners"), OWNERS)
        own = owners.join(F.broadcast(users), on="user_id", how="inner")
        subjects = own.select(F.col("session_id").alias("user_id"), WHOSE)
    elif is_by_session(work.config) and work.config.events.columns.session_id is None:
        owner = F.regexp_replace("user_id", "-[0-9]+$", "")
    return Listed(users, subjects, owner, key is None)
