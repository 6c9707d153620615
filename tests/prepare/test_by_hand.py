"""The benchmark's log, prepared by the job and by hand in Polars: the same comes out."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from benchmarks import logs, prepare_polars
from benchmarks.prepare import bot_events_per_day, settings
from recsys import files
from recsys.manifest import Manifest
from recsys.prepare import pipeline
from recsys.schemas import HISTORIES, SEQUENCES, SPLITS
from tests.data import configuration

EVENTS = 20_000


def test_by_hand(spark: SparkSession, tmp_path: Path) -> None:
    log, by_hand = tmp_path / "log", tmp_path / "by_hand"
    logs.write_log(log, EVENTS)
    config = configuration(
        f"--events.path=[{log}]", f"--paths.dataset={tmp_path / 'dataset'}", *settings(EVENTS)
    )
    made = pipeline.run(spark, config)
    counts = prepare_polars.prepare(
        log, by_hand, prepare_polars.Settings(bot_events_per_day(EVENTS))
    )

    steps = {step.name: (step.rows_in, step.rows_out) for step in made.steps}
    assert steps["checks"] == (counts["rows"], counts["checked"])
    assert sum(made.quarantine.values()) == counts["quarantined"] > 0
    assert steps["duplicates"][1] == counts["single"] < counts["checked"]
    assert steps["bots by events a day"][1] == counts["people"] < counts["single"]
    assert steps["support"][1] == counts["supported"] < counts["people"]
    assert list(made.event_types) == counts["event_types"]
    assert sum(made.events_by_day.values()) == counts["supported"]

    vocabulary, known = (
        pq.read_table(path).select(["item_index", "item_id", "train_count"]).to_pylist()
        for path in (local(made, "vocabulary.parquet"), by_hand / "vocabulary.parquet")
    )
    assert vocabulary == known
    by_item = {row["item_id"]: row for row in pq.read_table(by_hand / "items.parquet").to_pylist()}
    for row in pq.read_table(local(made, "items.parquet")).to_pylist():
        own = by_item[row["item_id"]]
        assert row["popularity_vector"] == pytest.approx([own["popularity"], 0], abs=1e-6)
        assert row["recency_vector"] == pytest.approx([own["recency"], 0], abs=1e-6)
        shares = [own[name] for name in made.event_types]
        assert row["conversion_vector"] == pytest.approx(shares, abs=1e-6)
        assert row["price_rank_vector"] == [0, 1]  # of no category, and so missing
    for split in SPLITS:
        found = [pq.read_table(files.local_copy(url)) for url in made.file_urls(split)]
        table = pa.concat_tables(found)
        table = table.filter(pc.greater(table["weight"], 0))
        assert made.splits[split].targets == counts[split]["targets"] > 0
        assert rows(table, SEQUENCES) == rows(
            pq.read_table(by_hand / f"{split}.parquet"), SEQUENCES
        )
    for name in ("histories", "earlier"):
        found, expected = local(made, name), by_hand / f"{name}.parquet"
        assert rows(pq.read_table(found), HISTORIES) == rows(pq.read_table(expected), HISTORIES)


def local(made: Manifest, name: str) -> str:
    return files.local_copy(files.join(made.url, name))


def rows(table: pa.Table, schema: Mapping[str, str]) -> list[str]:
    """Rows in one order, and the events of each instant too, as they are a set."""
    arrays = [name for name, kind in schema.items() if kind.startswith("array")]
    step, found = arrays.index("step"), []
    for row in table.select(["user_id", *arrays]).to_pylist():
        events = zip(*(row[name] for name in arrays), strict=True)
        instants = groupby(events, key=lambda event: event[step])
        found.append(f"{row['user_id']} {[sorted(own) for number, own in instants if number >= 0]}")
    return sorted(found)
