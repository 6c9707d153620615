"""The published protocols, from the configuration alone: their counts, and who is on which side."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from recsys import files
from recsys.manifest import Manifest
from recsys.prepare import pipeline
from recsys.schemas import SPLITS
from tests.data import configuration, data
from tests.processes import ROOT


def _rows(made: Manifest, split: str) -> pd.DataFrame:
    tables = [pq.read_table(files.local_copy(url)).to_pandas() for url in made.file_urls(split)]
    rows = pd.concat(tables)
    return rows[rows["weight"] > 0]


def _table(made: Manifest, name: str) -> pd.DataFrame:
    return pq.read_table(files.local_copy(files.join(made.url, name))).to_pandas()


def test_yoochoose_64(spark: SparkSession, tmp_path: Path) -> None:
    log = data("yoochoose64/events.parquet")
    config = configuration(
        "--config", str(ROOT / "conf" / "yoochoose64.yaml"), "--events.path", f"[{log}]",
        "--paths.dataset", str(tmp_path),
    )  # fmt: skip
    made = pipeline.run(spark, config)
    steps = {split: made.splits[split].steps for split in SPLITS}
    assert steps["train"] + steps["valid"] == 369_859
    assert steps["test"] == 55_898

    events = pd.read_parquet(log)
    sessions = events.groupby("session_id")["timestamp"].min()
    before = sessions[sessions < 1_450_000_000]
    side = {split: set(_rows(made, split)["user_id"]) for split in SPLITS}
    assert side["test"] == set(sessions.index) - set(before.index)
    assert side["train"] | side["valid"] == set(before.index)
    assert not side["train"] & side["valid"]
    assert before[list(side["train"])].max() < before[list(side["valid"])].min()
    assert 0.1 <= len(side["valid"]) / len(before) < 0.101

    train = events[events["session_id"].isin(side["train"])]
    items = _table(made, "vocabulary.parquet")
    counts = train.groupby("item_id").size()
    head, tail = items[: made.train_items], items[made.train_items :]
    assert dict(zip(head["item_id"], head["train_count"], strict=True)) == counts.to_dict()
    held = events[events["session_id"].isin(side["valid"])].groupby("item_id").size()
    added = held[~held.index.isin(counts.index)]
    assert dict(zip(tail["item_id"], tail["valid_count"], strict=True)) == added.to_dict()
    assert made.valid_items == len(added) > 0 == made.catalogue_items
    test = events[events["session_id"].isin(side["test"])].sort_values("timestamp")
    targets = test[test.duplicated("session_id")]
    missed = ~targets["item_id"].isin(items["item_id"])
    assert made.splits["test"].unknown_targets == missed.sum() > 0


def test_beauty(spark: SparkSession, tmp_path: Path) -> None:
    log, catalogue = data("beauty/events.parquet"), data("beauty/items.parquet")
    config = configuration(
        "--config", str(ROOT / "conf" / "beauty.yaml"), "--events.path", f"[{log}]",
        "--items.path", f"[{catalogue}]", "--paths.dataset", str(tmp_path),
    )  # fmt: skip
    made = pipeline.run(spark, config)
    checks = {step.name: step.rows_out for step in made.steps}
    assert (checks["checks"], made.items, made.users) == (198_502, 12_101, 22_363)
    steps = {split: made.splits[split].steps for split in SPLITS}
    assert steps == {"train": 198_502 - 3 * 22_363, "valid": 22_363, "test": 22_363}

    names = _table(made, "vocabulary.parquet").set_index("item_index")["item_id"]
    histories: dict[str, list[str]] = defaultdict(list)
    events = pd.read_parquet(log).sort_values("timestamp")
    for user, item in zip(events["user_id"], events["item_id"], strict=True):
        histories[user].append(item)
    for split, last in (("test", None), ("valid", -1)):
        for row in _rows(made, split).itertuples():
            items = [index for index in row.item if index]
            asked = [index for index, target in zip(row.item, row.target, strict=True) if target]
            assert asked == items[-1:]
            expected = histories[row.user_id][:last][-51:]
            assert [names[index] for index in items] == expected

    attributes = pd.read_parquet(catalogue).set_index("item_id")["attributes"]
    values = _table(made, "categories.parquet").set_index("value_index")["value"]
    assert made.categories == {"attributes": len(values) + 2}
    for row in _table(made, "items.parquet").itertuples():
        expected = sorted({str(value) for value in attributes[row.item_id]})
        assert list(row.attributes) == expected
        assert sorted(values[index] for index in row.attributes_index) == expected
