"""The job's lists are those of a brute-force ranking, for every rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from recsys import files, manifest
from recsys.config import Ranking, Rules, Stock
from recsys.schemas import FIRST_ITEM
from recsys.score import pipeline
from tests.score import brute
from tests.score.listing import (
    K,
    all_items,
    compare,
    indexes,
    known,
    lists,
    log_counts,
    small,
    values,
)
from tests.score.worlds import DAY, PURCHASE, USERS, World, earlier, write_model


def test_exact(world: World, plain: dict[str, dict]) -> None:
    scores = brute.model_scores(world)
    compare(world, plain, scores, lambda user: brute.Rules(K, all_items(world)))
    with_history = [name for user, name in enumerate(world.users) if known(world, user)]
    assert len(with_history) > USERS * 0.8
    assert all(set(plain[name]["source"]) == {"model"} for name in with_history)


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
        old = {8} if user in (0, USERS - 1) and days is None else set()  # not in their histories
        return set(rows["item"][counts].tolist()) | old

    assert any(left_out(user) & known(world, user) for user in range(USERS))
    compare(
        world, found, brute.model_scores(world),
        lambda user: brute.Rules(K, all_items(world), left_out=left_out(user)),
    )  # fmt: skip


def test_what_was_bought_is_left_out_although_no_row_holds_it(
    spark: SparkSession, own: World, plain: dict[str, dict]
) -> None:
    best = [indexes(plain[name])[0] for name in own.users]
    place = Path(files.local_copy(files.current(str(own.folder / "dataset"), ""))) / "earlier"
    types = np.resize([PURCHASE, PURCHASE - 1], USERS)
    done = [earlier([name], [best[row]], [types[row]]) for row, name in enumerate(own.users)]
    pq.write_table(pa.concat_tables(done), place / "more.parquet")
    found = lists(spark, own, score=small(rules=Rules(leave_out={"purchase": None})))
    for number, name in enumerate(own.users[:-1]):  # the last has no history
        is_bought = own.histories["event_type"][number] == PURCHASE
        bought = {*own.histories["item"][number][is_bought].tolist(), *([8] if number == 0 else [])}
        stays = number % 2 == 1 and best[number] not in bought
        assert (best[number] in indexes(found[name])) == stays


def test_stock_allow_and_deny(
    spark: SparkSession, world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = world.items.column("item_id").to_pylist()
    stock = pa.table({"article": names[:60], "left": ["3", "0", "many", "3", "0", "NaN"] * 10})
    pq.write_table(stock, tmp_path / "stock.parquet")
    rules = Rules(
        stock=Stock(path=(str(tmp_path / "stock.parquet"),), item_id="article", quantity="left"),
        allow={"colour": ["red", "green", "blue"]},
        deny={"brand": ["third", "otther"], "tags": ["gone"], "item_id": [names[0], names[3]]},
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
    about = _manifest(files.current(str(world.folder / "recommendations"), ""))
    said = {"deny.brand": 1, "deny.tags": 1, "stock": 20}
    assert about["ignored"] == {f"score.rules.{key}": count for key, count in said.items()}
    assert "such as 'otther'; did you mean 'other'?" in caplog.text
    assert '20 without, such as {"article":"item-10","left":"many"}' in caplog.text


@pytest.mark.parametrize("half_life", [None, 3.0])
def test_blended_with_popularity_and_own_items(
    spark: SparkSession, world: World, half_life: float | None
) -> None:
    rules = Rules(popularity=0.8, own_items=1.5, half_life_days=half_life)
    found = lists(spark, world, score=small(rules=rules))
    scores = brute.model_scores(world)
    recent = np.zeros(scores.shape[1])
    for user in range(USERS):
        own = np.zeros(scores.shape[1])
        rows = {name: values_BL[user] for name, values_BL in world.histories.items()}
        for item, when in zip(rows["item"], rows["timestamp"], strict=True):
            days = (rows["timestamp"].max() - when) / DAY, 30 - when / DAY
            value = [1.0 if half_life is None else 0.5 ** (age / half_life) for age in days]
            if item >= FIRST_ITEM:
                own[item] += value[0]
                recent[item] += value[1]
        scores[user] += 1.5 * np.log1p(own)
    scores += 0.8 * (log_counts(world) if half_life is None else np.log1p(recent))
    compare(world, found, scores, lambda user: brute.Rules(K, all_items(world)))


@pytest.mark.parametrize(
    "most", [{"colour": 3}, {"colour": 4, "brand": 5}, {"brand": 1}, {"tags": 2}]
)
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
    # Of no user: what is asked of users' lists changes nothing, and is said to.
    rules = Rules(deny={"colour": ["red"]}, popularity=5, explore_share=0.5)
    score = small(lists=("similar",), rules=rules, users_per_part=40)
    found = lists(spark, world, kind="similar", score=score)
    about = _manifest(files.current(str(world.folder / "recommendations"), ""))
    assert [part["subjects"] for part in about["parts"]] == [40, 40, 10]
    assert about["lists"]["similar"]["without_effect"] == [
        "score.rules.popularity", "score.rules.explore_share",
    ]  # fmt: skip
    vectors = brute.item_vectors(world)
    rows = world.items.to_pylist()
    assert set(found) == {row["item_id"] for row in rows}
    allowed = {row["item_index"] for row in rows if row["colour"] != "red"}
    for row in rows:
        item = row["item_index"]
        cosines = np.array([brute.cosine(vectors[item], other) for other in vectors])
        expected = brute.brute(cosines, vectors, brute.Rules(K, allowed, left_out={item}))
        assert indexes(found[row["item_id"]]) == [other for other, _ in expected]


@pytest.mark.parametrize("layout", ["arrays", "rows"])
def test_nothing_is_similar_to_the_only_item(
    spark: SparkSession, world: World, layout: str
) -> None:
    rules = Rules(allow={"item_id": ["item-5"]})
    score = small(lists=("similar",), layout=layout, rules=rules, users_per_part=60)
    version = pipeline.run(spark, world.config(score=score))
    table = pq.read_table(files.local_copy(files.join(version, "similar")), partitioning=None)
    found = {row["similar_to"]: row["item_id"] for row in table.to_pylist()}
    assert found.pop("item-5", []) == []
    assert len(found) == len(world.items) - 1
    only = "item-5" if layout == "rows" else ["item-5"]
    assert all(items == only for items in found.values())
    assert _manifest(version)["lists"]["similar"]["recommendations"] == len(found)


def test_rows_say_what_arrays_say(
    spark: SparkSession, world: World, plain: dict[str, dict]
) -> None:
    version = pipeline.run(spark, world.config(score=small(layout="rows")))
    rows = pq.read_table(files.local_copy(files.join(version, "home")), partitioning=None)
    assert rows.num_rows == sum(len(row["item_id"]) for row in plain.values())
    for row in rows.to_pylist():
        of_user = plain[row["user_id"]]
        place = row["rank"] - 1
        for name in ("item_id", "score", "source"):
            assert row[name] == of_user[name][place]


def test_neither_partitions_nor_blocks_change_a_list(
    spark: SparkSession, world: World, plain: dict[str, dict]
) -> None:
    config = world.config(score=small(users_per_part=1))
    first = pipeline.run(spark, config)
    again = pipeline.run(spark, world.config(score=small(users_per_part=1000)))
    content = [_manifest(version)["lists"]["home"]["content"] for version in (first, again)]
    assert content[0] == content[1]
    assert len(_manifest(first)["parts"]) == 4
    assert len(_manifest(again)["parts"]) == 1
    other = lists(spark, world, score=small(batch_users=64, block_items=4096))
    for user in world.users:
        assert plain[user]["item_id"] == other[user]["item_id"]
        np.testing.assert_allclose(plain[user]["score"], other[user]["score"], rtol=1e-5)


@pytest.mark.parametrize(
    "train", [{"readout": "attention", "normalize": True}, {"cell": "lstm", "layers": 2}]
)
def test_partitions_change_no_bit_of_any_models_lists(
    spark: SparkSession, own: World, train: dict[str, Any]
) -> None:
    """Whoever is in a block with whom, and however long their histories are."""
    dataset = manifest.read(str(own.folder / "dataset"))
    write_model(own.folder / "model", dataset, seed=7, **train)
    found = [
        _manifest(pipeline.run(spark, own.config(score=small(users_per_part=users, batch_users=8))))
        for users in (1, 1000)
    ]
    assert len({about["lists"]["home"]["content"] for about in found}) == 1


def test_partitions_change_no_list_under_rules(spark: SparkSession, world: World) -> None:
    rules = Rules(
        leave_out={"purchase": None, "view": 3}, at_most={"colour": 4, "tags": 5}, diversity=0.3,
        popularity=0.2, own_items=0.1, half_life_days=5, explore_share=0.2,
    )  # fmt: skip
    content = []
    for users in (30, 1000):
        score = small(rules=rules, fallback_by="platform", users_per_part=users)
        version = pipeline.run(spark, world.config(score=score))
        content.append(_manifest(version)["lists"]["home"]["content"])
    assert content[0] == content[1]


def _manifest(version: str) -> dict:
    return files.read_json(files.join(version, files.MANIFEST))
