"""Lists for an instant of before know nothing of what came after it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from recsys import files
from recsys.arrays import pad
from recsys.config import Rules, Subjects
from recsys.schemas import FIRST_ITEM
from tests.score import brute
from tests.score.listing import K, all_items, compare, indexes, lists, log_counts, popular, small
from tests.score.worlds import DAY, PLATFORMS, USERS, World

# Histories begin on day 10 and have a step a day.
INSTANT, TEXT = 11 * DAY, "1970-01-12"


@pytest.fixture(scope="module")
def then(world: World) -> World:
    """The world of that instant: of each history what had happened."""
    had_happened = world.histories["timestamp"] <= INSTANT
    rows = {
        name: np.where(had_happened, values, pad(name)) for name, values in world.histories.items()
    }
    cut = (rows["step"] != world.histories["step"]).any(axis=1)
    assert 0 < cut.sum() < USERS
    return replace(world, histories=rows)


def test_neither_input_nor_left_out(spark: SparkSession, world: World, then: World) -> None:
    score = small(as_of=TEXT, rules=Rules(leave_out={"purchase": None}))

    def left_out(user: int) -> set[int]:
        is_bought = then.histories["event_type"][user] == 3
        old = {8} if user in (0, USERS - 1) else set()  # not in their histories
        return set(then.histories["item"][user][is_bought].tolist()) | old

    compare(
        then, lists(spark, world, score=score), brute.model_scores(then),
        lambda user: brute.Rules(K, all_items(world), left_out=left_out(user)),
    )  # fmt: skip


def test_before_everything_all_get_what_was_left_in_train(
    spark: SparkSession, world: World
) -> None:
    rules = Rules(leave_out={"purchase": None})
    found = lists(spark, world, score=small(as_of="1970-01-02T12:00", rules=rules))
    in_order = np.argsort(-log_counts(world), kind="stable")[:K]  # the purchase is on day 2
    assert set(found) == set(world.users)
    for row in found.values():
        assert indexes(row) == in_order.tolist()
        assert set(row["source"]) == {"fallback"}


def test_nor_who_was_active_or_what_was_popular(
    spark: SparkSession, world: World, then: World, tmp_path: Path
) -> None:
    found = lists(spark, world, score=small(as_of=TEXT, active_since="1970-01-12"))
    last = then.histories["timestamp"].max(axis=1)
    assert found.keys() == {world.users[user] for user in np.flatnonzero(last == INSTANT)}
    table = pa.table({"user_id": list(PLATFORMS), "where": list(PLATFORMS)})
    pq.write_table(table, tmp_path / "users.parquet")
    subjects = Subjects(path=(str(tmp_path / "users.parquet"),), group="where")
    score = small(as_of=TEXT, subjects=subjects, fallback_by="platform")
    of_platforms = lists(spark, world, score=score)
    expected = {name: popular(then, number) for number, name in enumerate(PLATFORMS, FIRST_ITEM)}
    assert {name: indexes(row) for name, row in of_platforms.items()} == expected
    assert any(
        popular(world, number) != expected[name]
        for number, name in enumerate(PLATFORMS, FIRST_ITEM)
    )


def test_who_has_done_too_much_since_is_counted(
    spark: SparkSession, own: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a full history that begins later nobody can say what was before."""
    events = (own.histories["step"] >= 0).sum(axis=1)
    longest, full = events.max(), (events == events.max()).sum()
    assert 0 < full < USERS
    dataset = files.current(str(own.folder / "dataset"), "")
    about = files.read_json(files.join(dataset, files.MANIFEST))
    files.write_json(
        files.join(dataset, files.MANIFEST), {**about, "sequence_length": int(longest)}
    )
    found = lists(spark, own, score=small(as_of="1970-01-10"))  # histories begin on day 10
    assert set(found) == set(own.users)
    version = files.current(str(own.folder / "recommendations"), "")
    about = files.read_json(files.join(version, files.MANIFEST))
    assert about["ignored"] == {"score.as_of": full}
    assert f"the histories of {full}, of {longest} events each, begin later" in caplog.text
