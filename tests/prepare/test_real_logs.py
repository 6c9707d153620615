"""Real logs go through with a mapping alone, and their sessions are those of plain Python."""

from __future__ import annotations

import csv
from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import groupby
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from recsys import files
from recsys.config import Prepare
from recsys.manifest import Manifest
from recsys.prepare import pipeline
from recsys.prepare.sessions import Rules
from recsys.schemas import FIRST_ITEM, SPLITS
from tests.data import configuration, data
from tests.prepare.cleaned import Event
from tests.prepare.reference import MICROS, sessions

HOUR = 3600 * MICROS
HALF_AN_HOUR = Rules(HOUR // 2)

# What each log needs said of it, and its columns by our names.
TAOBAO = (
    "taobao10k/UserBehavior.csv",
    {"user_id": "_c0", "item_id": "_c1", "event_type": "_c3", "timestamp": "_c4"},
    {"pv": "view", "cart": "cart", "fav": "favourite", "buy": "purchase"},
)
YOOCHOOSE = (
    "yoochoose100k/clicks.tsv",
    {"user_id": "null", "session_id": "SessionId", "item_id": "ItemId", "timestamp": "Time"},
    {},
)
RETAILROCKET = (
    "retailrocket10k/views.tsv",
    {name: name for name in ("user_id", "session_id", "item_id", "timestamp")},
    {},
)
LONG = "--prepare.sequence_length=512"  # the whole of each user
Log = tuple[str, dict[str, str], dict[str, str]]

# Of a session: its instants (seconds) with what was done to which item, None where unknown.
Instants = list[tuple[int, Counter[tuple[str | None, str]]]]


def prepared(spark: SparkSession, folder: Path, log: Log, *settings: str) -> Manifest:
    """The dataset of a log, by its mapping."""
    path, columns, types = log
    tabs = [] if path.endswith(".csv") else ["--events.options={header: 'true', sep: '\\t'}"]
    config = configuration(
        f"--events.path=[{data(path)}]", "--events.format=csv", *tabs,
        *[f"--events.columns.{ours}={theirs}" for ours, theirs in columns.items()],
        f"--events.event_types={types}", "--events.timestamp_unit=s",
        f"--paths.dataset={folder}", *settings,
    )  # fmt: skip
    return pipeline.run(spark, config)


def read(log: Log) -> Iterator[Event]:
    """The log in plain Python."""
    path, columns, types = log
    with data(path).open(newline="") as file:
        if path.endswith(".csv"):
            rows: Iterable[dict[str, str]] = (
                {f"_c{place}": text for place, text in enumerate(row)} for row in csv.reader(file)
            )
        else:
            rows = csv.DictReader(file, delimiter="\t")
        for row in rows:
            found = {ours: row[theirs] for ours, theirs in columns.items() if theirs != "null"}
            session = found.get("session_id")
            kind = types[found["event_type"]] if types else "view"
            time = int(Decimal(found["timestamp"]) * MICROS)
            yield Event(found.get("user_id", session), session, found["item_id"], kind, time)


def by_name(log: Log, rules: Rules | None = None) -> dict[str, list[Event]]:
    """The log's events in time, by "<user>-<ordinal>" of their session; without rules the log's."""
    events = sorted(read(log), key=lambda event: (event.user_id, event.timestamp))
    if rules is not None:
        named = sessions([(event.user_id, event.timestamp) for event in events], rules)
        names = [name for name, _ in named]
    else:
        ordinals: dict[str, dict[str | None, int]] = defaultdict(dict)
        for event in events:
            own = ordinals[event.user_id]
            own.setdefault(event.session_id, len(own))
        names = [f"{e.user_id}-{ordinals[e.user_id][e.session_id]}" for e in events]
    found = defaultdict(list)
    for name, event in zip(names, events, strict=True):
        found[name].append(event)
    return found


def instants(events: list[Event], items: set[str]) -> Instants:
    return [
        (
            time // MICROS,
            Counter((e.item_id if e.item_id in items else None, e.event_type) for e in own),
        )
        for time, own in groupby(events, key=lambda event: event.timestamp)
    ]


def vocabulary(made: Manifest) -> dict[int, str]:
    table = pq.read_table(files.local_copy(files.join(made.url, "vocabulary.parquet")))
    names = zip(table["item_index"].to_pylist(), table["item_id"].to_pylist(), strict=True)
    return dict(names)


def written(made: Manifest) -> dict[str, Instants]:
    """The sessions of histories/, by name; those of one row by their marks."""
    by_name = made.config["prepare"]["sequence_unit"] == "session"
    names, found = vocabulary(made), defaultdict(list)
    folder = files.local_copy(files.join(made.url, "histories"))
    for row in pq.read_table(folder).to_pylist():
        number = -1
        places = [place for place, step in enumerate(row["step"]) if step >= 0]
        for _, own in groupby(places, key=row["step"].__getitem__):
            step = list(own)
            kinds = [made.event_types[row["event_type"][place] - FIRST_ITEM] for place in step]
            items = [names.get(row["item"][place]) for place in step]
            opens = {row["session_start"][place] for place in step}
            assert len(opens) == 1, "a session starts with an instant"
            number += opens.pop()
            name = row["user_id"] if by_name else f"{row['user_id']}-{number}"
            found[name].append((row["timestamp"][step[0]], Counter(zip(items, kinds, strict=True))))
    return found


def check_written(made: Manifest, reference: dict[str, list[Event]]) -> None:
    """All sessions are there, with all their events."""
    assert not made.quarantine
    items = set(vocabulary(made).values())
    expected = {name: instants(events, items) for name, events in reference.items()}
    assert written(made) == expected


@pytest.mark.parametrize(
    ("log", "rules", "settings"),
    [(TAOBAO, HALF_AN_HOUR, ["--prepare.sequence_unit=session", LONG]), (YOOCHOOSE, None, [])],
    ids=["taobao", "yoochoose"],
)
def test_sessions(
    spark: SparkSession, tmp_path: Path, log: Log, rules: Rules | None, settings: list[str]
) -> None:
    made = prepared(spark, tmp_path, log, *settings)
    reference = by_name(log, rules)
    check_written(made, reference)
    borders = (made.valid_start, made.test_start)
    counts, steps = Counter(), Counter()
    for events in reference.values():
        side = bisect(borders, events[0].timestamp)
        own = [event for event in events if bisect(borders, event.timestamp) == side]
        steps[SPLITS[side]] += len({event.timestamp for event in own}) - 1
        counts.update(event.item_id for event in own if SPLITS[side] == "train")
    frequent = [item for item, count in counts.items() if count >= Prepare().vocabulary_min_count]
    in_order = sorted(frequent, key=lambda item: (-counts[item], item))
    assert list(vocabulary(made).values()) == in_order
    assert {split: made.splits[split].steps for split in SPLITS} == steps
    assert all(steps.values())


def test_sessions_of_users_end_with_a_day_or_when_full(spark: SparkSession, tmp_path: Path) -> None:
    made = prepared(
        spark, tmp_path, TAOBAO, LONG, "--prepare.session_gap_minutes=180",
        "--prepare.session_day_boundary_hour=20.5", "--prepare.session_max_events=5",
    )  # fmt: skip
    by_pause = Rules(3 * HOUR)
    by_day = replace(by_pause, day_start=20 * HOUR + HOUR // 2)
    reference = by_name(TAOBAO, replace(by_day, max_events=5))
    check_written(made, reference)
    assert len(by_name(TAOBAO, by_pause)) < len(by_name(TAOBAO, by_day)) < len(reference)


def test_named_sessions_of_users(spark: SparkSession, tmp_path: Path) -> None:
    check_written(prepared(spark, tmp_path, RETAILROCKET, LONG), by_name(RETAILROCKET))
