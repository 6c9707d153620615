"""Which events are left out, although nothing is wrong with their rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from recsys.config.checks import require, require_instant


@dataclass(frozen=True)
class Clean:
    """Which events are left out; each step says in the manifest how many came in and went on.

    Args:
        start: events before this instant are left out (ISO 8601, UTC); null has no limit
        end: events from this instant on are left out (ISO 8601, UTC); null has no limit
        drop_items: attribute to values; events of items with one of them are not merchandise
        drop_without_quantity: drop events whose quantity is 0
        min_value: events whose value is below go; null is off
        items_not_in_catalogue: keep or drop events whose item the catalogue does not have
        duplicates: leave out events, and impressions, that equal another one in every column
        bot_events_per_day: users with more events on one day (UTC) go; null is off
        bot_events_per_minute: users with more events in one minute go; null is off
        bot_view_share: users of bot_share_events and more go whose share of events of the type view
            (events.event_types says how the log calls these) is above; null is off
        bot_share_events: users with fewer events have no share of views to judge
        repeat_seconds: leave out what the user did to the item at most so long before, too; null is
            off
        min_item_events: items with fewer events go; null is off
        min_user_events: users with fewer events go, then items again, until nothing changes; null
            is off
        min_events_in: where these events count; train, which alone loses events then, or all, as
            published protocols do, so that what comes later decides about train too
    """

    start: str | None = None
    end: str | None = None
    drop_items: dict[str, list[str]] = field(default_factory=dict)
    drop_without_quantity: bool = False
    min_value: float | None = None
    items_not_in_catalogue: Literal["keep", "drop"] = "keep"
    duplicates: bool = False
    bot_events_per_day: int | None = None
    bot_events_per_minute: int | None = None
    bot_view_share: float | None = None
    bot_share_events: int = 100
    repeat_seconds: float | None = None
    min_item_events: int | None = None
    min_user_events: int | None = None
    min_events_in: Literal["train", "all"] = "train"

    def __post_init__(self) -> None:
        for key in ("bot_events_per_day", "bot_events_per_minute", "bot_share_events",
                    "min_item_events", "min_user_events"):  # fmt: skip
            value = getattr(self, key)
            require(value is None or value > 0, f"prepare.clean.{key}", "a positive number", value)
        require_instant("prepare.clean.start", self.start)
        require_instant("prepare.clean.end", self.end)
        share, repeat = self.bot_view_share, self.repeat_seconds
        require(
            share is None or 0 < share < 1,
            "prepare.clean.bot_view_share",
            "a share between 0 and 1",
            share,
        )
        require(
            repeat is None or repeat >= 0,
            "prepare.clean.repeat_seconds",
            "seconds from 0 on",
            repeat,
        )

    @property
    def finds_bots(self) -> bool:
        """Whether a threshold is set."""
        thresholds = (self.bot_events_per_day, self.bot_events_per_minute, self.bot_view_share)
        return any(threshold is not None for threshold in thresholds)

    @property
    def compares_events(self) -> bool:
        """Whether a user's events are looked at together."""
        return self.duplicates or self.finds_bots or self.repeat_seconds is not None

    @property
    def looks_across(self) -> bool:
        """Whether a step looks at several events together."""
        return self.compares_events or self.asks_support

    @property
    def asks_support(self) -> bool:
        """Whether items or users need a number of events."""
        return self.min_item_events is not None or self.min_user_events is not None
