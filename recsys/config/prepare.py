"""From raw events to the dataset."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from recsys.config.checks import require, require_instant


@dataclass(frozen=True)
class Prepare:
    """From raw events to the dataset.

    Args:
        drop_items: attribute to values; events of items with one of them are not merchandise
        drop_without_quantity: drop events whose quantity is 0
        items_not_in_catalogue: keep or drop events whose item the catalogue does not have
        session_gap_minutes: a longer pause starts a new session, where the log has no session_id
        sequence_unit: one sequence a user, or one a session
        target_event_types: types that may be predicted; empty means all
        valid_start: first instant of validation (ISO 8601, UTC); null counts back from the end
        test_start: first instant of test (ISO 8601, UTC); null counts back from the end
        valid_days: length of validation in days, where valid_start is null
        test_days: length of test in days, where test_start is null
        vocabulary_min_count: rarer items (in train) become the unknown item
        sequence_length: events in one row, context and targets together
        sequence_target_events: at most this many events of a row are targets, the rest is context
        rows_per_group: rows of one Parquet file, which is one row group
        groups_multiple_of: row groups of a split are a multiple of this: the most ranks that train
    """

    drop_items: dict[str, list[str]] = field(default_factory=dict)
    drop_without_quantity: bool = False
    items_not_in_catalogue: Literal["keep", "drop"] = "keep"
    session_gap_minutes: int = 30
    sequence_unit: Literal["user", "session"] = "user"
    target_event_types: tuple[str, ...] = ()
    valid_start: str | None = None
    test_start: str | None = None
    valid_days: float = 7
    test_days: float = 7
    vocabulary_min_count: int = 5
    sequence_length: int = 128
    sequence_target_events: int = 64
    rows_per_group: int = 256
    groups_multiple_of: int = 4

    def __post_init__(self) -> None:
        require_instant("prepare.valid_start", self.valid_start)
        require_instant("prepare.test_start", self.test_start)
        for key in ("session_gap_minutes", "valid_days", "test_days", "vocabulary_min_count",
                    "sequence_target_events", "rows_per_group", "groups_multiple_of"):  # fmt: skip
            value = getattr(self, key)
            require(value > 0, f"prepare.{key}", "a positive number", value)
        require(
            self.sequence_length > self.sequence_target_events,
            "prepare.sequence_length",
            f"more than prepare.sequence_target_events ({self.sequence_target_events})",
            self.sequence_length,
        )
