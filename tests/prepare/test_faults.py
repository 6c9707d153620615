"""Drivers and executors that are killed while they prepare: real jobs, real signals."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from recsys import command, files, manifest
from recsys.config import Clean, Config
from recsys.prepare import pipeline
from tests.prepare.small import log_rows, small_config, write_csv
from tests.processes import HANGS_SECONDS, LOCAL, executors, kill_all, started, wait_for


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """All steps are on, so that each kind of staged table is written."""
    folder = tmp_path_factory.mktemp("faults")
    config = small_config(folder, write_csv(folder / "log.csv", log_rows(users=40, seed=2)))
    clean = Clean(duplicates=True, bot_events_per_day=60, min_item_events=2, min_user_events=2)
    return replace(config, prepare=replace(config.prepare, clean=clean))


@pytest.fixture(scope="module")
def undisturbed(spark: SparkSession, config: Config) -> manifest.Manifest:
    return pipeline.run(spark, config)


def arguments(config: Config, folder: Path) -> list[str]:
    file = folder / "config.yaml"
    file.write_text(command.to_yaml(config))
    return ["jobs/prepare.py", "--config", str(file)]


def staged(config: Config, name: str, published: set[str]) -> bool:
    """Whether a run that is not published has begun to write a table of its version."""
    versions = Path(config.paths.dataset).glob("versions/*")
    return any(of.name not in published and (of / name).exists() for of in versions)


@pytest.mark.slow
def test_a_driver_that_is_killed_leaves_what_was_there(
    spark: SparkSession, config: Config, undisturbed: manifest.Manifest, tmp_path: Path
) -> None:
    place = config.paths.dataset
    before, published = manifest.read(place), set(files.published(place))
    assert before.content_fingerprint == undisturbed.content_fingerprint
    with started(LOCAL, arguments(config, tmp_path), tmp_path / "job.log") as job:
        wait_for(lambda: staged(config, "sequences/split=train", published), job)
        kill_all(job)
    assert job.returncode == -signal.SIGKILL
    assert manifest.read(place) == before
    again = pipeline.run(spark, config)
    assert files.current(place, "") == again.url != before.url
    assert again.content_fingerprint == undisturbed.content_fingerprint
    assert again.vocabulary_fingerprint == undisturbed.vocabulary_fingerprint


@pytest.mark.slow
@pytest.mark.parametrize("table", ["staging/scanned", "sequences/split=train"])
def test_an_executor_that_is_killed_changes_nothing(
    config: Config, undisturbed: manifest.Manifest, tmp_path: Path, table: str
) -> None:
    elsewhere = replace(config, paths=replace(config.paths, dataset=str(tmp_path / "dataset")))
    log = tmp_path / "job.log"
    with started("local-cluster[2,1,1024]", arguments(elsewhere, tmp_path), log) as job:
        wait_for(lambda: staged(elsewhere, table, set()), job)
        os.kill(executors(job)[0].pid, signal.SIGKILL)
        assert _ended(job) == 0, log.read_text()[-3000:]
    assert "Lost executor" in log.read_text()
    made = manifest.read(elsewhere.paths.dataset)
    assert made.content_fingerprint == undisturbed.content_fingerprint
    assert made.steps == undisturbed.steps


def _ended(job: subprocess.Popen[bytes]) -> int:
    return job.wait(HANGS_SECONDS)
