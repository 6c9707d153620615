"""The job itself: what is planted on its way fails it, and the version that was there stays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsys import config as config_of
from recsys import files, manifest
from recsys.arrays import with_columns
from recsys.config import Config, Prepare
from recsys.errors import DataError
from recsys.manifest import Manifest
from recsys.prepare import pipeline
from recsys.prepare.cleaning import Clean
from recsys.prepare.indexing import Indexes
from recsys.prepare.packed import Packing
from recsys.prepare.parts import Parted
from recsys.prepare.rows import Cutting
from recsys.prepare.split import PART, TEST, TRAIN, VALID
from recsys.prepare.walk import Pass
from recsys.prepare.work import Work
from recsys.schemas import NO_SPLIT
from tests.prepare.small import DAY, START, Row, log_rows, small_config, write_csv

LATE = (START + 6 * DAY) * 1_000_000
Change = Callable[[DataFrame], DataFrame]
Plant = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("leaks")
    steady = [
        ("steady", f"i{n % 25:02}", "view", str(START + 5 * DAY + n * 1200), "1.50", "1")
        for n in range(4 * DAY // 1200)
    ]
    return small_config(folder, write_csv(folder / "log.csv", log_rows(users=12) + steady))


@pytest.fixture(scope="module")
def made(spark: SparkSession, config: Config) -> Manifest:
    pipeline.run(spark, config)
    return manifest.read(config.paths.dataset)


def _in_index(change: Change) -> Plant:
    """Plants into the events of which the vocabulary is made."""
    own = pipeline.index

    def changed(work: Work, parted: Parted, *others: Any) -> Indexes:
        return own(work, replace(parted, events=change(parted.events), walk=None), *others)

    return lambda patch: patch.setattr(pipeline, "index", changed)


def _in_cutting(change: Change) -> Plant:
    """Plants into the events that are cut."""
    own = pipeline._cut

    def changed(work: Work, cleaned: Clean, parted: Parted, *others: Any) -> DataFrame:
        planted = replace(parted, events=change(parted.events), walk=None)
        return own(work, cleaned, planted, *others)

    return lambda patch: patch.setattr(pipeline, "_cut", changed)


def _lost(kind: str) -> Plant:
    """Of the pieces that are written, the last of a kind in each batch does not come."""
    own = pipeline.cut

    def losing(*given: Any) -> Pass:
        cut = own(*given)

        def rows(events: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in cut(events):
                of_kind = np.flatnonzero(pc.equal(batch["kind"], kind))
                yield batch.take(np.setdiff1d(np.arange(batch.num_rows), of_kind[-1:]))

        return rows

    return lambda patch: patch.setattr(pipeline, "cut", losing)


def _lost_row(kind: str) -> Plant:
    """Of the rows that are cut, the last of a kind in each batch is not packed."""

    class Losing(Packing):
        def packed(self, rows: pa.RecordBatch) -> pa.RecordBatch:
            of_kind = np.flatnonzero(pc.equal(rows["kind"], kind))
            return super().packed(rows.take(np.setdiff1d(np.arange(len(rows)), of_kind[-1:])))

    class Cut(Cutting):
        @property
        def packing(self) -> Packing:
            return Losing(super().packing.rows)

    return lambda patch: patch.setattr(pipeline, "Cutting", Cut)


def _sessions_torn(patch: pytest.MonkeyPatch) -> None:
    own = pipeline.Cutting
    patch.setattr(pipeline, "Cutting", lambda **given: own(**{**given, "whole_sessions": False}))


def _types_by_name(patch: pytest.MonkeyPatch) -> None:
    own = pipeline.index

    def changed(*given: Any) -> Indexes:
        found = own(*given)
        return replace(found, event_types=tuple(sorted(found.event_types)))

    patch.setattr(pipeline, "index", changed)


def _borders_of_all(patch: pytest.MonkeyPatch) -> None:
    """What decides of vocabulary and statistics takes validation for train; rows are sound."""
    own = pipeline.index

    def train_of(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            part = batch.column(PART).to_numpy()
            yield with_columns(batch, {PART: pa.array(np.where(part == VALID, TRAIN, part))})

    def changed(work: Work, parted: Parted, *others: Any) -> Indexes:
        assert parted.walk is not None
        return own(work, replace(parted, walk=parted.walk.beginning_with(train_of)), *others)

    patch.setattr(pipeline, "index", changed)


def _moved(where: str, split: int) -> Change:
    return lambda events: events.withColumn(PART, F.expr(f"if({where}, {split}, {PART})"))


@pytest.mark.parametrize(
    ("prepare", "plant", "words"),
    [
        ({}, _in_index(_moved("true", TRAIN)), "vocabulary from train alone"),
        (
            {"clean": config_of.Clean(duplicates=True)},
            _borders_of_all,
            "vocabulary from train alone",
        ),
        ({}, _types_by_name, "event types from train alone"),
        ({}, _in_cutting(_moved(f"{PART} = {VALID}", TRAIN)), "train: last event"),
        ({}, _sessions_torn, "valid: first session with a target"),
        ({}, _lost_row("test"), "test: every target step"),
        (
            {"sequence_length": 8, "sequence_target_events": 4},
            _lost("earlier"),
            "events of histories and earlier ones",
        ),
        (
            {"split": "leave_one_out"},
            _in_cutting(_moved(f"{PART} = {VALID}", NO_SPLIT)),
            "sequences with a test target and none of valid",
        ),
        (
            {"split": "users", "valid_share": 0.3, "test_share": 0.3},
            _in_cutting(_moved(f"timestamp > {LATE}", TEST)),
            "users or sessions in two splits",
        ),
    ],
    ids=[
        "vocabulary",
        "borders",
        "types",
        "time",
        "sessions",
        "lost",
        "earlier",
        "leave_one_out",
        "users",
    ],
)
def test_a_leak_fails_the_job(
    spark: SparkSession,
    config: Config,
    made: Manifest,
    monkeypatch: pytest.MonkeyPatch,
    prepare: dict[str, Any],
    plant: Plant,
    words: str,
) -> None:
    before = files.versions(config.paths.dataset)
    plant(monkeypatch)
    with pytest.raises(DataError, match=f"leakage certificate: {words}"):
        pipeline.run(spark, replace(config, prepare=replace(config.prepare, **prepare)))
    assert manifest.read(config.paths.dataset) == made
    assert files.versions(config.paths.dataset) == before


@pytest.mark.parametrize("prepare", [{}, {"split": "last_sessions"}], ids=["time", "last_sessions"])
def test_sessions_that_interleave_are_not_torn(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepare: dict[str, Any]
) -> None:
    """Of each user one in a shop's page and one in its app, as long as the log, and many others."""
    lines = ["who,visit,what,when"]
    for user in range(8):
        for n in range(10 * 24):
            visit = ("page", "app", f"visit-{n // 12}")[n % 3]
            lines.append(f"u{user},u{user}-{visit},i{(n * n + user) % 25:02},{START + n * 3600}")
    (tmp_path / "log.csv").write_text("\n".join(lines))
    columns = config_of.EventColumns(
        user_id="who", session_id="visit", item_id="what", timestamp="when", event_type=None
    )
    config = small_config(tmp_path, tmp_path / "log.csv", columns=columns)
    config = replace(config, prepare=replace(config.prepare, **prepare))
    made = pipeline.run(spark, config)
    names = [check["name"] for check in made.certificate["checks"]]
    assert "test: target steps of sessions that began in it" in names
    _sessions_torn(monkeypatch)
    with pytest.raises(DataError, match="target steps of sessions that began in it: expected"):
        pipeline.run(spark, config)


@pytest.mark.parametrize(
    "prepare",
    [
        {"embargo_days": 0.5},
        {"embargo_days": 0.5, "sequence_unit": "session"},
        {"split": "users", "valid_share": 0.3, "test_share": 0.3},
        {"split": "last_sessions"},
        {"split": "last_sessions", "sequence_unit": "session"},
    ],
    ids=["embargo", "embargo-session", "users", "last_sessions", "last_sessions-session"],
)
def test_without_a_leak_the_certificate_holds(
    spark: SparkSession, config: Config, tmp_path: Path, prepare: dict[str, Any]
) -> None:
    paths = replace(config.paths, dataset=str(tmp_path / "dataset"))
    own = replace(config, paths=paths, prepare=replace(config.prepare, **prepare))
    made = pipeline.run(spark, own)
    assert made.certificate["holds"]
    assert all(made.splits[split].targets for split in ("train", "valid", "test"))


@pytest.mark.parametrize("clean", [config_of.Clean(), config_of.Clean(duplicates=True)])
def test_items_have_statistics_where_the_log_has_no_prices(
    spark: SparkSession, config: Config, tmp_path: Path, clean: config_of.Clean
) -> None:
    paths = replace(config.paths, dataset=str(tmp_path / "dataset"))
    events = replace(config.events, columns=replace(config.events.columns, price=None))
    prepare = replace(config.prepare, item_statistics=True, clean=clean)
    made = pipeline.run(spark, replace(config, paths=paths, events=events, prepare=prepare))
    assert made.certificate["holds"]
    assert made.features["price_rank"]


def test_the_last_purchases_count_at_instants_of_many_views(
    spark: SparkSession, tmp_path: Path
) -> None:
    def event(user: int, item: int, kind: str, minute: int) -> Row:
        return (f"u{user}", f"i{item:02}", kind, str(START + minute * 60), "1", "1")

    log = [
        row
        for user in range(20)
        for row in (
            event(user, user % 5, "purchase", 0),
            *[event(user, item, "view", 60) for item in range(24)],
            event(user, 24, "purchase", 60),
            event(user, user % 7, "purchase", 120),
        )
    ]
    config = small_config(tmp_path, write_csv(tmp_path / "log.csv", log))
    prepare = Prepare(
        split="leave_one_out", target_event_types=("purchase",), vocabulary_min_count=1,
        sequence_length=16, sequence_target_events=8, rows_per_group=16,
    )  # fmt: skip
    # Of the first instant nobody is asked, so that train needs one purchase more of somebody.
    more = [event(20, item, "purchase", 30 * item) for item in range(4)]
    write_csv(tmp_path / "log.csv", log + more)
    made = pipeline.run(spark, replace(config, prepare=prepare))
    assert made.certificate["holds"]
    assert {split: made.splits[split].targets for split in ("valid", "test")} == {
        "valid": 21, "test": 21,
    }  # fmt: skip
    (step,) = [step for step in made.steps if step.name == "events of one instant"]
    assert step.rows_in - step.rows_out == 20 * (25 - 8)
