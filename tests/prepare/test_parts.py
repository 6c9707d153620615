"""Which split an event belongs to, and what its session is called."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from recsys import files
from recsys.config import Clean, EventColumns, Events, Prepare
from recsys.errors import ConfigError, DataError
from recsys.prepare import pipeline
from recsys.prepare.instants import iso
from recsys.prepare.parts import by_draw, by_times, last_sessions, last_targets
from recsys.prepare.sessions import SESSION_TIME, Namer, Rules
from recsys.prepare.split import TEST, TRAIN, VALID, SplitTimes
from recsys.schemas import NO_SPLIT
from tests.prepare.reference import sessions
from tests.prepare.small import DAY, START, log_rows, small_config, write_csv

MINUTE = 60_000_000
HOUR = 60 * MINUTE


def test_an_embargo_parts_by_time(spark: SparkSession) -> None:
    events = spark.range(10).select(by_times(F.col("id"), SplitTimes(4, 8, embargo=2)))
    assert [row[0] for row in events.collect()] == [
        TRAIN, TRAIN, NO_SPLIT, NO_SPLIT, VALID, VALID, NO_SPLIT, NO_SPLIT, TEST, TEST
    ]  # fmt: skip


@pytest.mark.parametrize("embargo", [0, 2, 9])
def test_numpy_parts_events_as_spark_does(spark: SparkSession, embargo: int) -> None:
    times = SplitTimes(10, 16, embargo)
    both = [(start, start + later) for start in range(20) for later in (0, 1, 7)]
    frame = spark.createDataFrame(both, "start bigint, time bigint")
    side, own = by_times(F.col("start"), times), by_times(F.col("time"), times)
    columns = (side.alias("side"), F.when(side == own, side).otherwise(NO_SPLIT).alias("part"))
    found = frame.orderBy("start", "time").select(*columns).toPandas()
    start, time = np.array(sorted(both)).T
    np.testing.assert_array_equal(times.parts(start, start), found["side"])
    np.testing.assert_array_equal(times.parts(start, time), found["part"])
    assert {TRAIN, TEST, NO_SPLIT} <= set(found["part"])


def test_the_last_targets_of_each(spark: SparkSession) -> None:
    rows = [
        *[("ann", "buy", time) for time in (1, 2, 3, 4, 4)], ("ann", "view", 5),
        ("bob", "buy", 1), ("bob", "buy", 2),  # the first instant is no target
        ("cat", "view", 1), ("cat", "buy", 2), ("cat", "buy", 3),
        ("dan", "view", 1), ("dan", "view", 2), ("dan", "view", 3),
        ("eve", "search", 1), ("eve", "buy", 2), ("eve", "buy", 3),
    ]  # fmt: skip
    events = spark.createDataFrame(rows, "user_id string, event_type string, timestamp bigint")
    is_search = F.col("event_type") == "search"  # has no item, and is what the first target follows
    events = events.withColumn("item_id", F.when(~is_search, "any"))
    found = {row.user_id: row[1:] for row in last_targets(events, "user_id", ("buy",)).collect()}
    assert found == {"ann": (3, 4), "cat": (2, 3), "eve": (2, 3)}
    found = {row.user_id: row[1:] for row in last_targets(events, "user_id", ()).collect()}
    assert found == {"ann": (4, 5), "cat": (2, 3), "dan": (2, 3), "eve": (2, 3)}


def test_the_last_sessions_of_each_user(spark: SparkSession) -> None:
    starts = {"ann": [10, 20, 30, 40], "bob": [10, 20, 30], "cat": [10]}
    rows = [
        (user, f"{user}-{start}", start + later)
        for user, own in starts.items() for start in own for later in (0, 3)
    ]  # fmt: skip
    events = spark.createDataFrame(rows, "user_id string, session_id string, timestamp bigint")
    one = Prepare(split="last_sessions")
    found = {row.user_id: row[1:] for row in last_sessions(events, one).collect()}
    assert found == {"ann": (30, 40), "bob": (20, 30)}
    more = replace(one, valid_sessions=2)
    assert [tuple(row) for row in last_sessions(events, more).collect()] == [("ann", 20, 40)]


def test_users_are_drawn_by_the_seed(spark: SparkSession) -> None:
    prepare = Prepare(split="users", valid_share=0.1, test_share=0.3)
    users = spark.range(4000).select(F.col("id").cast("string").alias("user"))
    columns = [by_draw(F.col("user"), prepare, seed) for seed in (1, 1, 2)]
    first, again, other = zip(*users.select(*columns).collect(), strict=True)
    assert first == again != other
    shares = [first.count(part) / 4000 for part in (TRAIN, VALID, TEST)]
    assert shares == pytest.approx([0.6, 0.1, 0.3], abs=0.03)


def _named(events: list[tuple[str, int]], rules: Rules, size: int) -> list[tuple[str, int]]:
    namer, found = Namer(rules), []
    for start in range(0, len(events), size):
        part = events[start : start + size]
        users, times = zip(*part, strict=True)
        times_us = pa.array(times, pa.int64())
        named = namer.feed(pa.RecordBatch.from_pydict({"user_id": users, "timestamp": times_us}))
        assert named.column("user_id").to_pylist() == list(users)
        columns = [named.column(c).to_pylist() for c in ("session_id", SESSION_TIME)]
        found += zip(*columns, strict=True)
    return found


@settings(max_examples=300, deadline=None)
@given(
    events=st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 200)), min_size=1, max_size=40),
    day_start=st.sampled_from([None, 0, 5 * HOUR]),
    max_events=st.sampled_from([None, 1, 2, 5]),
    size=st.integers(1, 50),
)
def test_sessions_are_those_of_plain_python(
    events: list[tuple[str, int]], day_start: int | None, max_events: int | None, size: int
) -> None:
    rules = Rules(30 * MINUTE, day_start, max_events)
    in_order = sorted((user, time * 20 * MINUTE) for user, time in events)
    assert _named(in_order, rules, size) == sessions(in_order, rules)


def test_a_session_does_not_depend_on_other_users() -> None:
    draw = random.Random(1)
    events = sorted((draw.choice("abc"), draw.randrange(3000) * MINUTE) for _ in range(300))
    rules = Rules(30 * MINUTE, 4 * HOUR, 6)
    whole = dict(zip(events, _named(events, rules, 64), strict=True))
    for user in "abc":
        own = [event for event in events if event[0] == user]
        assert _named(own, rules, 7) == [whole[event] for event in own]
        assert all(a <= b for a, b in pairwise(start for _, start in _named(own, rules, 7)))


def test_rules_are_as_configured() -> None:
    prepare = Prepare(session_gap_minutes=5, session_day_boundary_hour=4.5, session_max_events=9)
    assert Rules.of(prepare) == Rules(5 * MINUTE, 4 * HOUR + 30 * MINUTE, 9)


def test_a_session_is_of_no_split_behind_the_end_of_its_own(
    spark: SparkSession, tmp_path: Path
) -> None:
    steady = [
        ("steady", f"i{n % 25:02}", "view", str(START + 5 * DAY + n * 1200), "1.50", "1")
        for n in range(4 * DAY // 1200)
    ]
    config = small_config(tmp_path, write_csv(tmp_path / "log.csv", log_rows() + steady))
    config = replace(config, prepare=replace(config.prepare, sequence_unit="session"))
    made = pipeline.run(spark, config)
    assert made.valid_start is not None
    assert made.test_start is not None
    steps = {step.name: step.rows_in - step.rows_out for step in made.steps}
    behind = [row for row in steady if int(row[3]) * 1_000_000 >= made.valid_start]
    assert steps["split"] == len(behind) > 0
    for split, end in (("train", made.valid_start), ("valid", made.test_start)):
        files_of = [pq.read_table(files.local_copy(url)) for url in made.file_urls(split)]
        latest = max(max(map(max, table["timestamp"].to_pylist())) for table in files_of)
        assert latest * 1_000_000 < end
    checks = {check["name"] for check in made.certificate["checks"]}
    assert {"train: last event", "train: last session", "valid: first target"} <= checks


def test_a_session_of_a_user_is_never_asked_for_behind_a_border(
    spark: SparkSession, tmp_path: Path
) -> None:
    rows = log_rows(users=12)
    last = max(int(row[3]) for row in rows)
    borders = [last - 4 * DAY, last - 2 * DAY]  # of small_config
    rows += [
        ("goes_on", f"i{n:02}", "view", str(borders[0] + (n - 3) * 60 + pause), "1.50", "1")
        for pause in (0, DAY) for n in range(7)
    ]  # fmt: skip
    made = pipeline.run(spark, small_config(tmp_path, write_csv(tmp_path / "log.csv", rows)))
    assert made.valid_start == borders[0] * 1_000_000
    (step,) = [step for step in made.steps if step.name == "split"]
    assert step.rows_in - step.rows_out == 4, "what goes on behind the border"
    tables = {split: [row for url in made.file_urls(split)
                      for row in pq.read_table(files.local_copy(url)).to_pylist()
                      if row["user_id"] == "goes_on"] for split in ("train", "valid")}  # fmt: skip
    asked = {split: [time - borders[0] for row in own
                     for time, target in zip(row["timestamp"], row["target"], strict=True)
                     if target] for split, own in tables.items()}  # fmt: skip
    assert asked == {"train": [-120, -60], "valid": [DAY + (n - 3) * 60 for n in range(7)]}
    (row,) = tables["valid"]
    assert sum(item > 0 for item in row["item"]) == 14, "what went on is input"
    assert "valid: first session with a target" in str(made.certificate["checks"])


def test_of_sessions_that_interleave_only_the_last_ones_are_asked_for(
    spark: SparkSession, tmp_path: Path
) -> None:
    """A user's session goes on when the next one, on another device, has begun."""
    visits = [("a", 0), ("a", 60), ("b", 1000), ("b", 1060), ("c", 1100), ("b", 1120), ("c", 1160)]
    lines = [f"u{user},{visit}-{user},i{number},{START + second}\n"
             for user in range(6) for number, (visit, second) in enumerate(visits)]  # fmt: skip
    path = tmp_path / "log.csv"
    path.write_text("who,visit,what,when\n" + "".join(lines))
    columns = EventColumns(
        user_id="who", session_id="visit", item_id="what", timestamp="when", event_type=None
    )
    config = small_config(tmp_path, path, columns=columns)
    prepare = replace(
        config.prepare, split="last_sessions", valid_days=None, test_days=None,
        vocabulary_min_count=1,
    )  # fmt: skip
    made = pipeline.run(spark, replace(config, prepare=prepare))
    asked = {split: {time - START for url in made.file_urls(split)
                     for row in pq.read_table(files.local_copy(url)).to_pylist()
                     for time, target in zip(row["timestamp"], row["target"], strict=True)
                     if target} for split in ("train", "valid", "test")}  # fmt: skip
    assert asked == {"train": {60}, "valid": {1000, 1060}, "test": {1100, 1160}}
    (step,) = [step for step in made.steps if step.name == "split"]
    assert step.rows_in - step.rows_out == 6, "what b goes on with"


def test_last_sessions_may_begin_with_what_is_too_rare(spark: SparkSession, tmp_path: Path) -> None:
    rows = [
        (f"u{user}", item or f"rare-{user}-{visit}", "view", str(START + visit * DAY + place),
         "1", "1")
        for user in range(6) for visit in range(3)
        for place, item in enumerate((None, f"i{visit}", f"j{visit}"))
    ]  # fmt: skip
    config = small_config(tmp_path, write_csv(tmp_path / "log.csv", rows))
    prepare = replace(
        config.prepare, split="last_sessions", valid_days=None, test_days=None,
        sequence_unit="session", clean=Clean(min_item_events=5, min_events_in="all"),
        vocabulary_min_count=1,
    )  # fmt: skip
    made = pipeline.run(spark, replace(config, prepare=prepare))
    asked = {split: {(row["user_id"], time - START) for url in made.file_urls(split)
                     for row in pq.read_table(files.local_copy(url)).to_pylist()
                     for time, target in zip(row["timestamp"], row["target"], strict=True)
                     if target} for split in ("train", "valid", "test")}  # fmt: skip
    assert asked == {
        split: {(f"u{user}-{visit}", visit * DAY + 2) for user in range(6)}
        for visit, split in enumerate(("train", "valid", "test"))
    }


@pytest.mark.parametrize("unit", ["user", "session"])
def test_a_session_starts_where_a_rare_item_was(
    spark: SparkSession, tmp_path: Path, unit: Any
) -> None:
    rows, border = log_rows(users=12), START + 6 * DAY
    rows = [row for row in rows if abs(int(row[3]) - border) > 7200]
    rows += [("late", item, "view", str(border + second), "1.50", "1") for item, second in
             [("i01", -9000), ("i02", -8990), ("i03", -8980), ("rare", -600), ("i04", 600),
              ("i05", 660), ("i06", 9000), ("i07", 9060)]]  # fmt: skip
    config = small_config(tmp_path, write_csv(tmp_path / "log.csv", rows))
    prepare = replace(
        config.prepare, valid_start=iso(border * 1_000_000),
        test_start=iso((border + DAY) * 1_000_000), valid_days=None, test_days=None,
        sequence_unit=unit, clean=Clean(min_item_events=3),
    )  # fmt: skip
    made = pipeline.run(spark, replace(config, prepare=prepare))
    stored = pq.read_table(files.local_copy(files.join(made.url, "histories"))).to_pylist()
    parts = {time - border: split for row in stored if row["user_id"].startswith("late")
             for time, split in zip(row["timestamp"], row["split"], strict=True)}  # fmt: skip
    assert parts == {-9000: 0, -8990: 0, -8980: 0, 600: 3, 660: 3, 9000: 1, 9060: 1}
    (step,) = [step for step in made.steps if step.name == "split"]
    assert step.rows_in - step.rows_out >= 2


def test_support_that_leaves_no_train_is_named(spark: SparkSession, tmp_path: Path) -> None:
    rows = [(f"u{n}", f"i{n}" if n < 90 else "late", "view", str(START + n * 3600), "1", "1")
            for n in range(100)]  # fmt: skip
    config = small_config(tmp_path, write_csv(tmp_path / "log.csv", rows))
    clean = Clean(min_item_events=2)
    prepare = replace(config.prepare, clean=clean, valid_days=0.2, test_days=0.2)
    words = "min_item_events, min_user_events: expected to leave events before .* found the first"
    with pytest.raises(DataError, match=words):
        pipeline.run(spark, replace(config, prepare=prepare))


def test_a_session_of_two_users_is_named(spark: SparkSession, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(
        "who,visit,what,when\nann,1,tea,1700006400\nann,1,jam,1700006500\nbob,1,tea,1700006600\n"
    )
    columns = EventColumns(
        user_id="who", session_id="visit", item_id="what", timestamp="when", event_type=None
    )
    config = small_config(tmp_path, path, columns=columns)
    config = replace(config, prepare=replace(config.prepare, sequence_unit="session"))
    with pytest.raises(DataError, match=r"found '1' of 'ann' and 'bob'; events\.sess"):
        pipeline.run(spark, config)


def test_sessions_of_users_need_both_columns() -> None:
    columns = EventColumns(user_id="who", session_id=None)
    with pytest.raises(ConfigError, match=r"events\.columns\.session_id: expected a column, for"):
        Events(columns=columns, sessions_of_users=True)


def test_sessions_that_are_numbered_by_user_are_told_apart(
    spark: SparkSession, tmp_path: Path
) -> None:
    lines = [f"{user},{day},i{n % 5},{START + day * DAY + n * 60}"
             for user in ("ann", "bob") for day in range(10) for n in range(4)]  # fmt: skip
    path = tmp_path / "log.csv"
    path.write_text("\n".join(["who,visit,what,when", *lines]))
    columns = EventColumns(
        user_id="who", session_id="visit", item_id="what", timestamp="when", event_type=None
    )
    config = small_config(tmp_path, path, columns=columns)
    events = replace(config.events, sessions_of_users=True)
    prepare = replace(config.prepare, sequence_unit="session")
    made = pipeline.run(spark, replace(config, events=events, prepare=prepare))
    assert made.users == 20  # histories, one a session
    owners = pq.read_table(files.local_copy(files.join(made.url, "owners"))).to_pylist()
    names = {(row["session_id"], row["user_id"]) for row in owners}
    assert names == {(f"{user}:{day}", user) for user in ("ann", "bob") for day in range(10)}
