"""Every table that passes from one stage to the next: its columns, their types and meanings.

A column's name is spelled here and nowhere else decided; `SCHEMA_VERSION` changes with them.
Types are Spark DDL, so that rooms without Spark can read this page too.
"""

from collections.abc import Iterable, Mapping

SCHEMA_VERSION = 9

# Indexes below FIRST_ITEM are no items.
PADDING = 0
UNKNOWN = 1
FIRST_ITEM = 2

# Of a target: what is known of its purchase (recsys.prepare.purchases).
NO_LABEL = 0
NOT_BOUGHT = 1
BOUGHT = 2

SPLITS = ("train", "valid", "test")

# Events after the mapping and the checks; one row an event.
EVENTS: dict[str, str] = {
    "user_id": "string",  # the session's id where the log has no users
    "session_id": "string",  # as given, or (user, ordinal)
    "item_id": "string",
    "event_type": "string",
    "timestamp": "bigint",  # microseconds since the epoch, UTC
    "platform": "string",  # null where unknown
    "price": "double",
    "quantity": "double",
    "query": "string",  # of an event that searches; such an event has no item_id
    "value": "double",
    "position": "int",  # on the page, where the item was shown; null where unknown
}

# What was shown to a user, and whether it was chosen then; the items of events are no part of it.
IMPRESSIONS: dict[str, str] = {
    "user_id": "string",
    "session_id": "string",  # as given by the log
    "item": "int",  # index in the vocabulary; 1 is unknown
    "timestamp": "bigint",  # seconds since the epoch, UTC
    "position": "int",  # on the page; null where unknown
    "chosen": "int",  # 1: an event of the user has the item within prepare.session_gap_minutes
}

# Whose a session is, where sessions are sequences under the names that the log gives them.
OWNERS: dict[str, str] = {
    "session_id": "string",
    "user_id": "string",  # as in EVENTS
}

# A row that was dropped for a fault: the raw row as JSON, why, and whose it is.
QUARANTINE: dict[str, str] = {
    "reason": "string",  # "<column>: <what is wrong>"
    "row": "string",  # where ids are hashed: without them, and null if it could not be read
    "user_id": "string",  # as in EVENTS; null where the row does not say
    "timestamp": "bigint",  # as in EVENTS; null where the row does not say
}

# One row of a split. The arrays hold the events in time, at most prepare.sequence_length of them,
# then padding up to the longest row of the row group. Events at the same instant share a step; a
# step is a set, its order means nothing.
#
#   item           7  3 | 9 | 3  8  2 | 0 0
#   step           0  0 | 1 | 2  2  2 | -1 -1
#   gap_seconds    0  0 | 86400 | 60 60 60 | 0 0
#   session_start  1  1 | 1 | 0  0  0 | 0 0
#   target         0  0 | 1 | 1  1  1 | 0 0      (the first step of a history is never a target)
#   purchase       0  0 | 1 | 2  1  1 | 0 0
SEQUENCES: dict[str, str] = {
    "sequence_id": "string",  # "<user>#<first target step of the user's history>"
    "user_id": "string",  # the session's id where prepare.sequence_unit is session
    "weight": "float",  # 1; 0 on a row that only fills up the last row group
    "item": "array<int>",  # index in the vocabulary; 0 pads, 1 is unknown, or that of a search
    "event_type": "array<int>",  # index in the manifest's event_types; 0 pads, 1 is unknown
    "gap_seconds": "array<int>",  # since the step before, in the whole history; 0 at its start
    "session_start": "array<int>",  # 1 on the events of a session's first step
    "step": "array<int>",  # number of the step within the row; -1 pads
    "timestamp": "array<bigint>",  # seconds since the epoch, UTC; 0 pads
    "target": "array<int>",  # 1: this split asks for this item at this step, from all steps before
    "purchase": "array<int>",  # of a target: 2 bought in the session, 1 not, 0 unknown
}

SEQUENCE_ARRAYS: tuple[str, ...] = (
    "item",
    "event_type",
    "gap_seconds",
    "session_start",
    "step",
    "timestamp",
    "target",
    "purchase",
)

# The latest events of every user (or session), ready to be scored: the arrays of a sequence
# without targets and labels, as long as there are events, at most prepare.sequence_length. What
# a user did before is in earlier/, in the same columns, in pieces of any length, and so is what was
# more at one instant than half a row has room for: both together hold every event once.
HISTORIES: dict[str, str] = {
    "user_id": SEQUENCES["user_id"],
    "first_step": "bigint",  # number, in the user's whole history, of the step that is 0 here
    **{name: SEQUENCES[name] for name in SEQUENCE_ARRAYS if name not in {"target", "purchase"}},
    "split": "array<int>",  # index in SPLITS; NO_SPLIT: an embargo, or a session over a border
}
NO_SPLIT = len(SPLITS)


# Where prepare.weight_by_value is on, another array of SEQUENCES: what a target weighs in training
# by its value; 0 where there is none.
VALUE_WEIGHT = "value_weight"
# Of EVENTS, the numbers that prepare.event_numbers may make arrays of.
EVENT_NUMBERS = ("price", "quantity")


def with_inputs(schema: Mapping[str, str], inputs: Iterable[str]) -> dict[str, str]:
    """SEQUENCES or HISTORIES with the arrays that are there only where the log has their column.

    `platform` is an index in the manifest's platforms; 0 pads, 1 is unknown. `query_1` and so on
    are the ids of a query's words (recsys.text), 0 where there are no more. EVENT_NUMBERS are
    normalized (recsys.scale, by the manifest's event_numbers); 0 pads and is unknown. There is no
    array of dwell times: how long a step was looked at is known when the next step of its session
    happens, and is that step's gap_seconds, unless it starts a session. Hour and weekday are in
    timestamp.

    Args:
        schema: of the table
        inputs: names of the arrays, as the manifest's inputs have them; and VALUE_WEIGHT
    """
    kinds = dict.fromkeys((VALUE_WEIGHT, *EVENT_NUMBERS), "array<float>")
    return {**schema, **{name: kinds.get(name, "array<int>") for name in inputs}}


# One row an item of the vocabulary; more columns: each attribute's value, and "<attribute>_index"
# as its index in the categories, 1 where it is missing. Of a list of categories both are lists of
# any length, rising and without repeats. What is a number, a text, a given vector or a statistic is
# a feature: "<feature>_vector", as long as the manifest's features say.
ITEMS: dict[str, str] = {
    "item_index": "int",
    "item_id": "string",
    "train_count": "bigint",
    "valid_count": "bigint",
}


_VALUES = {"category": ("string", "int"), "categories": ("array<string>", "array<int>")}
_DENSE = {"number": "double", "text": "string", "vector": "array<double>"}


def items_schema(attributes: Mapping[str, str], features: Iterable[str] = ()) -> dict[str, str]:
    """ITEMS with its attributes and features.

    Args:
        attributes: name to category or categories
        features: names of those that are vectors

    >>> list(items_schema({"brand": "category"}))
    ['item_index', 'item_id', 'train_count', 'valid_count', 'brand', 'brand_index']
    """
    schema = dict(ITEMS)
    for name, kind in attributes.items():
        schema[name], schema[f"{name}_index"] = _VALUES[kind]
    return {**schema, **{f"{name}_vector": "array<float>" for name in features}}


def catalogue_schema(attributes: Mapping[str, str]) -> dict[str, str]:
    """The catalogue as it comes in: item_id and each attribute's value.

    Args:
        attributes: name to kind, categorical and dense

    >>> catalogue_schema({"tags": "categories"})
    {'item_id': 'string', 'tags': 'array<string>'}
    """
    kinds = {**_DENSE, **{kind: value for kind, (value, _) in _VALUES.items()}}
    return {"item_id": "string", **{name: kinds[kind] for name, kind in attributes.items()}}


# From FIRST_ITEM on without gaps, ties by item_id: where days were added, first the items of the
# version before, in its order; the manifest's train_items that train has enough of, by falling
# train_count; behind them what prepare.vocabulary_tail adds: valid_items that train and validation
# together have enough of, by falling valid_count; then the catalogue's others.
VOCABULARY: dict[str, str] = {
    "item_index": "int",
    "item_id": "string",
    "train_count": "bigint",  # events of train
    "valid_count": "bigint",  # events of validation
}

# The values of the category attributes; 0 pads, 1 is unknown (or missing).
CATEGORIES: dict[str, str] = {
    "attribute": "string",
    "value_index": "int",
    "value": "string",
    "train_count": "bigint",
}

# One row a case (a row's target step) and system, out of evaluate's ranking. The distinct targets
# of the step, and the list that the system makes of all steps before:
#
#   targets 7 9 1   ranks 2 0 0   recommended 3 7 12 5 ...
CASES: dict[str, str] = {
    "user_id": "string",
    "step": "bigint",  # number of the step in the user's whole history; with user_id it is the case
    "timestamp": "bigint",  # of the step, seconds since the epoch
    "system": "string",  # model, or the name of a reference
    "history_events": "bigint",  # events of the user before the step
    "history_start": "bigint",  # of the first of these, seconds; of the step where there is none
    "targets": "array<int>",  # item indexes; 1 where the vocabulary does not have the item
    "target_types": "array<int>",  # index of each target's event type
    "target_platforms": "array<int>",  # of its platform, 1 is unknown; 0 where the log has none
    "ranks": "array<int>",  # of each target; 0: beyond the longest list, or not known
    "recommended": "array<int>",  # item indexes, best first
    "is_new": "array<boolean>",  # of each of these: whether the user's history lacks it
}

# One row a labelled target of test, with what the model's purchase head says of it.
PURCHASES: dict[str, str] = {
    "user_id": "string",
    "timestamp": "bigint",  # of the step, seconds since the epoch
    "item": "int",  # index in the vocabulary
    "is_bought": "boolean",
    "probability": "float",
}

# Lists, best first, as one array a subject. The subject of the list home is a user, of next a
# session, of similar an item, each under its own name.
RECOMMENDATIONS: dict[str, str] = {
    "list": "string",  # home, next, similar
    "user_id": "string",  # or session_id, or similar_to
    "item_id": "array<string>",
    "score": "array<float>",
    "source": "array<string>",  # model, fallback, exploration
}
SUBJECTS = {"home": "user_id", "next": "session_id", "similar": "similar_to"}
SOURCES = ("model", "fallback", "exploration")

# The list pairs: one row a pair, under the subject's own name.
PAIRS: dict[str, str] = {
    "list": "string",  # pairs
    "user_id": "string",  # or session_id
    "item_id": "string",
    "probability": "float",  # that the subject buys the item, if it comes next; null unless model
    "source": "string",  # model; or why there is no probability
}
PAIR_SOURCES = ("model", "no_history", "unknown_item")  # the first that holds

# Vectors of users (or sessions), as the model sees their histories.
USER_VECTORS: dict[str, str] = {"user_id": "string", "vector": "array<float>"}

# What the folders of the lists add to their columns.
RECOMMENDATION_FOLDERS: dict[str, str] = {"date": "string", "model": "string", "part": "string"}


def recommendations(kind: str, layout: str, reason: bool) -> dict[str, str]:
    """The columns of lists of a kind.

    Args:
        kind: home, next, similar
        layout: arrays, or rows: one row a recommendation, with its rank from 1
        reason: whether the past event that counted most is named

    >>> list(recommendations("next", "rows", reason=True))
    ['list', 'session_id', 'rank', 'item_id', 'score', 'source', 'reason']
    """
    names = [SUBJECTS[kind] if name == "user_id" else name for name in RECOMMENDATIONS]
    schema = dict(zip(names, RECOMMENDATIONS.values(), strict=True))
    if reason:
        schema["reason"] = "array<string>"  # the item of a past event; null where none counted
    if layout == "arrays":
        return schema
    single = {name: kind.removeprefix("array<").removesuffix(">") for name, kind in schema.items()}
    return {**dict(list(single.items())[:2]), "rank": "int", **dict(list(single.items())[2:])}


def ddl(schema: dict[str, str]) -> str:
    """The schema as one line of Spark DDL.

    >>> ddl({"item_index": "int", "item_id": "string"})
    'item_index int, item_id string'
    """
    return ", ".join(f"{name} {kind}" for name, kind in schema.items())
