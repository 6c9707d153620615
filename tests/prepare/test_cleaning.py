"""All steps of the cleaning on one log, against plain Python; every step says what it did."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from recsys import files, manifest, tables
from recsys.config import Clean, Config, Prepare
from recsys.errors import ConfigError, DataError
from recsys.prepare import across, cleaning, parts, plan, rules, work
from recsys.prepare.instants import iso
from recsys.prepare.report import step_table
from recsys.prepare.sessions import Rules
from recsys.prepare.split import split_times
from recsys.schemas import EVENTS
from tests.prepare.cleaned import Event, in_order, with_support, without_noise
from tests.prepare.reference import sessions
from tests.prepare.small import DAY, START, Row, log_rows, small_config, write_csv

SECOND = 1_000_000
CLEAN = Clean(
    start=iso((START + DAY) * SECOND),
    end=iso((START + 9 * DAY) * SECOND),
    duplicates=True,
    bot_events_per_day=40,
    bot_events_per_minute=8,
    repeat_seconds=600,
)


def trouble() -> list[Row]:
    """A log with doubled lines, a bot and a user who clicks too fast."""
    rows = log_rows(users=40, seed=11)
    rows += random.Random(4).choices(rows, k=60)
    for n in range(60):
        time = START + 3 * DAY + n * 400
        rows.append(("robot", f"i{n % 25:02}", "view", str(time), "1.50", "1"))
    for n in range(10):
        rows.append(("hasty", f"i{n:02}", "view", str(START + 4 * DAY + n), "1.50", "1"))
    return rows


def as_events(rows: list[Row]) -> list[Event]:
    return in_order(
        [Event(who, None, what, did, int(when) * SECOND, None, float(paid), float(pieces))
         for who, what, did, when, paid, pieces in rows]
    )  # fmt: skip


def cleaned(spark: SparkSession, config: Config) -> tuple[list[Event], dict[str, manifest.Step]]:
    run = work.Work(spark, config, files.new_version(config.paths.dataset))
    found = cleaning.clean(run)
    events = [Event(*row) for row in found.events.select(*EVENTS).collect()]
    assert found.rows == len(events)
    assert found.last_event == max(event.timestamp for event in events)
    return in_order(events), {step.name: step for step in found.steps}


def _at(event: Event) -> tuple[str, int]:
    return event.user_id, event.timestamp


def _names(events: list[Event]) -> dict[tuple[str, int], str]:
    """Of the sessions that events are in, by user and time."""
    places = [_at(event) for event in events]
    named = sessions(places, Rules.of(Prepare()))
    return {place: name for place, (name, _) in zip(places, named, strict=True)}


def config_of(folder: Path, rows: list[Row], clean: Clean, parts: int = 1) -> Config:
    logs = [write_csv(folder / f"log-{part}.csv", rows[part::parts]) for part in range(parts)]
    config = small_config(folder, *logs)
    return replace(config, prepare=replace(config.prepare, clean=clean))


@pytest.mark.parametrize(
    ("counted_in", "items", "users"), [("all", 25, 12), ("train", 12, 6)], ids=["all", "train"]
)
def test_every_step_does_what_it_says_and_says_what_it_did(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted_in: str,
    items: int, users: int,
) -> None:  # fmt: skip
    clean = replace(
        CLEAN,
        min_events_in=counted_in,
        min_item_events=items,
        min_user_events=users,  # type: ignore[arg-type]
    )
    rows = trouble()
    config = config_of(tmp_path, rows, clean)
    events = as_events(rows)
    inside = [e for e in events if START + DAY <= e.timestamp // SECOND < START + 9 * DAY]
    quiet, gone = without_noise(inside, clean)
    end = None
    if counted_in == "train":
        first, last = min(e.timestamp for e in quiet), max(e.timestamp for e in quiet)
        end = split_times(config.prepare, first, last, lambda before: ()).valid_start
    expected = with_support(quiet, items, users, end)
    if counted_in == "all":
        random.Random(1).shuffle(rows)
        monkeypatch.setattr(work, "_ENTRIES_PER_TASK", 250)
        config = config_of(tmp_path, rows, clean, parts=3)
    found, steps = cleaned(spark, config)
    assert [event._replace(session_id=None) for event in found] == expected
    # Sessions are those of what users did, whoever else made an item rare.
    names, others = _names(quiet), _names(expected)
    assert {_at(event): event.session_id for event in found} == {
        _at(event): names[_at(event)] for event in expected
    }
    assert any(names[place] != name for place, name in others.items())
    counts = [(step.rows_in, step.rows_out) for step in steps.values()]
    assert counts[0] == (len(rows), len(rows))
    assert [into for into, _ in counts[1:]] == [out for _, out in counts[:-1]]
    went = {name: step.rows_in - step.rows_out for name, step in steps.items()}
    assert went == {
        "checks": 0,
        "events outside the time range": len(events) - len(inside),
        "duplicates": gone["duplicates"][1],
        "bots by events a day": gone["bots by events a day"][1],
        "bots by events a minute": gone["bots by events a minute"][1],
        "repeats": gone["repeats"][1],
        "support": len(quiet) - len(expected),
    }
    assert all(count > 0 for name, count in went.items() if name != "checks")
    assert "more than 40, 1 of them" in steps["bots by events a day"].decision
    assert not any(event.user_id in {"robot", "hasty"} for event in found)


def test_what_support_drops_moves_no_border(spark: SparkSession, tmp_path: Path) -> None:
    """By default validation is a fifth of the log, which begins with items that are too rare."""
    early = [("early", f"e{n}", "view", str(START - 8 * DAY + n), "1.50", "1") for n in range(9)]
    config = config_of(tmp_path, [*early, *trouble()], Clean(min_item_events=5, min_user_events=5))
    config = replace(config, prepare=replace(config.prepare, valid_days=None, test_days=None))
    run = work.Work(spark, config, files.new_version(config.paths.dataset))
    found = cleaning.clean(run)
    assert found.first_event >= START * SECOND
    times = [int(row[3]) * SECOND for row in (early[0], *trouble())]
    expected = split_times(config.prepare, min(times), max(times), lambda before: ())
    assert found.times == parts.part(run, found).times == expected
    assert expected != split_times(config.prepare, START * SECOND, max(times), lambda before: ())


def test_without_steps_across_events_all_stay(spark: SparkSession, tmp_path: Path) -> None:
    rows = trouble()
    found, steps = cleaned(spark, config_of(tmp_path, rows, Clean()))
    assert found == as_events(rows)
    assert list(steps) == ["checks"]


def test_a_plan_says_what_a_run_does_and_writes_nothing(
    spark: SparkSession, tmp_path: Path
) -> None:
    rows = [*trouble(), ("", "i01", "view", str(START), "1", "1")]
    config = config_of(tmp_path, rows, replace(CLEAN, min_user_events=5))
    before = sorted(tmp_path.rglob("*"))
    said = plan.plan(spark, config)
    assert sorted(tmp_path.rglob("*")) == before
    run = work.Work(spark, config, files.new_version(config.paths.dataset))
    found = cleaning.clean(run)
    assert found.rows < len(rows) - 1
    dropped = {step.name for step in found.steps if step.rows_out < step.rows_in}
    assert dropped > {"checks", "duplicates", "bots by events a day", "repeats", "support"}
    place = f"writes: file://{tmp_path / 'dataset'}/versions/"
    for words in (
        f"reads: {tmp_path / 'log-0.csv'} (csv)",
        step_table(found.steps),
        "user_id: null",
        f"keeps: {found.rows:,} events from {iso(found.first_event)} to ",
        f"splits: {parts.part(run, found).times}",
        place,
        "quarantine/  1 rows",
    ):
        assert words in said


def test_what_bots_were_shown_goes_with_them(spark: SparkSession, tmp_path: Path) -> None:
    shown = [
        (user, "i01", "shown", str(START + DAY), "1.50", "1") for user in ("robot", "hasty", "u1")
    ]
    clean = Clean(bot_events_per_day=40, duplicates=True)
    config = config_of(tmp_path, [*trouble(), *shown, *shown], clean)  # delivered twice
    events = replace(config.events, impression_event_types=("shown",))
    config = replace(config, events=events)
    run = work.Work(spark, config, files.new_version(config.paths.dataset))
    impressions = cleaning.clean(run).impressions
    assert impressions is not None
    assert sorted(row.user_id for row in impressions.collect()) == ["hasty", "u1"]


def test_a_log_of_bots_alone_is_named(spark: SparkSession, tmp_path: Path) -> None:
    rows = [row for row in trouble() if row[0] == "robot"]
    config = config_of(tmp_path, rows, Clean(bot_events_per_day=40))
    with pytest.raises(DataError, match=r"expected events after 'bots by events a day', found"):
        cleaned(spark, config)


def test_what_is_read_in_order_has_a_partition_a_file(spark: SparkSession, tmp_path: Path) -> None:
    table = spark.range(1000, numPartitions=5).selectExpr("999 - id as number")
    url = files.as_url(str(tmp_path / "numbers"))
    tables.write(table, url, {"number": "bigint"})
    spark.conf.set("spark.sql.files.maxPartitionBytes", 300)
    try:
        found = tables.read_in_order(spark, url, {"number": "bigint"})
        parts = found.rdd.mapPartitions(lambda rows: [[row.number for row in rows]]).collect()
    finally:
        spark.conf.unset("spark.sql.files.maxPartitionBytes")
    assert sorted(parts, reverse=True) == [list(range(n, n - 200, -1)) for n in range(999, 0, -200)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Clean(bot_events_per_day=0), "prepare.clean.bot_events_per_day: expected a posi"),
        (lambda: Clean(bot_view_share=1.0), "prepare.clean.bot_view_share: expected a share betw"),
        (lambda: Clean(bot_view_share=0.9), "events.columns.event_type: expected a column, for"),
        (lambda: Clean(drop_without_quantity=True), "events.columns.quantity: expected a column"),
        (lambda: Clean(repeat_seconds=-1), "prepare.clean.repeat_seconds: expected seconds from"),
        (lambda: Clean(start="soon"), "prepare.clean.start: expected a date or time in ISO 8601"),
        (
            lambda: Clean(start="2020-01-02", end="2020-01-02"),
            "prepare.clean.end: expected an instant after prepare.clean.start, 2020-01-02",
        ),
    ],
)
def test_impossible_values_are_named(make: Callable[[], Clean], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        rules.rules(Config(prepare=Prepare(clean=make())))


def test_the_manifest_of_a_user_without_noise_names_no_bot() -> None:
    steps = across._noise_steps(Clean(bot_events_per_day=3), rows=5, marks=[])
    assert [(step.rows_in, step.rows_out, step.decision) for step in steps] == [
        (5, 5, "dropped: users with more than 3, 0 of them")
    ]
