"""A real log from its file to a list for everybody, by the jobs' own code."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from recsys import files
from recsys.config import Score
from recsys.prepare import pipeline as prepare
from recsys.score import pipeline
from tests.data import configuration, data
from tests.score.worlds import write_model


def test_everybody_in_a_log_of_taobao_has_a_list(spark: SparkSession, tmp_path: Path) -> None:
    log = data("taobao10k/UserBehavior.csv")
    config = configuration(
        "--events.path", f"[{log}]", "--events.format", "csv",
        "--events.columns.user_id", "_c0", "--events.columns.item_id", "_c1",
        "--events.columns.event_type", "_c3", "--events.columns.timestamp", "_c4",
        "--events.timestamp_unit", "s", "--events.event_types", "{pv: view, buy: purchase}",
        "--prepare.purchase_event_types", "[purchase]", "--prepare.vocabulary_min_count", "2",
        "--prepare.valid_days", "1", "--prepare.test_days", "1",
        *(word for place in ("dataset", "model", "recommendations")
          for word in (f"--paths.{place}", str(tmp_path / place))),
    )  # fmt: skip
    made = prepare.run(spark, config)
    assert made.splits["train"].labels > made.splits["train"].bought > 0
    write_model(tmp_path / "model", made)
    version = pipeline.run(spark, replace(config, score=Score(top_k=10)))
    table = pq.read_table(files.local_copy(files.join(version, "home")), partitioning=None)
    with log.open(newline="") as lines:
        users = {row[0] for row in csv.reader(lines)}
    lists = dict(
        zip(*(table.column(name).to_pylist() for name in ("user_id", "item_id")), strict=True)
    )
    assert lists.keys() == users
    assert table.num_rows == len(users) == made.users
    assert all(len(set(items)) == len(items) == 10 for items in lists.values())
