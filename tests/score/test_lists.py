"""The job's lists are those of a brute-force ranking, for every rule."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from recsys import files, manifest
from recsys.config import Ranking, Rules, Score, Stock, Subjects
from recsys.errors import ConfigError
from recsys.schemas import FIRST_ITEM
from recsys.score import pipeline
from tests.score import brute
from tests.score.worlds import DAY, PLATFORMS, USERS, World

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
    value_V = np.ones(len(world.items) + FIRST_ITEM, np.int64)
    value_V[FIRST_ITEM:] = world.items.column(f"{attribute}_index").to_numpy()
    return value_V


def log_counts(world: World) -> np.ndarray:
    counts = world.items.column("train_count").to_numpy()
    return np.concatenate([np.zeros(FIRST_ITEM), np.log1p(counts)])


def compare(world: World, found: dict[str, dict], scores: np.ndarray, rules: Any) -> None:
    """Every user's items and scores; those without a known item have popular ones."""
    vectors = brute.item_vectors(world)
    assert set(found) == set(world.users)
    for user, name in enumerate(world.users):
        if not known(world, user):
            assert set(found[name]["source"]) == {"fallback"}
            continue
        expected = brute.brute(scores[user], vectors, rules(user))
        assert indexes(found[name]) == [item for item, _ in expected], name
        np.testing.assert_allclose(
            found[name]["score"], [scores[user, item] for item, _ in expected], rtol=1e-4, atol=1e-4
        )


def test_exact(spark: SparkSession, world: World) -> None:
    found = lists(spark, world, score=small())
    scores = brute.model_scores(world)
    compare(world, found, scores, lambda user: brute.Rules(K, all_items(world)))
    with_history = [name for user, name in enumerate(world.users) if known(world, user)]
    assert len(with_history) > USERS * 0.8
    assert all(set(found[name]["source"]) == {"model"} for name in with_history)


def test_everybody_without_a_known_item_gets_what_is_popular(
    spark: SparkSession, world: World
) -> None:
    found = lists(spark, world, score=small())
    popular = list(range(FIRST_ITEM, FIRST_ITEM + K))
    assert indexes(found[world.users[-1]]) == popular
    np.testing.assert_allclose(
        found[world.users[-1]]["score"], log_counts(world)[popular], rtol=1e-6
    )


def test_items_of_the_history_left_out(spark: SparkSession, world: World) -> None:
    found = lists(spark, world, score=small(), ranking=Ranking(exclude_history=True))
    scores = brute.model_scores(world)
    compare(
        world, found, scores,
        lambda user: brute.Rules(K, all_items(world), left_out=known(world, user)),
    )  # fmt: skip


@pytest.mark.parametrize("days", [None, 16.0])
def test_bought_items_left_out(spark: SparkSession, world: World, days: float | None) -> None:
    # The last event is on day 30, that is the day from which the days are counted back.
    rules = Rules(leave_out={"purchase": days})
    found = lists(spark, world, score=small(rules=rules))
    since = 0 if days is None else (30 - days) * DAY

    def left_out(user: int) -> set[int]:
        rows = {name: values_BL[user] for name, values_BL in world.histories.items()}
        counts = (rows["event_type"] == 3) & (rows["timestamp"] >= since)
        old = {8} if user == 0 and days is None else set()  # beyond its history's room
        return set(rows["item"][counts].tolist()) | old

    assert any(left_out(user) & known(world, user) for user in range(USERS))
    compare(
        world, found, brute.model_scores(world),
        lambda user: brute.Rules(K, all_items(world), left_out=left_out(user)),
    )  # fmt: skip


def test_stock_allow_and_deny(spark: SparkSession, world: World, tmp_path: Path) -> None:
    names = world.items.column("item_id").to_pylist()
    stock = pa.table({"article": names[:60], "left": ["3", "0", "many"] * 20})
    pq.write_table(stock, tmp_path / "stock.parquet")
    rules = Rules(
        stock=Stock(path=(str(tmp_path / "stock.parquet"),), item_id="article", quantity="left"),
        allow={"colour": ["red", "green", "blue"]},
        deny={"brand": ["third"], "item_id": [names[0], names[3]]},
    )
    found = lists(spark, world, score=small(rules=rules))
    allowed = {
        row["item_index"]
        for place, row in enumerate(world.items.to_pylist())
        if place < 60 and place % 3 == 0 and place not in (0, 3)
        and row["colour"] != "grey" and row["brand"] != "third"
    }  # fmt: skip
    compare(
        world,
        found,
        brute.model_scores(world),
        lambda user: brute.Rules(min(K, len(allowed)), allowed),
    )


def test_blended_with_popularity_and_own_items(spark: SparkSession, world: World) -> None:
    found = lists(spark, world, score=small(rules=Rules(popularity=0.8, own_items=1.5)))
    scores = brute.model_scores(world) + 0.8 * log_counts(world)
    for user in range(USERS):
        items, counts = np.unique(world.histories["item"][user], return_counts=True)
        scores[user, items[items >= 2]] += 1.5 * np.log1p(counts[items >= 2])
    compare(world, found, scores, lambda user: brute.Rules(K, all_items(world)))


@pytest.mark.parametrize("most", [{"colour": 3}, {"colour": 4, "brand": 5}, {"brand": 1}])
def test_at_most_so_many_of_a_value(
    spark: SparkSession, world: World, most: dict[str, int]
) -> None:
    found = lists(spark, world, score=small(rules=Rules(at_most=most)))
    limits = [(values(world, name), count) for name, count in most.items()]
    compare(
        world, found, brute.model_scores(world),
        lambda user: brute.Rules(K, all_items(world), at_most=limits),
    )  # fmt: skip


def test_diverse(spark: SparkSession, world: World) -> None:
    rules = Rules(diversity=0.4, diversity_pool=30, at_most={"brand": 6})
    found = lists(spark, world, score=small(rules=rules))
    compare(
        world, found, brute.model_scores(world),
        lambda user: brute.Rules(
            K, all_items(world), at_most=[(values(world, "brand"), 6)], diversity=0.4, pool=30
        ),
    )  # fmt: skip


def test_share_for_items_that_sell_little(spark: SparkSession, world: World) -> None:
    rules = Rules(explore_share=0.25, explore_max_train_count=15, at_most={"colour": 4})
    config = {"score": small(rules=rules), "ranking": Ranking(exclude_history=True)}
    found = lists(spark, world, **config)
    counts = world.items.column("train_count").to_numpy()
    rare = set((np.flatnonzero(counts <= 15) + FIRST_ITEM).tolist())
    scores = brute.model_scores(world)
    for user, name in enumerate(world.users):
        if not known(world, user):
            continue
        expected = brute.brute(
            scores[user], brute.item_vectors(world),
            brute.Rules(
                K, all_items(world), left_out=known(world, user), explored=rare, explore_places=3,
                at_most=[(values(world, "colour"), 4)],
            ),
        )  # fmt: skip
        pairs = list(zip(indexes(found[name]), found[name]["source"], strict=True))
        assert sorted(pairs) == sorted(expected)
        for source in ("model", "exploration"):  # each in its own order
            assert [pair for pair in pairs if pair[1] == source] == [
                pair for pair in expected if pair[1] == source
            ]
        assert [place for place, (_, source) in enumerate(pairs) if source == "exploration"] == [
            3, 7, 11
        ]  # fmt: skip


def test_similar_items(spark: SparkSession, world: World) -> None:
    rules = Rules(deny={"colour": ["red"]})
    found = lists(spark, world, kind="similar", score=small(lists=("similar",), rules=rules))
    vectors = brute.item_vectors(world)
    rows = world.items.to_pylist()
    assert set(found) == {row["item_id"] for row in rows}
    allowed = {row["item_index"] for row in rows if row["colour"] != "red"}
    for row in rows:
        item = row["item_index"]
        cosines = np.array([brute.cosine(vectors[item], other) for other in vectors])
        expected = brute.brute(cosines, vectors, brute.Rules(K, allowed, left_out={item}))
        assert indexes(found[row["item_id"]]) == [other for other, _ in expected]


def test_given_users_with_fallback_by_group(
    spark: SparkSession, world: World, tmp_path: Path
) -> None:
    table = pa.table({
        "who": ["user-1", "nobody", "someone", "user-1", None, "anybody"],
        "likes": ["red", "blue", None, "red", "red", "pink"],
    })  # fmt: skip
    pq.write_table(table, tmp_path / "users.parquet")
    subjects = Subjects(path=(str(tmp_path / "users.parquet"),), id="who", group="likes")
    found = lists(spark, world, score=small(subjects=subjects, fallback_by="colour"))
    assert set(found) == {"user-1", "nobody", "someone", "anybody"}
    assert set(found["user-1"]["source"]) == {"model"}
    popular = list(range(FIRST_ITEM, FIRST_ITEM + K))
    assert indexes(found["someone"]) == indexes(found["anybody"]) == popular
    rows = world.items.to_pylist()
    blue = [row["item_index"] for row in rows if row["colour"] == "blue"]
    others = [item for item in range(FIRST_ITEM, FIRST_ITEM + 90) if item not in blue]
    assert indexes(found["nobody"]) == (blue + others)[:K]


def test_fallback_of_the_users_of_a_group(
    spark: SparkSession, world: World, tmp_path: Path
) -> None:
    table = pa.table({"user_id": ["user-1", "user-2", "new"], "platform": ["app", "web", "app"]})
    pq.write_table(table, tmp_path / "users.parquet")
    subjects = Subjects(path=(str(tmp_path / "users.parquet"),), group="platform")
    found = lists(spark, world, score=small(subjects=subjects, fallback_by="group"))
    items, counts = np.unique(world.histories["item"][1], return_counts=True)
    own = sorted((-count, item) for item, count in zip(items, counts, strict=True) if item >= 2)
    first = [item for _, item in own][:K]
    assert len(first) > 2
    assert indexes(found["new"])[: len(first)] == first


def test_fallback_of_a_platform(spark: SparkSession, world: World, tmp_path: Path) -> None:
    of = {
        "new": "web", "on the way": "app", "at the shop": "till", world.users[-1]: "app",
        "by fax": "fax", "nowhere": None, "user-1": "web",
    }  # fmt: skip
    table = pa.table({"user_id": list(of), "where": list(of.values())})
    pq.write_table(table, tmp_path / "users.parquet")
    subjects = Subjects(path=(str(tmp_path / "users.parquet"),), group="where")
    found = lists(spark, world, score=small(subjects=subjects, fallback_by="platform"))
    assert found.keys() == of.keys()
    assert all(len(row["item_id"]) == K for row in found.values())
    assert set(found.pop("user-1")["source"]) == {"model"}
    popular = {platform: _popular(world, index) for index, platform in enumerate(PLATFORMS, 2)}
    with_all = list(range(FIRST_ITEM, FIRST_ITEM + K))
    assert len({tuple(items) for items in [*popular.values(), with_all]}) == len(PLATFORMS) + 1
    for user, row in found.items():
        assert indexes(row) == popular.get(of[user], with_all), user
        assert set(row["source"]) == {"fallback"}


def _popular(world: World, platform: int) -> list[int]:
    """The items that the histories hold most often on a platform; of equal ones the lower."""
    is_there = world.histories["platform"] == platform
    counts = Counter(world.histories["item"][is_there].tolist())
    return sorted(counts.keys() - {0, 1}, key=lambda item: (-counts[item], item))[:K]


def test_fallback_by_a_group_that_no_table_names() -> None:
    with pytest.raises(ConfigError, match=r"score.subjects.path: expected files, for score.fall"):
        Score(fallback_by="colour")
    with pytest.raises(ConfigError, match=r"score.subjects.group: expected a column"):
        Score(fallback_by="colour", subjects=Subjects(path=("users",)))


def test_platforms_of_a_log_without(spark: SparkSession, world: World, tmp_path: Path) -> None:
    for stage in ("dataset", "model"):
        shutil.copytree(world.folder / stage, tmp_path / stage)
    replace(manifest.read(str(tmp_path / "dataset")), platforms=()).write()
    score = small(subjects=Subjects(path=("users",), group="where"), fallback_by="platform")
    message = r"score.fallback_by: expected a dataset with platforms .* found \S+ without"
    with pytest.raises(ConfigError, match=message):
        pipeline.run(spark, replace(world, folder=tmp_path).config(score=score))


def test_active_since(spark: SparkSession, world: World) -> None:
    found = lists(spark, world, score=small(active_since="1970-01-13"))
    last = world.histories["timestamp"].max(axis=1)
    expected = {name for name, when in zip(world.users, last, strict=True) if when >= 12 * DAY}
    assert set(found) == expected
    assert 0 < len(expected) < USERS


def test_reason_is_the_event_without_which_the_score_is_lowest(
    spark: SparkSession, world: World
) -> None:
    found = lists(spark, world, score=small(reason=True, top_k=3))
    scores = brute.model_scores(world)
    for user in range(0, USERS - 1, 7):
        rows = {name: world.histories[name][user] for name in brute.INPUTS}
        events = int((rows["step"] >= 0).sum())
        if not known(world, user):
            continue
        without = np.stack([_without(world, rows, event) for event in range(events)])
        row = found[world.users[user]]
        for item, reason in zip(indexes(row), row["reason"], strict=True):
            lowest = int(without[:, item].argmin())
            if without[lowest, item] >= scores[user, item]:
                assert reason is None
            else:
                expected = rows["item"][lowest]
                assert reason == (f"item-{expected}" if expected >= 2 else None)


def _without(world: World, rows: dict[str, np.ndarray], lost: int) -> np.ndarray:
    """The model's scores [V] of the history written anew without an event."""
    kept = [
        place for place in range(len(rows["step"])) if place != lost and rows["step"][place] >= 0
    ]
    old_steps = sorted({int(rows["step"][place]) for place in kept})
    new = {name: np.zeros((1, len(rows["step"])), np.int32) for name in brute.INPUTS}
    new["step"] -= 1
    for number, place in enumerate(kept):
        step = int(rows["step"][place])
        lost_step = int(rows["step"][lost])
        gap, start = rows["gap_seconds"][place], rows["session_start"][place]
        if step == lost_step + 1 and lost_step not in old_steps:
            before = rows["gap_seconds"][lost]
            gap = 0 if lost_step == 0 and before == 0 else gap + before
            start = max(start, rows["session_start"][lost])
        new["item"][0, number] = rows["item"][place]
        new["event_type"][0, number] = rows["event_type"][place]
        new["gap_seconds"][0, number] = gap
        new["session_start"][0, number] = start
        new["step"][0, number] = old_steps.index(step)
    return brute.model_scores(world, new)[0]


def test_sessions_get_what_comes_next(spark: SparkSession, world: World, tmp_path: Path) -> None:
    for stage in ("dataset", "model"):
        shutil.copytree(world.folder / stage, tmp_path / stage)
    of_sessions = replace(world, folder=tmp_path)
    url = files.join(files.current(str(tmp_path / "dataset"), ""), files.MANIFEST)
    content = files.read_json(url)
    content["config"]["prepare"]["sequence_unit"] = "session"
    files.write_json(url, content)
    found = lists(spark, of_sessions, kind="next", score=small(lists=("next",)))
    assert {row["list"] for row in found.values()} == {"next"}
    everything = all_items(world)
    compare(of_sessions, found, brute.model_scores(world), lambda user: brute.Rules(K, everything))


def test_rows_say_what_arrays_say(spark: SparkSession, world: World) -> None:
    arrays = lists(spark, world, score=small())
    version = pipeline.run(spark, world.config(score=small(layout="rows")))
    rows = pq.read_table(files.local_copy(files.join(version, "home")), partitioning=None)
    assert rows.num_rows == sum(len(row["item_id"]) for row in arrays.values())
    for row in rows.to_pylist():
        of_user = arrays[row["user_id"]]
        place = row["rank"] - 1
        for name in ("item_id", "score", "source"):
            assert row[name] == of_user[name][place]


def test_neither_partitions_nor_blocks_change_a_list(
    spark: SparkSession, world: World, tmp_path: Path
) -> None:
    config = world.config(score=small(users_per_part=1))
    first = pipeline.run(spark, config)
    again = pipeline.run(spark, world.config(score=small(users_per_part=1000)))
    content = [_manifest(version)["lists"]["home"]["content"] for version in (first, again)]
    assert content[0] == content[1]
    assert len(_manifest(first)["parts"]) == 4
    assert len(_manifest(again)["parts"]) == 1
    one = lists(spark, world, score=small())
    other = lists(spark, world, score=small(batch_users=64, block_items=4096))
    for user in world.users:
        assert one[user]["item_id"] == other[user]["item_id"]
        np.testing.assert_allclose(one[user]["score"], other[user]["score"], rtol=1e-5)


def _manifest(version: str) -> dict:
    return files.read_json(files.join(version, files.MANIFEST))
