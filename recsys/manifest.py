"""The dataset's manifest: what prepare promises and the later jobs rely on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from recsys import files
from recsys.errors import DataError
from recsys.scale import Scale
from recsys.schemas import FIRST_ITEM, SCHEMA_VERSION


@dataclass(frozen=True)
class GroupFile:
    """One Parquet file of a split, which is one row group.

    Args:
        path: below the dataset's version
        rows: rows in it, the fillers of weight 0 counted too
        targets: target events in it
    """

    path: str
    rows: int
    targets: int


@dataclass(frozen=True)
class Split:
    """One of train, valid and test.

    Args:
        files: equal row groups, in the order of their paths
        rows: rows with weight 1
        fillers: rows with weight 0
        steps: target steps, each of which is a case to evaluate
        targets: target events, those of unknown items included
        unknown_targets: targets that the vocabulary does not have
        labels: targets of which it is known whether their item is bought (recsys.prepare.purchases)
        bought: those of which it is
    """

    files: tuple[GroupFile, ...]
    rows: int
    fillers: int
    steps: int
    targets: int
    unknown_targets: int
    labels: int = 0
    bought: int = 0


@dataclass(frozen=True)
class Step:
    """One step of the preparation, in the order in which they ran.

    Args:
        name: of the step
        rows_in: events that came in
        rows_out: events that went on
        decision: what was done and why, in words
    """

    name: str
    rows_in: int
    rows_out: int
    decision: str


@dataclass(frozen=True)
class Day:
    """Checked events of a day that are kept, so that later days can be added.

    Args:
        date: UTC, ISO 8601
        path: of the folder of EVENTS, below days/ of the dataset's place
        events: in it
        version: id of the version of the dataset that wrote it
    """

    date: str
    path: str
    events: int
    version: str


@dataclass(frozen=True)
class Manifest:
    """All about one version of a dataset.

    Args:
        url: of the dataset's version; where it was read from, not stored
        schema_version: of the tables' layout
        code_version: of the program that wrote it
        created_at: UTC, ISO 8601
        seed: of everything that was drawn
        sequence_length: entries of each array
        max_steps: most steps in one row
        max_step_events: most events in one step
        max_case_targets: most targets of one step
        valid_start: first instant of validation, microseconds since the epoch; null where the
            split is not by time
        test_start: first instant of test, likewise
        first_event: microseconds since the epoch
        last_event: microseconds since the epoch
        users: users (or sessions) with a history
        items: entries of the vocabulary without padding and unknown
        valid_items: those behind the items of train that came with validation, for a refit
        catalogue_items: those behind these that the catalogue alone has, or is rare in both
        vocabulary_fingerprint: of its item ids in their order
        content_fingerprint: of the sequences, whatever the order in which they were written
        event_types: from index FIRST_ITEM on
        platforms: of train, from index FIRST_ITEM on; none where the log has no such column
        features: of the items, name to the length of its vectors
        events_by_day: date to its clean events
        events_by_type: clean events of each of event_types
        inputs: the arrays of events that not every dataset has, with the number of their indexes,
            which is 0 where they are numbers
        event_numbers: how each of these numbers is clipped and normalized, by the events of train
        attributes: of the items, name to category or categories
        categories: attribute to the number of its indexes, padding and unknown counted
        splits: train, valid and test
        steps: what every step of the preparation took in and let through
        quarantine: reason to rows
        certificate: the checks for leakage and what they found
        user_ids: as in the log, or HMAC-SHA256 where they are hashes
        user_key: fingerprint of the hashes' key, which tells it from others; null without one
        identities: counts of the table of identities; empty without one
        platforms_apart: whose ids stay apart, as <platform>:<id>; none where they do not
        rows_read: of the log by this run; less than all where days were added
        days: that are kept; those of this version are the ones that it added
        forgotten_users: that jobs/forget.py removed since the whole log was read
        config: the resolved configuration
    """

    url: str
    schema_version: int
    code_version: str
    created_at: str
    seed: int
    sequence_length: int
    max_steps: int
    max_step_events: int
    max_case_targets: int
    valid_start: int | None
    test_start: int | None
    first_event: int
    last_event: int
    users: int
    items: int
    valid_items: int
    catalogue_items: int
    vocabulary_fingerprint: str
    content_fingerprint: str
    event_types: tuple[str, ...]
    platforms: tuple[str, ...]
    attributes: dict[str, str]
    categories: dict[str, int]
    splits: dict[str, Split]
    steps: tuple[Step, ...]
    quarantine: dict[str, int]
    certificate: dict[str, Any]
    user_ids: str = "as in the log"
    user_key: str | None = None
    identities: dict[str, int] = field(default_factory=dict)
    platforms_apart: tuple[str, ...] = ()
    rows_read: int = 0
    days: tuple[Day, ...] = ()
    forgotten_users: int = 0
    config: dict[str, Any] = field(default_factory=dict)
    features: dict[str, int] = field(default_factory=dict)
    inputs: dict[str, int] = field(default_factory=dict)
    events_by_day: dict[str, int] = field(default_factory=dict)
    events_by_type: dict[str, int] = field(default_factory=dict)
    event_numbers: dict[str, Scale] = field(default_factory=dict)

    @property
    def train_items(self) -> int:
        """The items that train has enough of: the first of the vocabulary."""
        return self.items - self.valid_items - self.catalogue_items

    @property
    def vocabulary_size(self) -> int:
        """Rows of an embedding: items, and the reserved indexes before them."""
        return self.items + FIRST_ITEM

    @property
    def event_type_size(self) -> int:
        """Rows of an embedding of event types."""
        return len(self.event_types) + FIRST_ITEM

    @property
    def weighs_by_value(self) -> bool:
        """Whether sequences say what a target weighs (schemas.VALUE_WEIGHT)."""
        return bool(self.config.get("prepare", {}).get("weight_by_value"))

    def ends(self, splits: Iterable[str]) -> int:
        """Before which instant, in microseconds, all events of some splits are."""
        borders = {"train": self.valid_start, "valid": self.test_start}
        # Behind the last event there is none; where no instant parts the splits, all may have it.
        return max(borders.get(split) or self.last_event + 1 for split in splits)

    def file_urls(self, split: str) -> list[str]:
        """The URLs of a split's row groups, sorted by path."""
        return [files.join(self.url, file.path) for file in self.splits[split].files]

    def write(self) -> None:
        """Writes it into the version that it describes."""
        content = dataclasses.asdict(self)
        del content["url"]
        files.write_json(files.join(self.url, files.MANIFEST), content)


def read(dataset: str) -> Manifest:
    """The manifest of a dataset's current version.

    Raises:
        DataError: no dataset, another schema version, or a manifest that lacks a key
    """
    url = files.current(dataset, made_by="jobs/prepare.py")
    where = files.join(url, files.MANIFEST)
    content = files.read_json(where)
    found = content.get("schema_version")
    if found != SCHEMA_VERSION:
        raise DataError(
            f"{where}: expected schema_version {SCHEMA_VERSION}, found {found}; "
            "run jobs/prepare.py again"
        )
    names = {entry.name for entry in dataclasses.fields(Manifest)} - {"url"}
    if missing := sorted(names - content.keys()):
        raise DataError(f"{where}: expected the key {missing[0]}, found none")
    splits = {
        name: Split(**{**split, "files": tuple(GroupFile(**file) for file in split["files"])})
        for name, split in content["splits"].items()
    }
    return Manifest(
        **{
            **{name: content[name] for name in names},
            "url": url,
            "splits": splits,
            "steps": tuple(Step(**step) for step in content["steps"]),
            "days": tuple(Day(**day) for day in content["days"]),
            "event_types": tuple(content["event_types"]),
            "platforms": tuple(content["platforms"]),
            "platforms_apart": tuple(content["platforms_apart"]),
            "event_numbers": {
                name: Scale.read(own) for name, own in content["event_numbers"].items()
            },
        }
    )
