from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from recsys.evaluate.catalogue import read_catalogue
from recsys.evaluate.drawn import drawn
from recsys.evaluate.evaluation import Evaluation
from recsys.evaluate.references.popularity import Everybody
from recsys.manifest import Manifest
from tests.evaluate import dataset
from tests.evaluate.rows import row
from tests.evaluate.test_histories import frame

STEPS = 3  # with targets, of each row


def rows_of(user: str, rows: int) -> list[dict]:
    """Rows of three target steps, one of two items, each after a step of the row before."""
    firsts = range(0, STEPS * rows, STEPS)
    return [row(user, [(at + n, [2, 3][: 1 + n % 2]) for n in range(4)], at + 1) for at in firsts]


def kept(spark: SparkSession, rows: list[dict], most_cases: int, seed: int = 1) -> list[str]:
    """The ids that are drawn, the same from however many parts and in whatever order."""
    once, again = (
        sorted(own.sequence_id for own in drawn(table, most_cases, seed).collect())
        for table in (frame(spark, rows, 1).repartition(3), frame(spark, rows, 2).coalesce(1))
    )
    assert once == again
    return once


def in_order(spark: SparkSession, users: list[str], seed: int = 1) -> list[str]:
    table = spark.createDataFrame([(user,) for user in users], "user string")
    hashes = table.select("user", F.xxhash64("user", F.lit(seed)).alias("hash")).collect()
    return [own.user for own in sorted(hashes, key=lambda own: own.hash)]


def test_users_are_taken_in_turn_until_there_are_cases_enough(spark: SparkSession) -> None:
    users = [f"user-{number}" for number in range(12)]
    rows = [own for user in users for own in rows_of(user, 2)]
    for seed in (1, 2):
        first, second, third, *_ = in_order(spark, users, seed)
        found = Counter(own.split("#")[0] for own in kept(spark, rows, 16, seed))
        assert found == {first: 2, second: 2, third: 1}, "of 16 cases a row has three"
    assert in_order(spark, users, 1)[:3] != in_order(spark, users, 2)[:3]


@pytest.mark.parametrize("most_cases", [1, 3, 40])
def test_of_few_users_with_many_steps_there_is_somebody(
    spark: SparkSession, most_cases: int
) -> None:
    rows = [own for user in ("ada", "bob", "cy") for own in rows_of(user, 50)]
    found = kept(spark, rows, most_cases)
    assert len(found) == max(1, most_cases // STEPS)
    assert {own.split("#")[0] for own in found} == {in_order(spark, ["ada", "bob", "cy"])[0]}


@pytest.mark.parametrize("heavy", [0, 1, 2])
def test_who_has_most_of_all_cases_takes_no_more_than_there_is_room_for(
    spark: SparkSession, heavy: int
) -> None:
    users = in_order(spark, ["ada", "bob", "cy"])
    rows = [own for user in users for own in rows_of(user, 60 if user == users[heavy] else 1)]
    found = Counter(own.split("#")[0] for own in kept(spark, rows, 30))
    assert found == {**dict.fromkeys(users[:heavy], 1), users[heavy]: 10 - heavy}


def test_an_evaluation_draws_from_a_split_that_has_more(
    spark: SparkSession, place: Path, manifest: Manifest
) -> None:
    config = dataset.config(place)
    catalogue = read_catalogue(spark, config, manifest)
    evaluation = Evaluation(spark, config, manifest, catalogue, None)
    users = in_order(spark, list(dataset.histories()), config.seed)
    popular = Everybody("popular", np.arange(manifest.vocabulary_size, dtype=float))
    cases = evaluation.cases("valid", [popular], most_cases=5)
    assert [own.user_id for own in cases.orderBy("user_id").collect()] == sorted(users[:5])
    assert evaluation.rows("valid", most_cases=dataset.USERS).count() == dataset.USERS
