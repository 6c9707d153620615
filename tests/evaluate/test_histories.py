from __future__ import annotations

import random

import pytest
from pyspark.sql import DataFrame, SparkSession

from recsys.evaluate import histories
from recsys.evaluate.histories import whole, with_earlier
from recsys.schemas import HISTORIES, NO_SPLIT, SEQUENCES, SPLITS, ddl
from tests.evaluate.rows import DAY, row, stored

# Ada's whole history, step by step, and the place of its split; rows of eight events hold parts.
ADA = [[2, 3], [4], [5, 5], [6, 7], [8], [9, 2], [3]]
SPLIT_OF = [0, 0, NO_SPLIT, 0, 1, 2, 2]


def part(first: int, last: int, first_target: int, user: str = "ada") -> dict:
    return row(user, [(step, ADA[step]) for step in range(first, last + 1)], first_target)


def piece(first: int, last: int, user: str = "ada") -> dict:
    steps = [(step, ADA[step]) for step in range(first, last + 1)]
    return stored(user, steps, SPLIT_OF[first : last + 1])


def frame(spark: SparkSession, rows: list[dict], seed: int, schema: dict = SEQUENCES) -> DataFrame:
    shuffled = random.Random(seed).sample(rows, len(rows))
    return spark.createDataFrame([[own[name] for name in schema] for own in shuffled], ddl(schema))


TEST = [part(3, 5, 5), part(5, 6, 6)]
STORED = [piece(0, 0), piece(1, 2), piece(3, 6), piece(0, 2, user="bob"), piece(4, 5, user="cy")]


@pytest.mark.parametrize("seed", [1, 2])
def test_earlier_is_all_before_the_row_and_nothing_else(spark: SparkSession, seed: int) -> None:
    test = frame(spark, TEST, seed)
    found = with_earlier(test, frame(spark, STORED, seed, HISTORIES)).collect()
    by_id = {own.sequence_id: own for own in found}
    assert sorted(by_id) == ["ada#5", "ada#6"]
    assert by_id["ada#5"].first_step == 3
    assert by_id["ada#6"].first_step == 5
    for own in found:
        expected = [(item, DAY * step) for step in range(own.first_step) for item in ADA[step]]
        assert [(event.item, event.timestamp) for event in own.earlier] == expected
        assert all(event.timestamp == DAY * event.number for event in own.earlier)
        assert {event.session_start for event in own.earlier} == {1}


def test_who_did_very_much_comes_with_the_latest_alone(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(histories, "MOST_EARLIER", 3)
    found = with_earlier(frame(spark, TEST, 1), frame(spark, STORED, 1, HISTORIES)).collect()
    items = {own.sequence_id: [event.item for event in own.earlier] for own in found}
    assert items == {"ada#5": [4, 5, 5], "ada#6": [6, 7, 8]}


def test_a_user_whose_history_begins_with_the_row_has_nothing_earlier(spark: SparkSession) -> None:
    test = frame(spark, [part(0, 2, 1, user="bob")], 1)
    (own,) = with_earlier(test, frame(spark, STORED, 1, HISTORIES)).collect()
    assert own.first_step == 0
    assert own.earlier == []


@pytest.mark.parametrize("splits", [(), ("train",), ("train", "valid")])
def test_a_history_holds_what_was_in_the_time_of_the_splits(
    spark: SparkSession, splits: tuple[str, ...]
) -> None:
    found = whole(frame(spark, STORED, 3, HISTORIES), splits).collect()
    wanted = {SPLITS.index(name) for name in splits} or {0, 1, 2, NO_SPLIT}
    steps = {"ada": range(7), "bob": range(3), "cy": range(4, 6)}
    expected = {
        user: [
            (step, item) for step in own if SPLIT_OF[step] in wanted for item in sorted(ADA[step])
        ]
        for user, own in steps.items()
    }
    assert {
        own.user_id: [(event.number, event.item) for event in own.history] for own in found
    } == {user: events for user, events in expected.items() if events}
