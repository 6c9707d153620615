"""Every key of the configuration, typed, with its unit; one configuration serves all jobs.

A job reads the section of its own name and those of the stages before it. Values are checked
where a section is built, so that an impossible one stops a job before any work.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Literal

from recsys.errors import ConfigError

AttributeKind = Literal["category"]


def _require(holds: bool, key: str, expected: str, found: object) -> None:
    if not holds:
        raise ConfigError(f"{key}: expected {expected}, found {found!r}")


@dataclass(frozen=True)
class Paths:
    """Where each stage writes; any Hadoop URL, a plain path means the local file system.

    Args:
        dataset: what prepare writes and the later jobs read
        model: what train writes
        report: what evaluate writes
        recommendations: what score writes
    """

    dataset: str = "work/dataset"
    model: str = "work/model"
    report: str = "work/report"
    recommendations: str = "work/recommendations"


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
    """

    user_id: str | None = "user_id"
    session_id: str | None = None
    item_id: str = "item_id"
    event_type: str | None = None
    timestamp: str = "timestamp"
    platform: str | None = None
    price: str | None = None
    quantity: str | None = None

    def __post_init__(self) -> None:
        _require(
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
        default_event_type: the type of every event where the log has no such column
        event_types: renames of event types, the log's name to ours
        timestamp_unit: text (ISO 8601) or the unit of an epoch
        earliest: events before this are faults (ISO 8601, UTC)
        latest: events after this are faults (ISO 8601, UTC); null means now
        max_fault_share: share of rows that may go to quarantine before the job stops
    """

    path: tuple[str, ...] = ()
    format: str = "parquet"
    options: dict[str, str] = field(default_factory=dict)
    columns: EventColumns = field(default_factory=EventColumns)
    default_event_type: str = "view"
    event_types: dict[str, str] = field(default_factory=dict)
    timestamp_unit: Literal["text", "s", "ms", "us", "ns"] = "text"
    earliest: str = "1990-01-01"
    latest: str | None = None
    max_fault_share: float = 0.01

    def __post_init__(self) -> None:
        _require(
            0 <= self.max_fault_share <= 1,
            "events.max_fault_share",
            "a share from 0 to 1",
            self.max_fault_share,
        )


@dataclass(frozen=True)
class Items:
    """The catalogue; without a path the items are those of the events.

    Args:
        path: files or folders
        format: parquet, csv, json, or any other format that Spark reads
        options: options of Spark's reader
        item_id: the catalogue's name of the item column
        attributes: the columns to keep, each with its kind (category)
    """

    path: tuple[str, ...] = ()
    format: str = "parquet"
    options: dict[str, str] = field(default_factory=dict)
    item_id: str = "item_id"
    attributes: dict[str, AttributeKind] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require(
            bool(self.path) or not self.attributes,
            "items.attributes",
            "none without items.path",
            list(self.attributes),
        )
        for name in self.attributes:
            reserved = name in {"rows", "item_id", "item_index", "train_count"} or any(
                name == f"{other}_index" for other in self.attributes
            )
            usable = name.isidentifier() and not reserved
            _require(usable, "items.attributes", "a plain name that no table uses itself", name)


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
        for key in ("session_gap_minutes", "valid_days", "test_days", "vocabulary_min_count",
                    "sequence_target_events", "rows_per_group", "groups_multiple_of"):  # fmt: skip
            value = getattr(self, key)
            _require(value > 0, f"prepare.{key}", "a positive number", value)
        _require(
            self.sequence_length > self.sequence_target_events,
            "prepare.sequence_length",
            f"more than prepare.sequence_target_events ({self.sequence_target_events})",
            self.sequence_length,
        )


@dataclass(frozen=True)
class Train:
    """From the dataset to a model.

    Args:
        epochs: passes over the training rows, at most
        batch_size_per_rank: rows of one step on one rank
        optimizer: adam or adagrad
        learning_rate: reached after the warm-up
        warmup_steps: steps over which the learning rate rises from 0
        decay: how the learning rate falls to 0 at the last step; none keeps it
        clip_norm: largest global norm of the gradient
        l2: weight of the squared weights in the loss
        cell: of the recurrent network: rnn, gru or lstm
        layers: of cells
        embedding_size: width of an item's vector, and of the network's state
        item_features: attributes whose vectors are added to an item's own
        normalize: give item vectors and states length 1, and scores no bias for popularity
        scale: of the scores between vectors of length 1
        repeat: learn how often and how lately bought items are bought again
        embedding_dropout: share of an event's vector that is zeroed in training
        input_dropout: share of a step's input that is zeroed in training
        state_dropout: share of the state that is zeroed in training before items are scored
        loss: cross_entropy, bpr_max or top1_max
        negatives: items drawn for a step, besides its targets; 0 scores the whole vocabulary
        negatives_power: they are drawn by popularity to this power
        basket_power: 0 counts targets alike, 1 baskets: a target weighs (basket size) ** -this
        early_stopping_metric: the validation metric that chooses the epoch
        patience_epochs: epochs without a better metric before training stops
        checkpoint_steps: steps between checkpoints within an epoch; 0 makes one an epoch
        keep_checkpoints: how many of the last checkpoints stay
        resume: go on with the last unfinished run of the same configuration, if there is one
        stall_seconds: a rank that keeps the others waiting for so long stops the job
        cpu_threads: TensorFlow threads of one rank; 0 shares the machine's cores among its ranks
    """

    epochs: int = 10
    batch_size_per_rank: int = 64
    optimizer: Literal["adam", "adagrad"] = "adam"
    learning_rate: float = 0.002
    warmup_steps: int = 50
    decay: Literal["none", "linear", "cosine"] = "none"
    clip_norm: float = 1.0
    l2: float = 0.0
    cell: Literal["rnn", "gru", "lstm"] = "gru"
    layers: int = 1
    embedding_size: int = 64
    item_features: tuple[str, ...] = ()
    normalize: bool = False
    scale: float = 16.0
    repeat: bool = True
    embedding_dropout: float = 0.0
    input_dropout: float = 0.2
    state_dropout: float = 0.2
    loss: Literal["cross_entropy", "bpr_max", "top1_max"] = "cross_entropy"
    negatives: int = 0
    negatives_power: float = 0.5
    basket_power: float = 0.0
    early_stopping_metric: Literal["recall@20", "mrr@20"] = "recall@20"
    patience_epochs: int = 2
    checkpoint_steps: int = 0
    keep_checkpoints: int = 2
    resume: bool = False
    stall_seconds: int = 300
    cpu_threads: int = 0

    def __post_init__(self) -> None:
        for key in ("epochs", "batch_size_per_rank", "learning_rate", "clip_norm", "layers",
                    "embedding_size", "scale", "patience_epochs", "keep_checkpoints",
                    "stall_seconds"):  # fmt: skip
            value = getattr(self, key)
            _require(value > 0, f"train.{key}", "a positive number", value)
        for key in ("embedding_dropout", "input_dropout", "state_dropout"):
            value = getattr(self, key)
            _require(0 <= value < 1, f"train.{key}", "a share from 0 to below 1", value)
        for key in ("negatives", "negatives_power", "basket_power", "checkpoint_steps", "l2",
                    "warmup_steps", "cpu_threads"):  # fmt: skip
            value = getattr(self, key)
            _require(value >= 0, f"train.{key}", "0 or more", value)


@dataclass(frozen=True)
class Ranking:
    """How scores become a list, the same in train, evaluate and score.

    Args:
        exclude_history: leave out the items that the history holds
    """

    exclude_history: bool = False


@dataclass(frozen=True)
class Evaluate:
    """From the model and the test split to a report.

    Args:
        at: list lengths at which metrics are computed
        references: methods that cost nothing, to compare the model with
        half_life_days: after which an event counts half, for the reference own_items_recent
        batch_rows: rows of the test split that a worker ranks at once
    """

    at: tuple[int, ...] = (5, 10, 20)
    references: tuple[Literal["popular", "own_items", "own_items_recent"], ...] = (
        "popular",
        "own_items",
        "own_items_recent",
    )
    half_life_days: float = 60
    batch_rows: int = 16

    def __post_init__(self) -> None:
        _require(
            len(self.at) > 0 and min(self.at, default=0) > 0,
            "evaluate.at",
            "positive list lengths",
            self.at,
        )
        for key in ("half_life_days", "batch_rows"):
            value = getattr(self, key)
            _require(value > 0, f"evaluate.{key}", "a positive number", value)


@dataclass(frozen=True)
class Subjects:
    """A table of who gets a list; without a path everybody who has a history does.

    Args:
        path: files or folders
        format: parquet, csv, json, or any other format that Spark reads
        options: options of Spark's reader
        id: the table's column of users (or sessions)
        group: the table's column of a subject's group, for score.fallback_by; null for none
    """

    path: tuple[str, ...] = ()
    format: str = "parquet"
    options: dict[str, str] = field(default_factory=dict)
    id: str = "user_id"
    group: str | None = None


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
            the user's list, and null means for ever; as far back as the dataset goes
        popularity: added to a score for each unit of log(1 + the item's events in train)
        own_items: added to a score for each unit of log(1 + the item's events in the history)
        diversity: from 0, by score alone, to 1, by difference from the items before
            (maximal marginal relevance, Carbonell and Goldstein, 1998)
        diversity_pool: this many best items are put in a diverse order
        at_most: attribute to the most items of a list that share a value
        explore_share: share of a list for items that are new or sell little
        explore_max_train_count: those with at most this many events in train
    """

    stock: Stock = field(default_factory=Stock)
    allow: dict[str, list[str]] = field(default_factory=dict)
    deny: dict[str, list[str]] = field(default_factory=dict)
    leave_out: dict[str, float | None] = field(default_factory=dict)
    popularity: float = 0.0
    own_items: float = 0.0
    diversity: float = 0.0
    diversity_pool: int = 100
    at_most: dict[str, int] = field(default_factory=dict)
    explore_share: float = 0.0
    explore_max_train_count: int = 20

    def __post_init__(self) -> None:
        for key in ("diversity", "explore_share"):
            value = getattr(self, key)
            _require(0 <= value <= 1, f"score.rules.{key}", "a share from 0 to 1", value)
        for key in ("diversity_pool", "explore_max_train_count"):
            value = getattr(self, key)
            _require(value > 0, f"score.rules.{key}", "a positive number", value)
        for name, most in self.at_most.items():
            _require(most > 0, f"score.rules.at_most.{name}", "a positive number", most)
        for name, days in self.leave_out.items():
            key = f"score.rules.leave_out.{name}"
            _require(days is None or days > 0, key, "a positive number of days, or null", days)


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
        _require(self.cells >= 0, "score.neighbours.cells", "a number from 0", self.cells)
        for key in ("probes", "sample_users"):
            value = getattr(self, key)
            _require(value > 0, f"score.neighbours.{key}", "a positive number", value)


@dataclass(frozen=True)
class Score:
    """From the model and every user's history to recommendations.

    Args:
        lists: home is for a user, next for a session, similar for an item, pairs for the
            probability of purchase
        top_k: length of a list
        layout: one array a subject, or one row a recommendation
        as_of: the instant that the lists are made for (ISO 8601, UTC); null is the dataset's last
            event
        subjects: who gets the lists home and next
        active_since: only subjects with an event from then on (ISO 8601, UTC); null is all
        rules: what a merchant asks of every list
        fallback_by: what those without history get is popular among the subjects of their group
            (group), or among the items whose attribute of this name is their group; null is
            popular with all
        reason: name the past event without which the score would be lowest; takes as many times
            longer as a history has events
        neighbours: an index of neighbours in place of the exact search
        json_lines: also write the lists as JSON lines of a key and a value
        batch_users: users that a worker scores at once
        block_items: items that are scored at once
        users_per_part: users after which what is done is safe from a failure, at least; a part is
            whole files of histories
    """

    lists: tuple[Literal["home", "next", "similar", "pairs"], ...] = ("home",)
    top_k: int = 20
    layout: Literal["arrays", "rows"] = "arrays"
    as_of: str | None = None
    subjects: Subjects = field(default_factory=Subjects)
    active_since: str | None = None
    rules: Rules = field(default_factory=Rules)
    fallback_by: str | None = None
    reason: bool = False
    neighbours: Neighbours = field(default_factory=Neighbours)
    json_lines: bool = False
    batch_users: int = 256
    block_items: int = 32768
    users_per_part: int = 100_000

    def __post_init__(self) -> None:
        for key in ("top_k", "batch_users", "block_items", "users_per_part"):
            value = getattr(self, key)
            _require(value > 0, f"score.{key}", "a positive number", value)
        known = len(set(self.lists)) == len(self.lists) > 0
        _require(known, "score.lists", "different lists, at least one", self.lists)
        # A block of items starts where TensorFlow can read it from the mapped file as it is.
        multiple = self.block_items % 16 == 0
        _require(multiple, "score.block_items", "a multiple of 16", self.block_items)
        grouped = self.fallback_by is None or self.subjects.group is not None
        _require(grouped, "score.subjects.group", "a column, for score.fallback_by", None)


@dataclass(frozen=True)
class Config:
    """The whole configuration of one pipeline.

    Args:
        name: of the pipeline, shown in reports
        seed: of everything that draws
        paths: where each stage writes
        events: the raw behaviour log
        items: the catalogue
        prepare: from raw events to the dataset
        train: from the dataset to a model
        ranking: how scores become a list
        evaluate: from the model to a report
        score: from the model to recommendations
    """

    name: str = "recsys"
    seed: int = 1
    paths: Paths = field(default_factory=Paths)
    events: Events = field(default_factory=Events)
    items: Items = field(default_factory=Items)
    prepare: Prepare = field(default_factory=Prepare)
    train: Train = field(default_factory=Train)
    ranking: Ranking = field(default_factory=Ranking)
    evaluate: Evaluate = field(default_factory=Evaluate)
    score: Score = field(default_factory=Score)

    def to_dict(self) -> dict[str, object]:
        """The configuration as plain values, for YAML and JSON."""
        return dataclasses.asdict(self)
