"""Whose the ids of several platforms are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Identities:
    """Which ids of platforms (web, app, mini-program) are one person, whose events are one history.

    Args:
        path: files or folders of a table with a row an id; none, and no ids are merged by it
        format: parquet, csv, json, or any other format that Spark reads
        options: options of Spark's reader
        platform: the table's column of the platform, as the log names it
        user_id: the table's column of the id there
        person: the table's column of whose it is, which becomes the user id
        others: ids without a person: together, an id is one user on all platforms; apart, it is
            another one on each, called <platform>:<id>, and so is a session's
        conflicts: ids of several persons: refuse them, or leave them without a person
    """

    path: tuple[str, ...] = ()
    format: str = "parquet"
    options: dict[str, str] = field(default_factory=dict)
    platform: str = "platform"
    user_id: str = "user_id"
    person: str = "person"
    others: Literal["together", "apart"] = "together"
    conflicts: Literal["refuse", "leave"] = "refuse"

    @property
    def are_asked(self) -> bool:
        """Whether a user's id depends on the platform."""
        return bool(self.path) or self.others == "apart"
