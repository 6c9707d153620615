"""A run that fails leaves what was there, and the next one goes on with what is whole."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from recsys import files, manifest
from recsys.config import Rules
from recsys.errors import DataError
from recsys.score import pipeline
from recsys.score.parts import Part, Run
from recsys.score.plan import Plan
from tests.score.damage import change_a_score, cut, histories_of, spoil
from tests.score.listing import small
from tests.score.worlds import USERS, World, write_model


def test_a_run_that_ended_before_it_was_published_goes_on(
    spark: SparkSession, own: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Their input is staged, and must be there until it is published.
    rules = Rules(leave_out={"purchase": None})
    config = own.config(score=small(user_vectors=True, rules=rules))
    with monkeypatch.context() as patched:
        patched.setattr(files, "publish", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            pipeline.run(spark, config)
    place = own.folder / "recommendations"
    found = [*place.glob("versions/*/home/**/*.parquet")]
    found += place.glob("versions/*/user_vectors/**/*.parquet")
    written = {path: path.stat().st_mtime_ns for path in found}
    assert {path.parents[3].name for path in written} == {"home", "user_vectors"}
    version = pipeline.run(spark, config)
    vectors = files.read_json(files.join(version, files.MANIFEST))["user_vectors"]
    assert vectors["rows"] == vectors["subjects"] == USERS
    assert int(vectors["content"], 16)
    assert files.current(config.paths.recommendations, "") == version
    assert {path: path.stat().st_mtime_ns for path in written} == written  # not scored again
    assert not files.exists(files.join(version, "staging"))
    assert len(files.versions(config.paths.recommendations)) == 1


def test_parts_that_are_damaged_are_not_published_and_scored_again(
    spark: SparkSession, own: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = own.config(score=small(users_per_part=1))
    former = pipeline.run(spark, own.config(score=small()))

    verify = Run.verify

    def damage(work: Run, *rest: Any) -> None:  # after the last part, before the pointer
        place = Path(files.local_copy(work.version))
        for number, fault in enumerate((cut, change_a_score, Path.unlink), start=1):
            [victim] = place.glob(f"home/**/part={number:05d}/*.parquet")
            (victim.parent / f".{victim.name}.crc").unlink()  # a check that not every disk has
            fault(victim)
        verify(work, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(Run, "verify", damage)
        with pytest.raises(DataError, match=r"part=00001: expected the 15 rows that were written"):
            pipeline.run(spark, config)
    assert files.current(config.paths.recommendations, "") == former
    place = own.folder / "recommendations" / "versions"
    done = {path: path.stat().st_mtime_ns for path in place.glob("*/parts/*.json")}
    version = pipeline.run(spark, config)
    again = {path.stem for path in done if path.stat().st_mtime_ns != done[path]}
    assert again == {"home-00001", "home-00002", "home-00003"}
    about, before = (files.read_json(files.join(url, files.MANIFEST)) for url in (version, former))
    assert about["lists"] == before["lists"]


def test_parts_of_a_joined_input_are_gone_on_with_while_it_is_there(
    spark: SparkSession, own: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written anew, the histories with what they leave out are shared out to other files."""
    config = own.config(score=small(users_per_part=15, rules=Rules(leave_out={"purchase": None})))
    fresh = files.read_json(files.join(pipeline.run(spark, config), files.MANIFEST))
    write, verify = Run.write, Run.verify

    def once(work: Run, *rest: Any) -> Part:
        if work.done:
            raise KeyboardInterrupt
        return write(work, *rest)

    def with_another(work: Run, session: SparkSession, plan: Plan) -> None:
        of_99 = Path(files.local_copy(work.lists_url(plan, 99)))
        shutil.copytree(of_99.with_name("part=00000"), of_99)
        verify(work, session, plan)

    with monkeypatch.context() as patched:
        patched.setattr(Run, "write", once)
        with pytest.raises(KeyboardInterrupt):
            pipeline.run(spark, config)
    place = Path(files.local_copy(files.as_url(config.paths.recommendations))) / "versions"
    version = place / files.versions(config.paths.recommendations)[-1]
    [record] = version.glob("parts/*.json")
    written = record.read_text(), record.stat().st_mtime_ns
    with monkeypatch.context() as patched:
        patched.setattr(Run, "verify", with_another)
        with pytest.raises(DataError, match="part=00099: expected no part that is not recorded"):
            pipeline.run(spark, config)
    assert (record.read_text(), record.stat().st_mtime_ns) == written
    shutil.rmtree(version / "staging")
    assert pipeline.run(spark, config).endswith(version.name)
    assert json.loads(record.read_text())["input"] != json.loads(written[0])["input"]
    assert not list(version.glob("home/*/*/part=00099"))
    assert not (version / "staging").exists()
    assert files.read_json(files.as_url(str(version / files.MANIFEST)))["lists"] == fresh["lists"]


def _interrupted(version: str) -> None:
    raise KeyboardInterrupt(version)


def test_a_failure_leaves_what_was_there(spark: SparkSession, own: World) -> None:
    former = pipeline.run(spark, own.config(score=small()))
    before = _files(former)
    damages = {
        "a model of another vocabulary": lambda: write_model(
            own.folder / "model", manifest.read(str(own.folder / "dataset")), 1, "another"
        ),
        "a history cut off": lambda: cut(histories_of(own) / "part-1.parquet"),
        "a history gone": lambda: (histories_of(own) / "part-1.parquet").unlink(),
    }
    messages = {
        "a model of another vocabulary": "vocabulary_fingerprint of-this-world of .*found another",
        "a history cut off": r"part-1.parquet: expected a whole Parquet file",
        "a history gone": "expected the histories of 60, found those of 45",
    }
    for name, damage in damages.items():
        damage()
        with pytest.raises(DataError, match=messages[name]):
            pipeline.run(spark, own.config(score=small()))
        assert files.current(str(own.folder / "recommendations"), "") == former
        assert _files(former) == before
        if name.startswith("a model"):
            write_model(own.folder / "model", manifest.read(str(own.folder / "dataset")), 0)


def _files(url: str) -> dict[str, bytes]:
    folder = Path(files.local_copy(url))
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_corrupt_history_is_named_and_the_rest_is_kept_for_a_next_try(
    spark: SparkSession, own: World
) -> None:
    victim = histories_of(own) / "part-2.parquet"
    whole = victim.read_bytes()
    spoil(victim)
    config = own.config(score=small(users_per_part=1))
    with pytest.raises(DataError, match=r"part-2.parquet: expected readable data"):
        pipeline.run(spark, config)
    [unfinished] = files.versions(config.paths.recommendations)
    place = Path(own.folder / "recommendations" / "versions" / unfinished)
    done = {path: path.stat().st_mtime_ns for path in (place / "home").rglob("*.parquet")}
    assert len({path.parent for path in done}) == 2
    victim.write_bytes(whole)
    (place / "parts" / "home-00002.json.writing").write_text('{"kind"')  # cut off by a kill
    records = sorted((place / "parts").glob("home-*.json"))
    records[1].write_text('{"kind"')  # as a file system may leave it that does not rename
    again = {path for path in done if path.parent.name == "part=00001"}
    version = pipeline.run(spark, config)
    assert version.endswith(unfinished)
    kept = {path: when for path, when in done.items() if path not in again}
    assert 0 < len(kept) < len(done)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept  # not scored again
    assert not any(path.exists() for path in again)
    about = files.read_json(files.join(version, files.MANIFEST))
    fresh = pipeline.run(spark, own.config(score=small(users_per_part=2)))
    assert about["lists"] == files.read_json(files.join(fresh, files.MANIFEST))["lists"]


def test_what_another_run_left_is_not_gone_on_with(spark: SparkSession, own: World) -> None:
    config = own.config(score=small())
    left = files.join(
        files.as_url(config.paths.recommendations), "versions", "00000000T000000-left"
    )
    files.write_json(files.join(left, "run.json"), {"plan": "another"})
    files.write_bytes(files.join(f"{left}-half", "run.json"), b'{"plan": ')
    version = pipeline.run(spark, config)
    assert files.versions(config.paths.recommendations) == [version.rsplit("/", 1)[-1]]
