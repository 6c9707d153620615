"""Runs the job in small, and compares its lists with those by definition."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from recsys import files
from recsys.config import Score
from recsys.schemas import FIRST_ITEM
from recsys.score import pipeline
from tests.score import brute
from tests.score.worlds import World

K = 12


def lists(spark: SparkSession, world: World, kind: str = "home", **changes: Any) -> dict[str, dict]:
    """The lists that a run publishes, by subject."""
    version = pipeline.run(spark, world.config(**changes))
    rows = pq.read_table(files.local_copy(files.join(version, kind)), partitioning=None).to_pylist()
    subject = {"home": "user_id", "next": "session_id", "similar": "similar_to"}[kind]
    assert len({row[subject] for row in rows}) == len(rows)
    return {row[subject]: row for row in rows}


def small(**changes: Any) -> Score:
    """Blocks so small that there are several of everything."""
    return Score(**{"top_k": K, "batch_users": 8, "block_items": 16, **changes})


def indexes(row: dict) -> list[int]:
    return [int(item_id.split("-")[1]) for item_id in row["item_id"]]


def all_items(world: World) -> set[int]:
    return set(world.items.column("item_index").to_pylist())


def known(world: World, user: int) -> set[int]:
    return {item for item in world.histories["item"][user].tolist() if item >= FIRST_ITEM}


def values(world: World, attribute: str) -> np.ndarray:
    """The indexes of each item's values [V, C]; 0 where it has no more."""
    found = [np.atleast_1d(value) for value in world.items.column(f"{attribute}_index").to_pylist()]
    value_VC = np.zeros((len(found) + FIRST_ITEM, max(map(len, found))), np.int64)
    for item, value in enumerate(found, FIRST_ITEM):
        value_VC[item, : len(value)] = value
    return value_VC


def popular(world: World, platform: int) -> list[int]:
    """The items that the histories hold most often on a platform; of equal ones the lower."""
    counts = counts_on(world, platform)
    return sorted(counts.keys() - {0, 1}, key=lambda item: (-counts[item], item))[:K]


def counts_on(world: World, platform: int) -> Counter[int]:
    """How often the histories hold each item on a platform."""
    is_there = world.histories["platform"] == platform
    return Counter(world.histories["item"][is_there].tolist())


def log_counts(world: World) -> np.ndarray:
    counts = world.items.column("train_count").to_numpy()
    return np.concatenate([np.zeros(FIRST_ITEM), np.log1p(counts)])


def compare(world: World, found: dict[str, dict], scores: np.ndarray, rules: Any) -> None:
    """Every user's items and scores; those without a known item have popular ones."""
    vectors = brute.item_vectors(world)
    assert set(found) == set(world.users)
    for user, name in enumerate(world.users):
        if not known(world, user):
            popular = replace(rules(user), diversity=0.0)
            expected = brute.brute(log_counts(world), vectors, popular)
            assert set(found[name]["source"]) == {"fallback"}
            assert indexes(found[name]) == [item for item, _ in expected], name
            continue
        expected = brute.brute(scores[user], vectors, rules(user))
        assert indexes(found[name]) == [item for item, _ in expected], name
        np.testing.assert_allclose(
            found[name]["score"], [scores[user, item] for item, _ in expected], rtol=1e-4, atol=1e-4
        )
