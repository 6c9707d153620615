"""From raw events to the dataset."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from recsys.config.checks import require, require_instant
from recsys.config.clean import Clean
from recsys.schemas import EVENT_NUMBERS

Normalization = Literal["standard", "log", "quantile"]


@dataclass(frozen=True)
class Prepare:
    """From raw events to the dataset.

    Args:
        days: whole: events.path is the whole log; keep: it is, and its checked events are kept by
            date beside the dataset's versions; add: events.path is what came since, and the days
            that the current version kept are not read from the log again
        known_days: what add does with events of a day that was kept, or of one before the last:
            refuse them; add them to the day (late events); replace every day (UTC) that the new
            log has an event of
        clean: which events are left out
        session_gap_minutes: a longer pause starts a new session, where the log has no session_id
        session_day_boundary_hour: hour after midnight UTC at which a day starts, which also ends
            sessions, where the log has no session_id; null lets them go on
        session_max_events: a session ends with the instant at which it has so many events, those
            of rare items among them, where the log has no session_id; null sets no limit
        sequence_unit: one sequence a user, or one a session
        target_event_types: types that may be predicted; empty means all
        purchase_event_types: types that buy: targets are labelled with whether their item is bought
            later in the session; empty labels none
        weight_by_value: a target weighs in training as much as its value (events.columns.value) is
            of the mean of train's targets; one without a value weighs 1
        max_value_weight: that a target weighs by it, at most
        split: what parts train, valid and test: time (of an event, or of the session's start where
            sequence_unit is session), leave_one_out (the last target of each sequence is test, the
            one before it valid), last_sessions (of each user), users (drawn, each as a whole); of
            time and last_sessions what a session goes on with behind a border is no target
        valid_start: first instant of validation (ISO 8601, UTC); null counts back from the end
        test_start: first instant of test (ISO 8601, UTC); null counts back from the end
        valid_days: length of validation in days, where valid_start is null; null takes 7, or a
            fifth of the log's time where that is less
        test_days: length of test in days, where test_start is null; likewise
        embargo_days: what happens so long before valid and test starts is no target and counts in
            no statistics, and is input alone; where split is time
        valid_share: share of the users; or, in place of valid_days, of the events (or sessions)
            before test that validation takes from their end
        test_share: share of the users; or, in place of test_days, of all events (or sessions)
        valid_sessions: validation's sessions of a user, where split is last_sessions
        test_sessions: test's sessions of a user, where split is last_sessions
        vocabulary_min_count: rarer items (in train) become the unknown item
        vocabulary_tail: which items follow those of train in the vocabulary: none; valid, those
            that train and validation together have enough of, for a refit; catalogue, these and
            all others of the catalogue
        query_tokens: words of a query that become input, where the log has queries
        query_buckets: different ids of such words
        event_numbers: what becomes input of price and quantity (events.columns), and how each is
            normalized by the events of train, as in numbers; a missing one is 0, as is the mean
        event_number_clip: shares of train's prices, or quantities, beyond which they are clipped
            before that; null clips none
        item_statistics: add to the items' features popularity, conversion, recency and price_rank,
            as of the end of train
        numbers: how numbers of items are normalized, by the items of train: standard (deviations
            from the mean), log (the same of the logarithm), quantile (the rank)
        text_method: what texts become: hashed, their words and parts of words as hashed numbers;
            tfidf_svd, their words by how rare they are in the items of train, in the directions
            that tell these most apart (TF-IDF reduced by a truncated SVD); other items of train
            turn these directions, which a model to start from (train.warm_start) does not know
        text_width: length of the vectors of texts
        sequence_length: events in one row, context and targets together
        sequence_target_events: at most this many events of a row are targets, the rest is context
        rows_per_group: rows of one Parquet file, which is one row group
        groups_multiple_of: row groups of a split are a multiple of this: the most ranks that train
    """

    days: Literal["whole", "keep", "add"] = "whole"
    known_days: Literal["refuse", "add", "replace"] = "refuse"
    clean: Clean = field(default_factory=Clean)
    session_gap_minutes: int = 30
    session_day_boundary_hour: float | None = None
    session_max_events: int | None = None
    sequence_unit: Literal["user", "session"] = "user"
    target_event_types: tuple[str, ...] = ()
    purchase_event_types: tuple[str, ...] = ()
    weight_by_value: bool = False
    max_value_weight: float = 10
    split: Literal["time", "leave_one_out", "last_sessions", "users"] = "time"
    valid_start: str | None = None
    test_start: str | None = None
    valid_days: float | None = None
    test_days: float | None = None
    embargo_days: float = 0
    valid_share: float | None = None
    test_share: float | None = None
    valid_sessions: int = 1
    test_sessions: int = 1
    vocabulary_min_count: int = 5
    vocabulary_tail: Literal["none", "valid", "catalogue"] = "none"
    query_tokens: int = 4
    query_buckets: int = 16384
    event_numbers: dict[str, Normalization] = field(default_factory=dict)
    event_number_clip: tuple[float, float] | None = (0.01, 0.99)
    item_statistics: bool = False
    numbers: Normalization = "standard"
    text_method: Literal["hashed", "tfidf_svd"] = "hashed"
    text_width: int = 64
    sequence_length: int = 128
    sequence_target_events: int = 64
    rows_per_group: int = 256
    groups_multiple_of: int = 4

    def __post_init__(self) -> None:
        require_instant("prepare.valid_start", self.valid_start)
        require_instant("prepare.test_start", self.test_start)
        for key in ("session_gap_minutes", "valid_days", "test_days", "vocabulary_min_count",
                    "valid_sessions", "test_sessions", "sequence_target_events", "rows_per_group",
                    "groups_multiple_of", "query_tokens", "query_buckets",
                    "text_width"):  # fmt: skip
            value = getattr(self, key)
            positive = value is None or value > 0
            require(positive, f"prepare.{key}", "a positive number", value)
        hour, most = self.session_day_boundary_hour, self.session_max_events
        an_hour = hour is None or 0 <= hour < 24
        require(an_hour, "prepare.session_day_boundary_hour", "an hour from 0 to below 24", hour)
        require(most is None or most > 0, "prepare.session_max_events", "a positive number", most)
        heaviest = self.max_value_weight
        require(heaviest >= 1, "prepare.max_value_weight", "a number from 1 on", heaviest)
        self._check_event_numbers()
        self._check_split()
        self._check_support()
        # What follows train's items would have to move behind those that a day adds.
        fixed = self.days == "whole" or self.vocabulary_tail == "none"
        require(fixed, "prepare.vocabulary_tail", f"none beside prepare.days: {self.days}",
                self.vocabulary_tail)  # fmt: skip
        require(
            self.sequence_length > self.sequence_target_events,
            "prepare.sequence_length",
            f"more than prepare.sequence_target_events ({self.sequence_target_events})",
            self.sequence_length,
        )

    def _check_event_numbers(self) -> None:
        for name in self.event_numbers:
            known = " and ".join(EVENT_NUMBERS)
            require(name in EVENT_NUMBERS, "prepare.event_numbers", f"only {known}", name)
        if self.event_number_clip is not None:
            least, most = self.event_number_clip
            require(0 <= least < most <= 1, "prepare.event_number_clip",
                    "two rising shares from 0 to 1", self.event_number_clip)  # fmt: skip

    def _check_support(self) -> None:
        in_train = self.clean.asks_support and self.clean.min_events_in == "train"
        by_days = self.split == "time" and self.valid_share is None and self.test_share is None
        require(
            by_days or not in_train,
            "prepare.clean.min_events_in",
            "all, unless prepare.split is time and no share",
            "train",
        )

    def _check_split(self) -> None:
        by_time = self.split == "time"
        require(self.embargo_days >= 0, "prepare.embargo_days", "0 or more", self.embargo_days)
        no_embargo = by_time or self.embargo_days == 0
        require(no_embargo, "prepare.embargo_days", "0 unless split is time", self.embargo_days)
        for name in ("valid", "test"):
            share = getattr(self, f"{name}_share")
            key = f"prepare.{name}_share"
            if share is None:
                require(self.split != "users", key, "a share, since split is users", None)
                continue
            require(
                self.split in ("time", "users"), key, "null unless split is time or users", share
            )
            require(0 < share < 1, key, "a share between 0 and 1", share)
            once = getattr(self, f"{name}_start") is None
            require(once, key, f"null beside prepare.{name}_start", share)
        shares = (self.valid_share or 0) + (self.test_share or 0)
        require(
            shares < 1, "prepare.valid_share", "less than all beside prepare.test_share", shares
        )
        dated = by_time or (self.valid_start is None and self.test_start is None)
        require(dated, "prepare.split", "time beside valid_start or test_start", self.split)
