"""Drivers and executors that are killed, two runs at once, a full disk: real jobs, real signals."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from recsys import files
from recsys.config import Score
from recsys.errors import DataError
from recsys.score import pipeline
from tests.processes import (
    HANGS_SECONDS,
    LOCAL,
    LOST_TASK,
    executors,
    kill_all,
    killed_at_work,
    spark_submit,
    started,
    wait_for,
)
from tests.score.worlds import World, write_world

PARTS = 12
SCORE = Score(top_k=6, batch_users=8)


@pytest.fixture
def many_parts(tmp_path: Path) -> World:
    """A world whose histories are scored in twelve parts."""
    return write_world(tmp_path, files_of_histories=PARTS)


def arguments(world: World) -> list[str]:
    settings = ["--score.top_k=6", "--score.batch_users=8", "--score.users_per_part=1"]
    places = [f"--paths.{name}={world.folder / name}" for name in ("dataset", "model")]
    return ["jobs/score.py", *settings, *places, f"--paths.recommendations={place_of(world)}"]


def log_of(world: World) -> Path:
    return world.folder / "job.log"


def place_of(world: World) -> Path:
    return world.folder / "recommendations"


def records(world: World) -> list[Path]:
    """Of the parts of the run that has not finished."""
    found = place_of(world).glob("versions/*/parts/*.json")
    return sorted(path for path in found if not (path.parents[1] / files.MANIFEST).exists())


def current(world: World) -> dict:
    url = files.current(str(place_of(world)), "")
    return files.read_json(files.join(url, files.MANIFEST))


@pytest.mark.slow
def test_a_driver_that_is_killed_and_two_runs_at_once(
    spark: SparkSession, many_parts: World
) -> None:
    world = many_parts
    former = pipeline.run(spark, world.config(score=SCORE))
    before = current(world)
    with started(LOCAL, arguments(world), log_of(world)) as job:
        wait_for(lambda: any(place_of(world).glob("lock-*.json")), job)
        with pytest.raises(DataError, match=r"expected no other run .* found jobs/score.py as"):
            pipeline.run(spark, world.config(score=SCORE))
        wait_for(lambda: len(records(world)) >= 2, job)
        kill_all(job)
    done = {path: path.stat().st_mtime_ns for path in records(world)}
    assert 2 <= len(done) < PARTS
    assert files.current(str(place_of(world)), "") == former
    assert current(world) == before
    again = spark_submit(*arguments(world))
    assert again.returncode == 0, again.stderr[-3000:]
    assert {path: path.stat().st_mtime_ns for path in done} == done  # not scored again
    about = current(world)
    assert len(about["parts"]) == PARTS
    assert about["lists"] == before["lists"]


@pytest.mark.slow
def test_an_executor_that_is_killed_changes_nothing(spark: SparkSession, many_parts: World) -> None:
    world = many_parts
    with started("local-cluster[2,1,1024]", arguments(world), log_of(world)) as job:
        wait_for(lambda: len(records(world)) >= 1, job)
        wait_for(lambda: killed_at_work(executors(job)) is not None, job)
        assert len(records(world)) < PARTS
        assert job.wait(HANGS_SECONDS) == 0, log_of(world).read_text()[-3000:]
    assert re.search(LOST_TASK, log_of(world).read_text())
    about = current(world)
    fresh = pipeline.run(spark, world.config(score=SCORE))
    assert about["lists"] == files.read_json(files.join(fresh, files.MANIFEST))["lists"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a mebibyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a file system of its own can be mounted by root alone")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_leaves_what_was_there(
    spark: SparkSession, world: World, small_disk: Path
) -> None:
    (small_disk / "recommendations").mkdir()
    whole = World(small_disk, world.histories, world.users, world.items)
    for name in ("dataset", "model"):
        (small_disk / name).symlink_to(world.folder / name)
    config = whole.config(score=SCORE)
    former = pipeline.run(spark, config)
    before = current(whole)
    filler = small_disk / "filler"
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    filler.write_bytes(bytes(free - 16384))
    with pytest.raises(DataError, match="expected room to write, found a full disk"):
        pipeline.run(spark, config)
    with suppress(OSError):  # until nothing is left
        filler.write_bytes(bytes(free))
    with pytest.raises(DataError, match=r"json: expected room to write, found a full disk"):
        pipeline.run(spark, config)  # of a file that the driver writes
    assert files.current(config.paths.recommendations, "") == former
    assert current(whole) == before
    filler.unlink()
    assert (
        files.read_json(files.join(pipeline.run(spark, config), files.MANIFEST))["lists"]
        == (before["lists"])
    )
