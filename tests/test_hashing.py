"""Ids as keyed hashes: those of the standard library, and the key nowhere to be seen."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from recsys.config import Config, Events, Score, Subjects
from recsys.errors import ConfigError
from recsys.hashing import Key, key_for, key_of, keyed
from recsys.score import planning

SECRET = "correct horse battery staple, once more"
EVENTS = Events(user_key_variable="USER_KEY")


@pytest.mark.parametrize("secret", [SECRET.encode(), b"k" * 64, b"long" * 30])
def test_spark_hashes_as_the_standard_library(spark: SparkSession, secret: bytes) -> None:
    ids = ["7", "ann", "Zoë 雪", "x" * 300]
    frame = spark.createDataFrame([(name, name) for name in [*ids, None]], "id string, was string")
    found = {row.was: row.id for row in keyed(frame, ("id",), Key(secret)).collect()}
    expected = {name: hmac.new(secret, name.encode(), hashlib.sha256).hexdigest() for name in ids}
    assert found == {**expected, None: None}
    assert {name: Key(secret).hashed(name) for name in ids} == expected


def test_the_key_is_in_no_plan(spark: SparkSession) -> None:
    key = Key(SECRET.encode())
    frame = keyed(spark.createDataFrame([("ann",)], "id string"), ("id",), key)
    plan = frame._jdf.queryExecution().toString().lower()
    assert "sha2" in plan
    for secret in (key.secret, *key.padded()):
        for start in range(0, len(secret) - 8, 8):
            assert secret[start : start + 8].hex() not in plan
    assert SECRET not in plan + repr(key)
    assert SECRET[:10] not in plan


def test_keys_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER_KEY", SECRET)
    key = key_of(EVENTS)
    assert key == Key(SECRET.encode())
    assert key_of(Events()) is None
    assert key_for(EVENTS, key.fingerprint) == key
    monkeypatch.setenv("USER_KEY", SECRET[::-1])
    with pytest.raises(ConfigError, match=f"expected the key {key.fingerprint}, .* found the key"):
        key_for(EVENTS, key.fingerprint)
    with pytest.raises(ConfigError, match=r"expected no key, .* are not hashed, found the key"):
        key_for(EVENTS, None)
    with pytest.raises(ConfigError, match=r"are hashed, found no key"):
        key_for(Events(), key.fingerprint)


@pytest.mark.parametrize(("value", "found"), [(None, "none"), ("short secret", "a shorter one")])
def test_a_missing_key_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, value: str | None, found: str
) -> None:
    monkeypatch.delenv("USER_KEY", raising=False)
    if value:
        monkeypatch.setenv("USER_KEY", value)
    with pytest.raises(ConfigError, match=f"32 characters .* variable USER_KEY, found {found}$"):
        key_of(EVENTS)
    with pytest.raises(ConfigError, match=r"a variable's name, in capitals, found '…'$"):
        Events(user_key_variable=SECRET)


def test_subjects_of_score_are_hashed_like_the_histories(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("USER_KEY", SECRET)
    table = tmp_path / "subjects.csv"
    table.write_text("who\nann\n7\n")
    subjects = Subjects(path=(str(table),), format="csv", options={"header": "true"}, id="who")
    config = Config(events=EVENTS, score=Score(subjects=subjects))
    found = {row.user_id for row in planning.subjects(spark, config).collect()}
    assert found == {Key(SECRET.encode()).hashed(name) for name in ("ann", "7")}
