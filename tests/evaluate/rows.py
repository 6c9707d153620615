"""Rows of sequences written by hand, for the tests of evaluation."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from recsys.schemas import (
    BOUGHT,
    FIRST_ITEM,
    HISTORIES,
    NO_LABEL,
    NOT_BOUGHT,
    SEQUENCE_ARRAYS,
)

LENGTH = 8
DAY = 86400

EARLIER = pa.struct(
    [
        ("number", pa.int64()), ("item", pa.int32()), ("event_type", pa.int32()),
        ("timestamp", pa.int64()), ("session_start", pa.int32()),
    ]
)  # fmt: skip

# An item of an event, and the number of its step in the user's whole history; a step is a day.
Step = tuple[int, list[int]]


def row(
    user: str,
    steps: list[Step],
    first_target: int,
    event_type: int = FIRST_ITEM,
    sessions: tuple[int, ...] | None = None,
) -> dict:
    """A row of schemas.SEQUENCES: all steps from number first_target on are targets.

    Steps are consecutive and numbered from 0 in the user's whole history; a session starts with
    those of the given numbers, or with each. Every third known item is bought.
    """
    arrays: dict[str, list[int]] = {name: [] for name in SEQUENCE_ARRAYS}
    for number, items in steps:
        for place, item in enumerate(items):
            is_first = item not in items[:place] or item < FIRST_ITEM
            arrays["item"].append(item)
            arrays["event_type"].append(event_type)
            arrays["gap_seconds"].append(DAY if number else 0)
            arrays["session_start"].append(int(sessions is None or number in sessions))
            arrays["step"].append(number - steps[0][0])
            arrays["timestamp"].append(DAY * number)
            arrays["target"].append(int(number >= first_target and is_first))
            label = NO_LABEL
            if arrays["target"][-1] and item >= FIRST_ITEM:
                label = BOUGHT if (item + number) % 3 == 0 else NOT_BOUGHT
            arrays["purchase"].append(label)
    for name, values in arrays.items():
        values.extend([-1 if name == "step" else 0] * (LENGTH - len(values)))
    return {"sequence_id": f"{user}#{first_target}", "user_id": user, "weight": 1.0, **arrays}


def stored(
    user: str, steps: list[Step], splits: list[int], sessions: tuple[int, ...] | None = None
) -> dict:
    """A row of schemas.HISTORIES: consecutive steps, each in the time of one of SPLITS."""
    own = row(user, steps, first_target=0, sessions=sessions)
    count = sum(step >= 0 for step in own["step"])
    split = [splits[step] for step in own["step"][:count]]
    arrays = {name: own[name][:count] for name in HISTORIES if name in own and name != "user_id"}
    return {"user_id": user, "first_step": steps[0][0], **arrays, "split": split}


def record_batch(rows: list[dict], earlier: list[list[tuple[int, int]]]) -> pa.RecordBatch:
    """What recsys.evaluate.ranked reads; earlier: (step's number, item) of each row's user."""
    before = [[earlier_event(number, item) for number, item in own] for own in earlier]
    columns = {
        "user_id": pa.array([own["user_id"] for own in rows]),
        "first_step": pa.array([first_step(own) for own in rows], pa.int64()),
        **{
            name: pa.array(
                [own[name] for own in rows],
                pa.list_(pa.int64() if name == "timestamp" else pa.int32()),
            )
            for name in SEQUENCE_ARRAYS
        },
        "earlier": pa.array(before, pa.list_(EARLIER)),
    }
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def earlier_event(number: int, item: int, session_start: int = 1) -> dict[str, int]:
    """An event of histories.whole."""
    return {
        "number": number, "item": item, "event_type": FIRST_ITEM, "timestamp": DAY * number,
        "session_start": session_start,
    }  # fmt: skip


def first_step(own: dict) -> int:
    """The number of the row's step 0 in the user's history."""
    within = own["step"][int(np.argmax(own["target"]))]
    return int(own["sequence_id"].split("#")[1]) - within
