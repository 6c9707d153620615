"""From the model and every history to recommendations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from recsys.config.checks import require, require_instant
from recsys.tiles import MOST_USERS


@dataclass(frozen=True)
class Subjects:
    """A table of who gets a list; without a path everybody who has a history does.

    Args:
        path: files or folders
        format: parquet, csv, json, or any other format that Spark reads
        options: options of Spark's reader
        id: the table's column of users (or sessions)
        group: the table's column of a subject's group, for score.fallback_by; null for none
        only: nobody else gets a list; where this is false, whoever has a history does, too
    """

    path: tuple[str, ...] = ()
    format: str = "parquet"
    options: dict[str, str] = field(default_factory=dict)
    id: str = "user_id"
    group: str | None = None
    only: bool = True


@dataclass(frozen=True)
class Pairs:
    """A table of who may see what next, for the list pairs.

    Args:
        path: files or folders
        format: parquet, csv, json, or any other format that Spark reads
        options: options of Spark's reader
        id: the table's column of users (or sessions)
        item_id: the table's column of items
    """

    path: tuple[str, ...] = ()
    format: str = "parquet"
    options: dict[str, str] = field(default_factory=dict)
    id: str = "user_id"
    item_id: str = "item_id"


@dataclass(frozen=True)
class Stock:
    """A table of what can be sold; without a path everything can.

    Args:
        path: files or folders
        format: parquet, csv, json, or any other format that Spark reads
        options: options of Spark's reader
        item_id: the table's column of items
        quantity: the column of what is left, in stock if above 0; null: all that it names is
    """

    path: tuple[str, ...] = ()
    format: str = "parquet"
    options: dict[str, str] = field(default_factory=dict)
    item_id: str = "item_id"
    quantity: str | None = None


@dataclass(frozen=True)
class Rules:
    """What a merchant asks of every list, in the order in which it is applied.

    Args:
        stock: leave out what cannot be sold
        allow: attribute (or item_id) to the values that may be recommended; empty allows all
        deny: attribute (or item_id) to the values that may not
        leave_out: event type to days; items with such an event within the days are left out of
            the user's list, and null means for ever; where nothing else may be recommended they are
            in it all the same, so that nobody is without a list
        popularity: added to a score for each unit of log(1 + the item's events in train)
        own_items: added to a score for each unit of log(1 + the item's events in the history)
        half_life_days: an event counts half for popularity after so many days before the lists'
            instant, and for own_items before the user's latest event; popularity then counts the
            events that the histories hold; null counts all alike
        diversity: from 0, by score alone, to 1, by difference from the items before
            (maximal marginal relevance, Carbonell and Goldstein, 1998)
        diversity_pool: this many best items are put in a diverse order
        at_most: attribute to the most items of a list that share a value; an item with several
            values counts for each
        explore_share: share of the places of all lists for items that are new or sell little; a
            part of a place is a place for as many of the users; items that nobody has seen are
            among them where the model tells them apart by their features
            (prepare.vocabulary_tail catalogue, train.item_features)
        explore_max_train_count: those with at most this many events in train
    """

    stock: Stock = field(default_factory=Stock)
    allow: dict[str, list[str]] = field(default_factory=dict)
    deny: dict[str, list[str]] = field(default_factory=dict)
    leave_out: dict[str, float | None] = field(default_factory=dict)
    popularity: float = 0.0
    own_items: float = 0.0
    half_life_days: float | None = None
    diversity: float = 0.0
    diversity_pool: int = 100
    at_most: dict[str, int] = field(default_factory=dict)
    explore_share: float = 0.0
    explore_max_train_count: int = 20

    def __post_init__(self) -> None:
        for key in ("diversity", "explore_share"):
            value = getattr(self, key)
            require(0 <= value <= 1, f"score.rules.{key}", "a share from 0 to 1", value)
        half_life = self.half_life_days
        is_time = half_life is None or half_life > 0
        key = "score.rules.half_life_days"
        require(is_time, key, "a positive number of days, or null", half_life)
        for key in ("diversity_pool", "explore_max_train_count"):
            value = getattr(self, key)
            require(value > 0, f"score.rules.{key}", "a positive number", value)
        for name, most in self.at_most.items():
            require(most > 0, f"score.rules.at_most.{name}", "a positive number", most)
        for name, days in self.leave_out.items():
            key = f"score.rules.leave_out.{name}"
            require(days is None or days > 0, key, "a positive number of days, or null", days)


@dataclass(frozen=True)
class Neighbours:
    """An index of neighbours in place of the exact search: faster, and not quite exact.

    Item vectors are put into cells around centres, and a search looks into the nearest cells
    (faiss, IndexIVFFlat). Needs the package faiss-cpu: pip install recsys[neighbours].

    Args:
        above_items: used where more items than this can be recommended; null never uses it
        cells: how many there are; 0 is four times the root of the number of items
        probes: cells that a search looks into; more find more and take longer
        sample_users: users whose lists are compared with exact ones, for the manifest
    """

    above_items: int | None = None
    cells: int = 0
    probes: int = 64
    sample_users: int = 512

    def __post_init__(self) -> None:
        require(self.cells >= 0, "score.neighbours.cells", "a number from 0", self.cells)
        for key in ("probes", "sample_users"):
            value = getattr(self, key)
            require(value > 0, f"score.neighbours.{key}", "a positive number", value)


@dataclass(frozen=True)
class Score:
    """From the model and every user's history to recommendations.

    Args:
        lists: home is for a user, next for a session, similar for an item, pairs for the
            probability that a user who sees an item next buys it in that session; home needs a
            dataset of users, next one of sessions (prepare.sequence_unit)
        top_k: length of a list
        layout: one array a subject, or one row a recommendation
        as_of: the instant that the lists are made for (ISO 8601, UTC): no later event counts, save
            for what the model and the popularity of items have of train; null is the dataset's last
            event
        subjects: who gets the lists home and next
        pairs: of a user (or session) and an item, for the list pairs; rules are not for them
        active_since: only subjects with an event from then on (ISO 8601, UTC); null is all
        rules: what a merchant asks of every list
        fallback_by: what those without history get is popular among the subjects of their group
            (group), in the events of the platform that their group names, else their last event
            (platform), or among the items whose attribute of this name is their group; null, or a
            group that nobody knows, is popular with all; the score is log(1 + the item's events
            there), 0 where what is popular with all fills up a group's list
        reason: name the past event without which the score would be lowest; takes as many times
            longer as a history has events
        neighbours: an index of neighbours in place of the exact search
        json_lines: also write the lists as JSON lines of a key and a value
        user_vectors: also write the vectors of those who get lists, as item_vectors.parquet of the
            model has those of the items
        batch_users: users that a worker scores at once, at most 216, so that no score's last bits
            depend on who else is scored with its user
        block_items: items that are scored at once
        users_per_part: users (of similar, items) after which what is done is safe from a failure,
            at least; a part is whole files of histories
    """

    lists: tuple[Literal["home", "next", "similar", "pairs"], ...] = ("home",)
    top_k: int = 20
    layout: Literal["arrays", "rows"] = "arrays"
    as_of: str | None = None
    subjects: Subjects = field(default_factory=Subjects)
    pairs: Pairs = field(default_factory=Pairs)
    active_since: str | None = None
    rules: Rules = field(default_factory=Rules)
    fallback_by: str | None = None
    reason: bool = False
    neighbours: Neighbours = field(default_factory=Neighbours)
    json_lines: bool = False
    user_vectors: bool = False
    batch_users: int = 216
    block_items: int = 65536
    users_per_part: int = 100_000

    def __post_init__(self) -> None:
        require_instant("score.as_of", self.as_of)
        require_instant("score.active_since", self.active_since)
        for key in ("top_k", "batch_users", "block_items", "users_per_part"):
            value = getattr(self, key)
            require(value > 0, f"score.{key}", "a positive number", value)
        few = self.batch_users <= MOST_USERS
        require(few, "score.batch_users", f"at most {MOST_USERS}", self.batch_users)
        asked = bool(self.pairs.path) or "pairs" not in self.lists
        require(asked, "score.pairs.path", "files or folders, for the list pairs", self.pairs.path)
        known = len(set(self.lists)) == len(self.lists) > 0
        require(known, "score.lists", "different lists, at least one", self.lists)
        # A block of items starts where TensorFlow can read it from the mapped file as it is.
        multiple = self.block_items % 16 == 0
        require(multiple, "score.block_items", "a multiple of 16", self.block_items)
        if self.fallback_by not in (None, "platform"):  # which histories have, too
            path, group = self.subjects.path, self.subjects.group
            require(bool(path), "score.subjects.path", "files, for score.fallback_by", path)
            require(group is not None, "score.subjects.group", "a column, for fallback_by", group)
