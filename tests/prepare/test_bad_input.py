"""Every fault that a log can have: what is printed, what is kept, and what stays intact."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from recsys import files, manifest, tables
from recsys.config import Config
from recsys.errors import ConfigError, DataError
from recsys.prepare import pipeline
from recsys.schemas import QUARANTINE
from tests.prepare.small import COLUMNS, Row, log_rows, small_config, write_csv, write_parquet

GOOD = log_rows()


def _with(place: int, value: str, count: int) -> list[Row]:
    """The good log with one column of the first rows changed."""
    changed = [tuple([*row[:place], value, *row[place + 1 :]]) for row in GOOD[:count]]
    return [*changed, *GOOD[count:]]  # type: ignore[list-item]


@pytest.fixture(scope="module")
def former(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A configuration whose dataset was prepared once."""
    folder = tmp_path_factory.mktemp("former")
    config = small_config(folder, write_csv(folder / "log.csv", GOOD))
    pipeline.run(spark, config)
    return config


def _fails(spark: SparkSession, former: Config, config: Config) -> str:
    """Runs, and returns the error's line; the former dataset must be as it was."""
    before = files.current(former.paths.dataset, "")
    content = manifest.read(former.paths.dataset)
    places = files.names(files.join(files.as_url(former.paths.dataset), "versions"))
    with pytest.raises(DataError) as caught:
        pipeline.run(spark, replace(config, paths=former.paths))
    assert caught.value.exit_code == 3
    assert files.current(former.paths.dataset, "") == before
    assert manifest.read(former.paths.dataset) == content
    assert files.names(files.join(files.as_url(former.paths.dataset), "versions")) == places
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Where in a row, what stands there, and what is said of it.
FAULTS = (
    (0, "", "user_id: null"),
    (1, "", "item_id: null"),
    (3, "", "timestamp: null"),
    (3, "yesterday", "timestamp: not a time"),
    (3, "4000000000", "timestamp: after now"),
    (3, "-5", "timestamp: before 1990-01-01"),
    (4, "cheap", "price: not a number"),
    (4, "-1.50", "price: negative"),
    (5, "-2", "quantity: negative"),
    (5, "1.5", "position: not a whole number"),
)


def test_rows_at_fault_are_kept_with_their_reason(spark: SparkSession, tmp_path: Path) -> None:
    rows, each = list(GOOD), 3
    for number, (place, value, _) in enumerate(FAULTS):
        for at in range(number * each, (number + 1) * each):
            rows[at] = tuple([*rows[at][:place], value, *rows[at][place + 1 :]])  # type: ignore[assignment]
    rows.append(("", "", "view", "soon", "-1", "-1"))  # of several faults the first counts
    config = small_config(tmp_path, write_csv(tmp_path / "log.csv", rows), max_fault_share=0.5)
    columns = replace(config.events.columns, position="pieces")
    config = replace(config, events=replace(config.events, columns=columns))
    made = pipeline.run(spark, config)
    assert len(made.quarantine) == len(FAULTS)
    kept = tables.read(spark, files.join(made.url, "quarantine"), QUARANTINE).collect()
    for place, value, reason in FAULTS:
        (found,) = (name for name in made.quarantine if name.startswith(reason))
        several = int(reason == "user_id: null")
        assert made.quarantine[found] == each + several
        raw = [json.loads(row.row) for row in kept if row.reason == found]
        assert len(raw) == each + several
        assert {row.get(COLUMNS[place], "") for row in raw} == {value}
    checks = {step.name: step for step in made.steps}["checks"]
    assert (checks.rows_in, checks.rows_out) == (len(rows), len(rows) - each * len(FAULTS) - 1)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (0, "", ("column 'who'", "'user_id: null'")),
        (4, "cheap", ("column 'paid'", "'price: not a number'")),
        (4, "-1", ("column 'paid'", "'price: negative'")),
        (3, "4000000000", ("column 'when'", "'timestamp: after now'")),
    ],
)
def test_too_many_faults_stop_the_job(
    spark: SparkSession, former: Config, tmp_path: Path, place: int, value: str,
    words: tuple[str, ...],
) -> None:  # fmt: skip
    log = write_csv(tmp_path / "log.csv", _with(place, value, count=len(GOOD) // 2))
    line = _fails(spark, former, small_config(tmp_path, log))
    for word in (*words, "log.csv", "expected at most 1.00%", f"of {len(GOOD)}"):
        assert word in line


def test_milliseconds_declared_as_seconds_are_recognized(
    spark: SparkSession, former: Config, tmp_path: Path
) -> None:
    rows = [(*row[:3], f"{row[3]}000", *row[4:]) for row in GOOD]
    line = _fails(spark, former, small_config(tmp_path, write_csv(tmp_path / "log.csv", rows)))
    assert "column 'when'" in line
    assert "look like milliseconds (events.timestamp_unit: ms)" in line


def _missing_column(folder: Path) -> Config:
    config = small_config(folder, write_csv(folder / "log.csv", GOOD))
    columns = replace(config.events.columns, price="cost")
    return replace(config, events=replace(config.events, columns=columns))


def _no_path(folder: Path) -> Config:
    return small_config(folder, folder / "nowhere.csv")


def _empty_csv(folder: Path) -> Config:
    return small_config(folder, write_csv(folder / "log.csv", []))


def _empty_parquet(folder: Path) -> Config:
    log = write_parquet(folder / "full.parquet", GOOD)
    import pyarrow.parquet as pq

    pq.write_table(pq.read_table(log).slice(0, 0), folder / "log.parquet")
    return small_config(folder, folder / "log.parquet", format="parquet", options={})


def _cut_parquet(folder: Path) -> Config:
    log = write_parquet(folder / "log.parquet", GOOD)
    log.write_bytes(log.read_bytes()[:-200])
    return small_config(folder, log, format="parquet", options={})


def _damaged_parquet(folder: Path) -> Config:
    log = write_parquet(folder / "log.parquet", GOOD)
    content = bytearray(log.read_bytes())
    content[40:400] = bytes(360)
    log.write_bytes(bytes(content))
    return small_config(folder, log, format="parquet", options={})


def _nothing_known(folder: Path) -> Config:
    config = small_config(folder, write_csv(folder / "log.csv", GOOD))
    return replace(config, prepare=replace(config.prepare, vocabulary_min_count=100_000))


def _too_short(folder: Path) -> Config:
    config = small_config(folder, write_csv(folder / "log.csv", GOOD))
    return replace(config, prepare=replace(config.prepare, valid_days=200, test_days=200))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_missing_column, ("log.csv", "'cost'", "events.columns.price", "who, what, did, when")),
        (_no_path, ("nowhere.csv", "no such file or folder")),
        (_empty_csv, ("log.csv", "found none")),
        (_empty_parquet, ("log.parquet", "found none")),
        (_cut_parquet, ("log.parquet", "not Parquet or is cut off")),
        (_damaged_parquet, ("log.parquet", "readable data")),
        (_too_short, ("prepare.valid_start",)),
        (_nothing_known, ("log.csv", "prepare.vocabulary_min_count", "found none")),
    ],
)
def test_a_log_that_cannot_be_used_is_named(
    spark: SparkSession,
    former: Config,
    tmp_path: Path,
    make: Callable[[Path], Config],
    words: tuple[str, ...],
) -> None:
    line = _fails(spark, former, make(tmp_path))
    for word in (*words, "expected"):
        assert word in line


@pytest.mark.parametrize(
    "changed", [{"options": {"header": "maybe"}}, {"format": "parkay", "options": {}}]
)
def test_what_sparks_reader_does_not_take_is_a_matter_of_the_configuration(
    spark: SparkSession, tmp_path: Path, changed: dict[str, object]
) -> None:
    config = small_config(tmp_path, write_csv(tmp_path / "log.csv", GOOD), **changed)
    with pytest.raises(ConfigError, match=r"events\.options or events\.format: expected") as caught:
        pipeline.run(spark, config)
    assert caught.value.exit_code == 2
