"""The tables that come in: the behaviour log and the catalogue."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from recsys.config.checks import require, require_instant
from recsys.config.identities import Identities

AttributeKind = Literal["category", "categories", "path", "number", "text", "vector"]

# Columns of items that are not the catalogue's.
_OWN = (
    "rows", "item_id", "item_index", "train_count", "valid_count", "popularity", "conversion",
    "recency", "price_rank",
)  # fmt: skip


@dataclass(frozen=True)
class EventColumns:
    """The log's own column names; null where it has no such column.

    Args:
        user_id: who; user_id or session_id is needed
        session_id: which visit, basket or session; without it sessions are cut by time gaps
        item_id: what
        event_type: what was done (view, click, cart, purchase, ...)
        timestamp: when
        platform: where (web, app, ...)
        price: price paid or shown, of one line
        quantity: how many
        query: what was searched for; events of events.query_event_types have one, and no item
        value: how much the event says (a rating, an amount), for prepare.clean.min_value
            and prepare.weight_by_value
        position: where on the page the item was shown, a whole number from 0 on; it is kept in
            impressions/ and is never input
    """

    user_id: str | None = "user_id"
    session_id: str | None = None
    item_id: str = "item_id"
    event_type: str | None = None
    timestamp: str = "timestamp"
    platform: str | None = None
    price: str | None = None
    quantity: str | None = None
    query: str | None = None
    value: str | None = None
    position: str | None = None

    def __post_init__(self) -> None:
        require(
            self.user_id is not None or self.session_id is not None,
            "events.columns",
            "a user_id or a session_id",
            None,
        )


@dataclass(frozen=True)
class Events:
    """The raw behaviour log.

    Args:
        path: files or folders
        format: parquet, csv, json, or any other format that Spark reads
        options: options of Spark's reader, such as header or sep
        columns: the log's own column names
        sessions_of_users: name a session <user>:<session>, where the log numbers those of each user
        default_event_type: the type of every event where the log has no such column
        event_types: renames of event types, the log's name to ours
        query_event_types: types that search, where the log has a query: input, and never a target
        impression_event_types: types that show items, where the log has types: they go to
            impressions/, with whether the item was chosen then, and are never input or target
        timestamp_unit: text (ISO 8601) or the unit of an epoch
        earliest: events before this are faults (ISO 8601, UTC)
        latest: events after this are faults (ISO 8601, UTC); null means now
        max_fault_share: share of rows that may go to quarantine before the job stops
        identities: whose the ids of several platforms are
        user_key_variable: environment variable with the key (32 characters or more) by which user
            and session ids are stored as hashes, HMAC-SHA256; null stores them as they are
    """

    path: tuple[str, ...] = ()
    format: str = "parquet"
    options: dict[str, str] = field(default_factory=dict)
    columns: EventColumns = field(default_factory=EventColumns)
    sessions_of_users: bool = False
    default_event_type: str = "view"
    event_types: dict[str, str] = field(default_factory=dict)
    query_event_types: tuple[str, ...] = ("search",)
    impression_event_types: tuple[str, ...] = ("impression",)
    timestamp_unit: Literal["text", "s", "ms", "us", "ns"] = "text"
    earliest: str = "1990-01-01"
    latest: str | None = None
    max_fault_share: float = 0.01
    identities: Identities = field(default_factory=Identities)
    user_key_variable: str | None = None

    def __post_init__(self) -> None:
        require(
            0 <= self.max_fault_share <= 1,
            "events.max_fault_share",
            "a share from 0 to 1",
            self.max_fault_share,
        )
        for key in ("user_id", "session_id") if self.sessions_of_users else ():
            column = getattr(self.columns, key)
            needs = "a column, for events.sessions_of_users"
            require(column is not None, f"events.columns.{key}", needs, column)
        if self.identities.are_asked:
            needs = "a column, for events.identities"
            for key in ("user_id", "platform"):
                column = getattr(self.columns, key)
                require(column is not None, f"events.columns.{key}", needs, column)
        variable = self.user_key_variable
        if variable is not None and not re.fullmatch("[A-Z][A-Z0-9_]*", variable):
            # What stands here may be the key itself: not shown.
            require(False, "events.user_key_variable", "a variable's name, in capitals", "…")
        require_instant("events.earliest", self.earliest)
        require_instant("events.latest", self.latest)
        for name in (self.default_event_type, *self.event_types.values()):
            require(name != "", "events.event_types", "names that are not empty", name)


@dataclass(frozen=True)
class Items:
    """The catalogue; without a path the items are those of the events.

    Args:
        path: files or folders
        format: parquet, csv, json, or any other format that Spark reads
        options: options of Spark's reader
        item_id: the catalogue's name of the item column
        attributes: the columns to keep, each with its kind: category; categories (a list, or text
            that is a JSON list or separated by |); path (of categories, from the widest on, each
            start of which is one); number; text; vector (numbers, as many for each item)
        path_separator: between the categories of a path that is text
    """

    path: tuple[str, ...] = ()
    format: str = "parquet"
    options: dict[str, str] = field(default_factory=dict)
    item_id: str = "item_id"
    attributes: dict[str, AttributeKind] = field(default_factory=dict)
    path_separator: str = ">"

    @property
    def categorical(self) -> dict[str, str]:
        """The attributes that are categories, or lists of them."""
        lists = {"category": "category", "categories": "categories", "path": "categories"}
        return {name: lists[kind] for name, kind in self.attributes.items() if kind in lists}

    @property
    def first_category(self) -> str | None:
        """The attribute within which prices are ranked; none where no item has one category."""
        return next((name for name, kind in self.categorical.items() if kind == "category"), None)

    @property
    def dense(self) -> dict[str, str]:
        """The attributes that become vectors: numbers, texts and given vectors."""
        kinds = ("number", "text", "vector")
        return {name: kind for name, kind in self.attributes.items() if kind in kinds}

    def __post_init__(self) -> None:
        require(
            bool(self.path) or not self.attributes,
            "items.attributes",
            "none without items.path",
            list(self.attributes),
        )
        require(bool(self.path_separator), "items.path_separator", "a text", self.path_separator)
        ends = ("index", "vector")
        made = {f"{other}_{end}" for other in self.attributes for end in ends}
        for name in self.attributes:
            reserved = name in _OWN or name in made
            usable = name.isidentifier() and not reserved
            require(usable, "items.attributes", "a plain name that no table uses itself", name)
