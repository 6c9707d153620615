"""A day is added to those that are kept, and all is as if the whole log had been read."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from recsys import files, manifest, versions
from recsys.config import Clean, Config, Items
from recsys.errors import ConfigError, DataError
from recsys.manifest import Manifest
from recsys.prepare import days, pipeline
from recsys.prepare.removal import forget
from recsys.prepare.statistics import KINDS
from recsys.schemas import SPLITS
from tests.data import configuration
from tests.prepare.small import DAY, START, Row, log_rows, small_config, write_csv

# Days 0 to 6 are kept, 7 to 9 added; validation is day 8, test day 9.
BORDER = START + 7 * DAY
FORGOTTEN = "u5"


def _event(user: str, item: str, day: int, second: int) -> Row:
    return (user, item, "view", str(START + day * DAY + second), "1.50", "1")


def _log() -> tuple[list[Row], list[Row]]:
    """What is kept, and what comes later."""
    rows = [
        *log_rows(users=20, seed=4),
        *[_event(f"u{user}", "grows", 7, 40_000 + user) for user in range(6)],
        *[_event(f"u{user}", "supported", user * 3 + 1, 50_000 + user) for user in range(3)],
        *[_event(user, "fades", 2, 60_000) for user in ("u0", "u1", "u2", "bot")],
        *[_event("bot", "i09", day, 60_000) for day in (0, 3, 4)],
        _event("u1", "never", 5, 60_000),
        *[_event("bot", f"i{item:02}", 7, 70_000 + item * 100 + k) for item in range(20)
          for k in range(3)],
        _event("owl", "i01", 6, DAY - 600), _event("owl", "i02", 7, 300),
        _event("owl", "i03", 7, 302), _event("owl", "i03", 7, 305), _event("owl", "i04", 8, 0),
        *[(user, item, "impression", str(START + day * DAY + 61_000), "1.50", "1")
          for user in ("u1", "u2", "bot") for item in ("i01", "fades", "never") for day in (1, 7)],
    ]  # fmt: skip
    kept = [row for row in rows if int(row[3]) < BORDER]
    added = [row for row in rows if int(row[3]) >= BORDER]
    again = [row for row in kept if int(row[3]) >= BORDER - DAY][:9]
    late = [_event("u3", "i07", 3, 80_000), _event("u3", "i08", 3, 80_100)]
    return kept, [*added, *again, *late]


KEPT, ADDED = _log()
BAD = [("u1", "i01", "view", "soon", "1", "1")]


def _config(folder: Path, name: str, rows: list[Row], **prepare: object) -> Config:
    """Written to a log of that name; the dataset is that of the folder."""
    config = small_config(folder, write_csv(folder / f"{name}.csv", [*rows, *BAD]))
    brands = folder / "brands.csv"
    brands.write_text(
        "item_id,brand,size\n"
        + "".join(f"i{item:02},b{item % 4},{item}\n" for item in range(25))
        + "grows,new,3\nfades,b1,800\n"
    )
    starts = [
        datetime.datetime.fromtimestamp(START + day * DAY, datetime.UTC).isoformat()
        for day in (8, 9)
    ]
    clean = Clean(
        duplicates=True, bot_events_per_day=40, repeat_seconds=10, min_item_events=3,
        min_user_events=3,
    )  # fmt: skip
    section = replace(
        config.prepare, clean=clean, valid_start=starts[0], test_start=starts[1],
        vocabulary_min_count=4, item_statistics=True, **prepare,
    )  # fmt: skip
    items = Items(
        path=(str(brands),), format="csv", options={"header": "true"},
        attributes={"brand": "category", "size": "number"},
    )  # fmt: skip
    return replace(config, prepare=section, items=items)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("days")


@pytest.fixture(scope="module")
def kept(spark: SparkSession, folder: Path) -> Manifest:
    return pipeline.run(spark, _config(folder, "kept", KEPT, days="keep"))


@pytest.fixture(scope="module")
def added(spark: SparkSession, folder: Path, kept: Manifest) -> Manifest:
    (folder / "kept.csv").unlink()  # nobody reads it again
    config = _config(folder, "added", ADDED, days="add", known_days="add")
    return pipeline.run(spark, config)


@pytest.fixture(scope="module")
def whole(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = tmp_path_factory.mktemp("whole")
    return pipeline.run(spark, _config(folder, "whole", [*KEPT, *BAD, *ADDED]))


def _table(made: Manifest, name: str) -> list[dict]:
    return pq.read_table(files.local_copy(files.join(made.url, name))).to_pylist()


def _ids(made: Manifest) -> list[str]:
    """Of the vocabulary, by index from FIRST_ITEM on."""
    rows = sorted(_table(made, "vocabulary.parquet"), key=lambda row: row["item_index"])
    return [row["item_id"] for row in rows]


def _named(made: Manifest, name: str) -> list[dict]:
    """A table's rows with names in place of indexes."""
    ids = ["", "unknown", *_ids(made)]
    types = ["", "unknown", *made.event_types]
    rows = _table(made, name)
    for row in rows:
        row["item"] = [ids[index] for index in row["item"]]
        row["event_type"] = [types[index] for index in row["event_type"]]
    return sorted(rows, key=str)


def _events(made: Manifest) -> list[tuple]:
    """All events, whatever the pieces in which those lie that no history has room for."""
    return sorted(
        (row["user_id"], row["first_step"] + step, *event)
        for name in ("histories", "earlier")
        for row in _named(made, name)
        for step, *event in zip(
            *(row[name] for name in ("step", "item", "event_type", "timestamp", "split")),
            strict=True,
        )
    )


def _shown(made: Manifest) -> list[tuple]:
    """Impressions with names in place of indexes."""
    ids = ["", "unknown", *_ids(made)]
    rows = _table(made, "impressions")
    return sorted((row["user_id"], ids[row["item"]], row["timestamp"]) for row in rows)


def test_the_content_is_that_of_the_whole_log(added: Manifest, whole: Manifest) -> None:
    for split in SPLITS:
        folder = f"sequences/split={split}"
        assert _named(added, folder) == _named(whole, folder)
        assert replace(added.splits[split], files=()) == replace(whole.splits[split], files=())
        assert whole.splits[split].rows > 5
    assert _named(added, "histories") == _named(whole, "histories")
    assert _events(added) == _events(whole)
    assert _shown(added) == _shown(whole)
    assert {name for _, name, _ in _shown(added)} == {"i01", "unknown"}
    assert sorted(map(str, _table(added, "quarantine"))) == sorted(
        map(str, _table(whole, "quarantine"))
    )
    assert added.quarantine == whole.quarantine == {"timestamp: not a time": 2}
    rules = [(step.name, step.rows_out) for step in whole.steps if step.name != "checks"]
    assert [(step.name, step.rows_out) for step in added.steps
            if step.name not in ("checks", "days kept")] == rules  # fmt: skip
    gone = {step.name: step.rows_in - step.rows_out for step in whole.steps}
    for name in ("duplicates", "bots by events a day", "repeats", "support"):
        assert gone[name] > 0, name


def test_the_cases_that_need_other_days_are_there(kept: Manifest, added: Manifest) -> None:
    owl = next(row for row in _named(added, "histories") if row["user_id"] == "owl")
    found = list(zip(owl["item"], owl["session_start"], strict=True))[:3]
    assert found == [("i01", 1), ("i02", 0), ("i03", 0)]  # one session over midnight
    users = {row["user_id"] for row in _named(added, "histories")}
    assert "bot" in {row["user_id"] for row in _named(kept, "histories")} - users
    assert "supported" not in str(_named(kept, "histories"))
    assert "grows" not in _ids(kept)


def test_old_indexes_stay_and_new_ones_follow(
    kept: Manifest, added: Manifest, whole: Manifest
) -> None:
    before, after = _ids(kept), _ids(added)
    assert after[: len(before)] == before
    assert "grows" in after[len(before) :]
    assert set(after) - set(_ids(whole)) == {"fades"}  # too rare without the bot, and has its place
    assert "fades" not in str(_named(added, "histories"))
    assert added.event_types[: len(kept.event_types)] == kept.event_types
    assert added.events_by_day == whole.events_by_day
    assert added.events_by_type == whole.events_by_type
    counts = {row["item_id"]: row["train_count"] for row in _table(added, "items.parquet")}
    full = {row["item_id"]: row["train_count"] for row in _table(whole, "items.parquet")}
    assert {item: counts[item] for item in full} == full
    vectors = ("size_vector", *(f"{name}_vector" for name in KINDS))
    of_both = [
        {row["item_id"]: [row[name] for name in vectors] for row in _table(made, "items.parquet")}
        for made in (added, whole)
    ]
    for item, own in of_both[1].items():
        assert of_both[0][item] == own  # "fades" decides nothing, although it has its place
    brands = {row["value"]: row["value_index"] for row in _table(kept, "categories.parquet")}
    later = {row["value"]: row["value_index"] for row in _table(added, "categories.parquet")}
    assert {name: later[name] for name in brands} == brands
    assert later["new"] == len(brands) + 2 == max(later.values())
    assert added.certificate["holds"]


def test_the_manifest_says_what_was_added_and_read(kept: Manifest, added: Manifest) -> None:
    version = added.url.rsplit("/", 1)[-1]
    of_this = {day.date: day.events for day in added.days if day.version == version}
    dates = [datetime.datetime.fromtimestamp(int(row[3]), datetime.UTC).date().isoformat()
             for row in ADDED]  # fmt: skip
    assert of_this == {date: dates.count(date) for date in dates}
    assert [day for day in added.days if day.version != version] == list(kept.days)
    assert (kept.rows_read, added.rows_read) == (len(KEPT) + 1, len(ADDED) + 1)
    step = {step.name: step for step in added.steps}["days kept"]
    assert (step.rows_in, step.rows_out) == (len(ADDED), len(ADDED) + len(KEPT))
    assert "kept, and not read from the log again: 7 days" in step.decision


def test_known_days_are_refused_unless_told_otherwise(
    spark: SparkSession, folder: Path, added: Manifest
) -> None:
    late = [_event("u1", "i01", 9, 7), _event("u1", "i01", 4, 7)]
    config = _config(folder, "late", late, days="add")
    place = files.join(files.as_url(config.paths.dataset), "days")
    before = files.names(place)
    config = replace(config, events=replace(config.events, max_fault_share=1))
    with pytest.raises(DataError, match=r"late.csv: expected events after .*-24, the last day that "
                       r"is kept, found 2 from .*-19 to .*-24; prepare.known_days"):  # fmt: skip
        pipeline.run(spark, config)
    assert files.names(place) == before
    assert manifest.read(config.paths.dataset).url == added.url
    days_of = days.Former(spark, added)
    replaced = replace(config, prepare=replace(config.prepare, known_days="replace"))
    count = sum(day.events for day in added.days if day.date == "2023-11-24")
    left = days.stay(days_of, {"2023-11-24": count}, replaced)
    assert {day.date for day in added.days} - {day.date for day in left} == {"2023-11-24"}
    with pytest.raises(DataError, match=r"expected all of 2023-11-24 \(UTC\), of which \d+ events"):
        days.stay(days_of, {"2023-11-24": count // 3}, replaced)
    with pytest.raises(DataError, match=r"expected a version published by jobs/prepare.py"):
        days.former(spark, replace(config, paths=replace(config.paths, dataset=str(folder / "0"))))
    with pytest.raises(ConfigError, match=r"prepare.vocabulary_tail: expected none beside prepare"):
        configuration("--prepare.days=keep", "--prepare.vocabulary_tail=valid")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"event_types": {"view": "look"}}, "events.event_types.view: expected view as in"),
        ({"default_event_type": "look"}, "events.default_event_type: expected view as in"),
        ({"columns": {"session_id": "visit"}}, "events.columns.session_id: expected no column as"),
        ({"columns": {"price": None}}, "events.columns.price: expected a column as in"),
    ],
)
def test_days_are_added_by_the_names_of_the_kept_ones(
    spark: SparkSession, folder: Path, added: Manifest, changes: dict[str, Any], words: str
) -> None:
    config = _config(folder, "other", ADDED, days="add")
    section = config.events
    for name, value in changes.items():
        of_section = name in ("columns", "identities")
        new = replace(getattr(section, name), **value) if of_section else value
        section = replace(section, **{name: new})
    with pytest.raises(ConfigError, match=words):
        days.former(spark, replace(config, events=section))


def test_the_forgotten_are_in_no_kept_day(
    spark: SparkSession, folder: Path, kept: Manifest, added: Manifest, whole: Manifest
) -> None:
    place = str(folder / "dataset")
    (folder / "users.txt").write_text(FORGOTTEN)
    config = replace(small_config(folder), paths=replace(small_config(folder).paths, dataset=place))
    left = forget(spark, config, str(folder / "users.txt"))
    assert left.forgotten_users == 1
    assert {day.date for day in left.days} == {day.date for day in added.days}
    assert versions.prune(place, keep=1) == [made.url.rsplit("/", 1)[-1] for made in (kept, added)]
    folders = {path.parent for path in Path(place).glob("days/*/*/*.parquet")}
    assert folders == {Path(place) / "days" / day.path for day in left.days}
    for made in (added, left):
        total = sum(day.events for day in made.days)
        assert total == len(KEPT) + len(ADDED) - (made is left) * sum(
            row[0] == FORGOTTEN for row in [*KEPT, *ADDED]
        )
    rows = days.read(spark, place, left.days)
    assert rows.count() == sum(day.events for day in left.days)
    assert rows.where(f"user_id = '{FORGOTTEN}'").count() == 0
    assert _named(left, "histories") == [
        row for row in _named(whole, "histories") if row["user_id"] != FORGOTTEN
    ]
