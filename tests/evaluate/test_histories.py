from __future__ import annotations

import random

import pytest
from pyspark.sql import DataFrame, SparkSession

from recsys.evaluate.histories import with_earlier
from recsys.schemas import SEQUENCES, ddl
from tests.evaluate.rows import DAY, row

# Ada's whole history, step by step; rows of eight events hold parts of it.
ADA = [[2, 3], [4], [5, 5], [6, 7], [8], [9, 2], [3]]


def part(first: int, last: int, first_target: int, user: str = "ada") -> dict:
    return row(user, [(step, ADA[step]) for step in range(first, last + 1)], first_target)


def frame(spark: SparkSession, rows: list[dict], seed: int) -> DataFrame:
    shuffled = random.Random(seed).sample(rows, len(rows))
    return spark.createDataFrame(
        [[own[name] for name in SEQUENCES] for own in shuffled], ddl(SEQUENCES)
    )


TRAIN = [part(0, 2, 1), part(1, 3, 3), part(0, 2, 1, user="bob")]
VALID = [part(2, 4, 4)]
TEST = [part(3, 5, 5), part(5, 6, 6)]


@pytest.mark.parametrize("seed", [1, 2])
def test_earlier_is_all_before_the_row_and_nothing_else(spark: SparkSession, seed: int) -> None:
    test = frame(spark, TEST, seed)
    found = with_earlier(test, frame(spark, TRAIN + VALID + TEST, seed)).collect()
    by_id = {own.sequence_id: own for own in found}
    assert sorted(by_id) == ["ada#5", "ada#6"]
    assert by_id["ada#5"].first_step == 3
    assert by_id["ada#6"].first_step == 5
    for own in found:
        expected = [
            (item, DAY * step) for step in range(own.first_step) for item in sorted(ADA[step])
        ]
        assert [(event.item, event.timestamp) for event in own.earlier] == expected
        assert all(event.timestamp == DAY * event.number for event in own.earlier)
        assert {event.session_start for event in own.earlier} == {1}


def test_a_user_whose_history_begins_with_the_row_has_nothing_earlier(spark: SparkSession) -> None:
    test = frame(spark, [part(0, 2, 1, user="cy")], 1)
    (own,) = with_earlier(test, test).collect()
    assert own.first_step == 0
    assert own.earlier == []


def test_rows_that_only_fill_up_are_no_history(spark: SparkSession) -> None:
    filler = {**part(0, 2, 1), "weight": 0.0}
    test = frame(spark, [part(3, 5, 5)], 1)
    (own,) = with_earlier(test, test.unionByName(frame(spark, [filler], 1))).collect()
    assert own.earlier == []
