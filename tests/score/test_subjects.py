"""Who gets a list, and that nobody is left without one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from recsys import files, manifest
from recsys.config import Rules, Score, Subjects
from recsys.errors import ConfigError, DataError
from recsys.schemas import FIRST_ITEM, UNKNOWN
from recsys.score import pipeline
from recsys.score import subjects as subjects_of
from tests.score import brute
from tests.score.damage import histories_of
from tests.score.listing import (
    K,
    all_items,
    compare,
    counts_on,
    indexes,
    lists,
    log_counts,
    popular,
    small,
)
from tests.score.worlds import DAY, ITEMS, PLATFORMS, TAGS, USERS, World, write_model


def test_everybody_without_a_known_item_gets_what_is_popular(
    world: World, plain: dict[str, dict]
) -> None:
    popular = list(range(FIRST_ITEM, FIRST_ITEM + K))
    assert indexes(plain[world.users[-1]]) == popular
    np.testing.assert_allclose(
        plain[world.users[-1]]["score"], log_counts(world)[popular], rtol=1e-6
    )


def test_given_users_with_fallback_by_group(
    spark: SparkSession, world: World, tmp_path: Path
) -> None:
    table = pa.table({
        "who": ["user-1", "nobody", "nobody", "someone", "user-1", None, "anybody"],
        "likes": ["red", None, "blue", None, "red", "red", "pink"],
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
    of_blue = [log_counts(world)[item] if item in blue else 0 for item in indexes(found["nobody"])]
    np.testing.assert_allclose(found["nobody"]["score"], of_blue, rtol=1e-6)


def test_fallback_of_one_of_several_values(
    spark: SparkSession, world: World, tmp_path: Path
) -> None:
    table = pa.table({"user_id": list(TAGS), "likes": list(TAGS)})
    pq.write_table(table, tmp_path / "users.parquet")
    subjects = Subjects(path=(str(tmp_path / "users.parquet"),), group="likes")
    found = lists(spark, world, score=small(subjects=subjects, fallback_by="tags"))
    rows = world.items.to_pylist()
    for tag in TAGS:
        tagged = [row["item_index"] for row in rows if tag in row["tags"]]
        others = [row["item_index"] for row in rows if tag not in row["tags"]]
        assert 1 < len(tagged) < len(rows) / 2
        assert indexes(found[tag]) == (tagged + others)[:K]


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
    of_all = [-count for count, item in own][:K] + [0] * (K - len(first))
    np.testing.assert_allclose(found["new"]["score"], np.log1p(of_all), rtol=1e-6)


def test_of_a_group_only_the_first_are_kept(spark: SparkSession) -> None:
    rows = [("a", 4, 7), ("a", 3, 7), ("a", 9, 8), ("a", 5, 9), ("b", 4, 1), ("b", 5, 1)]
    counts = spark.createDataFrame(rows, "group string, item_index int, count bigint")
    allowed = spark.createDataFrame([(3,), (4,), (5,)], "item_index int")
    best = subjects_of.best_of_groups(counts, allowed, most=2).orderBy("group", "place")
    assert [tuple(row) for row in best.collect()] == [
        ("a", 5, 9, 1), ("a", 3, 7, 2), ("b", 4, 1, 1), ("b", 5, 1, 2),
    ]  # fmt: skip


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
    of_platform = {platform: popular(world, index) for index, platform in enumerate(PLATFORMS, 2)}
    with_all = list(range(FIRST_ITEM, FIRST_ITEM + K))
    assert len({tuple(items) for items in [*of_platform.values(), with_all]}) == len(PLATFORMS) + 1
    for user, row in found.items():
        assert indexes(row) == of_platform.get(of[user], with_all), user
        assert set(row["source"]) == {"fallback"}
        if of[user] in PLATFORMS:
            counts = counts_on(world, PLATFORMS.index(of[user]) + FIRST_ITEM)
            own = np.log1p([counts[item] for item in indexes(row)])
        else:
            own = log_counts(world)[indexes(row)]
        np.testing.assert_allclose(row["score"], own, rtol=1e-6)


def test_fallback_of_the_platform_of_ones_own_history(spark: SparkSession, own: World) -> None:
    """One user's items are made unknown; all others have lists as before."""
    user = int(np.argmax((own.histories["platform"] >= FIRST_ITEM).sum(axis=1)))
    item = own.histories["item"].copy()
    item[user] = np.minimum(item[user], UNKNOWN)
    histories = files.join(files.current(str(own.folder / "dataset"), ""), "histories")
    for path in Path(files.local_copy(histories)).iterdir():
        table = pq.read_table(path)
        events = zip(table["user_id"].to_pylist(), table["item"].to_pylist(), strict=True)
        of_file = [item[own.users.index(name)][: len(former)] for name, former in events]
        place = table.schema.get_field_index("item")
        pq.write_table(
            table.set_column(place, "item", pa.array(of_file, pa.list_(pa.int32()))), path
        )
    changed = replace(own, histories={**own.histories, "item": item})
    found = lists(spark, own, score=small(fallback_by="platform"))
    assert found.keys() == set(own.users)
    latest = [index for index in own.histories["platform"][user].tolist() if index >= FIRST_ITEM]
    assert indexes(found[own.users[user]]) == popular(changed, latest[-1])
    assert indexes(found[own.users[-1]]) == list(range(FIRST_ITEM, FIRST_ITEM + K))  # no history
    assert sum("fallback" in row["source"] for row in found.values()) < USERS / 2


def test_groups_of_a_table_that_limits_nobody(
    spark: SparkSession, world: World, tmp_path: Path
) -> None:
    """What the group has runs out, or is left out: what comes next with it, then with all."""
    last, bought = world.users[-1], 8  # see worlds
    table = pa.table({"user_id": [last, "new"], "likes": ["blue", "blue"]})
    pq.write_table(table, tmp_path / "users.parquet")
    given = Subjects(path=(str(tmp_path / "users.parquet"),), group="likes", only=False)
    rules = Rules(leave_out={"purchase": None}, deny={"colour": ["grey"]})
    score = small(subjects=given, fallback_by="colour", rules=rules)
    found = lists(spark, world, score=score)
    assert found.keys() == {*world.users, "new"}
    assert set(found["user-1"]["source"]) == {"model"}
    allowed = [row for row in world.items.to_pylist() if row["colour"] != "grey"]
    blue = [row["item_index"] for row in allowed if row["colour"] == "blue"]
    others = [row["item_index"] for row in allowed if row["colour"] != "blue"]
    assert indexes(found["new"]) == (blue + others)[:K]
    assert indexes(found[last]) == [item for item in blue + others if item != bought][:K]


def test_fallback_by_a_group_that_no_table_names() -> None:
    with pytest.raises(ConfigError, match=r"score.subjects.path: expected files, for score.fall"):
        Score(fallback_by="colour")
    with pytest.raises(ConfigError, match=r"score.subjects.group: expected a column"):
        Score(fallback_by="colour", subjects=Subjects(path=("users",)))


def test_a_table_that_names_nobody(spark: SparkSession, own: World) -> None:
    path = own.folder / "users.csv"
    path.write_text("user_id\n\n")
    given = Subjects(path=(str(path),), format="csv", options={"header": "true"})
    with pytest.raises(DataError, match=r"users.csv: expected rows with ids, found none"):
        pipeline.run(spark, own.config(score=small(subjects=given)))


def test_platforms_of_a_log_without(spark: SparkSession, own: World) -> None:
    replace(manifest.read(str(own.folder / "dataset")), platforms=()).write()
    score = small(subjects=Subjects(path=("users",), group="where"), fallback_by="platform")
    message = r"score.fallback_by: expected a dataset with platforms .* found \S+ without"
    with pytest.raises(ConfigError, match=message):
        pipeline.run(spark, own.config(score=score))


def test_items_that_the_model_cannot_rank_are_in_no_list_and_say_nothing(
    spark: SparkSession, own: World
) -> None:
    dataset, known = manifest.read(str(own.folder / "dataset")), ITEMS // 2
    write_model(own.folder / "model", dataset, known_items=known)
    rules = Rules(explore_share=0.5, explore_max_train_count=10**6)
    config = own.config(score=small(top_k=6, lists=("home", "similar"), rules=rules))
    version = Path(files.local_copy(pipeline.run(spark, config)))
    home, similar = (
        pq.read_table(version / kind, partitioning=None).to_pylist() for kind in ("home", "similar")
    )
    beyond = {f"item-{index}" for index in range(FIRST_ITEM + known, FIRST_ITEM + ITEMS)}
    assert not beyond & {item for row in [*home, *similar] for item in row["item_id"]}
    history = dict(zip(own.users, own.histories["item"].tolist(), strict=True))
    unknown = {
        user
        for user, items in history.items()
        if not any(FIRST_ITEM <= item < FIRST_ITEM + known for item in items)
    }
    assert any(max(history[user]) >= FIRST_ITEM for user in unknown)
    assert {row["user_id"] for row in home if "fallback" in row["source"]} == unknown
    assert {row["similar_to"] for row in similar if "fallback" in row["source"]} == beyond
    popular = [f"item-{FIRST_ITEM + place}" for place in range(6)]
    for row in [*home, *similar]:
        if "fallback" in row["source"]:
            assert row["item_id"] == popular


def test_active_since(spark: SparkSession, world: World) -> None:
    found = lists(spark, world, score=small(active_since="1970-01-13"))
    last = world.histories["timestamp"].max(axis=1)
    expected = {name for name, when in zip(world.users, last, strict=True) if when >= 12 * DAY}
    assert set(found) == expected
    assert 0 < len(expected) < USERS


def test_a_part_in_which_nobody_was_active(spark: SparkSession, own: World) -> None:
    expected = set(lists(spark, own, score=small(active_since="1970-01-13")))
    victim = histories_of(own) / "part-1.parquet"
    table = pq.read_table(victim)
    place = table.schema.get_field_index("timestamp")
    kind = table.schema.field(place).type
    long_ago = pa.array([[1] * len(each) for each in table["timestamp"].to_pylist()], kind)
    pq.write_table(table.set_column(place, "timestamp", long_ago), victim)
    score = small(active_since="1970-01-13", users_per_part=1)
    assert set(lists(spark, own, score=score)) == expected - set(table["user_id"].to_pylist())
    url = files.current(str(own.folder / "recommendations"), "")
    parts = files.read_json(files.join(url, files.MANIFEST))["parts"]
    assert [part["number"] for part in parts if not part["subjects"]] == [1]


def test_nobody_was_active(spark: SparkSession, own: World) -> None:
    former = pipeline.run(spark, own.config(score=small()))
    config = own.config(score=small(active_since="2030-01-01"))
    message = (
        r"expected somebody with an event since 2030-01-01 \(score.active_since\), found nobody"
    )
    with pytest.raises(DataError, match=message):
        pipeline.run(spark, config)
    assert files.current(config.paths.recommendations, "") == former


def test_sessions_get_what_comes_next(spark: SparkSession, own: World) -> None:
    url = files.join(files.current(str(own.folder / "dataset"), ""), files.MANIFEST)
    content = files.read_json(url)
    content["config"]["prepare"]["sequence_unit"] = "session"
    files.write_json(url, content)
    found = lists(spark, own, kind="next", score=small(lists=("next",)))
    assert {row["list"] for row in found.values()} == {"next"}
    everything = all_items(own)
    compare(own, found, brute.model_scores(own), lambda user: brute.Rules(K, everything))
