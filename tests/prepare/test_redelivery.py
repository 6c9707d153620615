"""A day that is delivered again takes the place of what it was, its rows at fault too."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from recsys import files
from recsys.config import Config
from recsys.manifest import Manifest
from recsys.prepare import pipeline
from recsys.schemas import SPLITS
from tests.prepare.small import DAY, START, Row, log_rows, small_config, write_csv

# Day 5 came whole, then day 6; day 6 comes again with another log, and day 7 with it.
LOG = [row for row in log_rows(users=12, days=8, seed=6) if int(row[3]) < START + 8 * DAY]


def _bad(day: int, user: str) -> list[Row]:
    """Of that day: two rows that say so, and two alike that do not."""
    time = str(START + day * DAY + 50)
    soon = (user, "i01", "view", f"soon {day}", "1.50", "1")
    return [(user, "", "view", time, "1.50", "1"), (user, "i02", "view", time, "-1", "1"),
            soon, soon]  # fmt: skip


def _of(*days: int) -> list[Row]:
    own = [row for row in LOG if (int(row[3]) - START) // DAY in days]
    return own + [row for day in days for row in _bad(day, "u1")]


# Without three of its events, and one row at fault is none any more.
AGAIN = [
    *[row for row in _of(6)[3:] if row[1]],
    ("u2", "i03", "purchase", str(START + 6 * DAY + 99), "2.50", "1"),
]


def _config(folder: Path, name: str, rows: list[Row], **prepare: object) -> Config:
    log = write_csv(folder / f"{name}.csv", rows)
    config = small_config(folder, log, max_fault_share=1)
    starts = [
        datetime.datetime.fromtimestamp(START + day * DAY, datetime.UTC).isoformat()
        for day in (4, 6)
    ]
    section = replace(config.prepare, valid_start=starts[0], test_start=starts[1], **prepare)
    return replace(config, prepare=section)


def _named(made: Manifest, name: str) -> list[str]:
    def table(of: str) -> list[dict]:
        return pq.read_table(files.local_copy(files.join(made.url, of))).to_pylist()

    ids = {row["item_index"]: row["item_id"] for row in table("vocabulary.parquet")}
    types = ["", "unknown", *made.event_types]
    rows = table(name)
    for row in rows:
        if "item" in row:
            row["item"] = [ids.get(index) for index in row["item"]]
            row["event_type"] = [types[index] for index in row["event_type"]]
    return sorted(map(str, rows))


def test_two_days_are_added_and_one_comes_again(spark: SparkSession, tmp_path: Path) -> None:
    pipeline.run(spark, _config(tmp_path, "kept", _of(*range(6)), days="keep"))
    once = pipeline.run(spark, _config(tmp_path, "once", _of(6), days="add"))
    again = [*AGAIN, *_of(7)]
    twice = pipeline.run(spark, _config(tmp_path, "twice", again, days="add", known_days="replace"))
    folder = tmp_path / "whole"
    whole = pipeline.run(spark, _config(folder, "whole", [*_of(*range(6)), *again]))
    for name in (*[f"sequences/split={split}" for split in SPLITS], "histories", "quarantine"):
        assert _named(twice, name) == _named(whole, name), name
    assert twice.quarantine == whole.quarantine
    assert sum(once.quarantine.values()) == 7 * 4
    assert sum(twice.quarantine.values()) == 8 * 4 - 1
    assert sum(day.events for day in twice.days) == len(LOG) - 3 + 1
    step = {step.name: step for step in twice.steps}["days kept"]
    assert f"replaced: {len(_of(6)) - 4} events" in step.decision
