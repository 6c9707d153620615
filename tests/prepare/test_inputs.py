"""Searches, impressions, platforms and values of a log, features of items: what becomes of each."""

from __future__ import annotations

import csv
import json
import random
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from recsys import files
from recsys.config import AttributeKind, Clean, Config, Items
from recsys.errors import ConfigError
from recsys.manifest import Manifest
from recsys.prepare import pipeline
from recsys.prepare.rules import rules
from recsys.schemas import FIRST_ITEM, PADDING, SPLITS, UNKNOWN
from recsys.text import query_tokens
from tests.prepare.small import DAY, START, small_config

COLUMNS = ("who", "what", "did", "when", "words", "stars", "where", "place")
QUERIES = ("Red SHOES", "red   shoes!", "hat", "")
TOKENS, BUCKETS = 3, 500
ATTRIBUTES: dict[str, AttributeKind] = {
    "place": "path", "size": "number", "title": "text", "image": "vector",
}  # fmt: skip


def _log() -> list[tuple[str, str, str, int, str, str, str, str]]:
    draw = random.Random(8)
    found = []
    for user in range(20):
        for day in range(10):
            time = START + day * DAY + draw.randrange(DAY // 2)
            for _ in range(draw.randrange(1, 6)):
                name, did = f"u{user}", draw.choice(("search", "view", "view", "impression"))
                item = "" if did == "search" else f"i{draw.randrange(12)}"
                if did == "impression":
                    item = f"shown-{draw.randrange(3)}" if draw.random() < 0.5 else item
                words = draw.choice(QUERIES) if did == "search" else "not asked"
                stars = draw.choice(("", "1", "2", "5"))
                where = draw.choice(("web", "app"))
                place = str(time % 7) if did == "impression" and time % 3 else ""
                found.append((name, item, did, time, words, stars, where, place))
                time += draw.choice((0, 60, 7200))
    draw.shuffle(found)
    return found


LOG = _log()


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("inputs")
    with (folder / "log.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *LOG])
    items = [
        {"item_id": f"i{n}", "place": "home > " + "ab"[n % 2], "size": n, "title": f"Thing {n}",
         "image": [n, 1.0]}
        for n in range(11)
    ]  # fmt: skip
    (folder / "items.json").write_text("\n".join(map(json.dumps, items)))
    plain = small_config(folder, folder / "log.csv")
    columns = replace(
        plain.events.columns, query="words", value="stars", platform="where", position="place",
        price=None, quantity=None,
    )  # fmt: skip
    # Rules that look across events: none of them may stumble over events without an item.
    clean = Clean(
        min_value=2, duplicates=True, repeat_seconds=1, min_item_events=2, min_user_events=2
    )
    prepare = replace(
        plain.prepare, query_tokens=TOKENS, query_buckets=BUCKETS, clean=clean,
        item_statistics=True, text_method="tfidf_svd", text_width=16, weight_by_value=True,
        max_value_weight=1.25,
    )  # fmt: skip
    return replace(
        plain,
        events=replace(plain.events, columns=columns),
        items=Items((str(folder / "items.json"),), "json", attributes=ATTRIBUTES),
        prepare=prepare,
    )


@pytest.fixture(scope="module")
def made(spark: SparkSession, config: Config) -> Manifest:
    return pipeline.run(spark, config)


def _table(made: Manifest, name: str) -> list[dict]:
    return pq.read_table(files.local_copy(files.join(made.url, name))).to_pylist()


def _rows(made: Manifest) -> list[dict]:
    return [row for split in SPLITS for row in _table(made, f"sequences/split={split}")]


def test_the_manifest_says_which_inputs_there_are(made: Manifest) -> None:
    sizes = {"platform": FIRST_ITEM + 2, **{f"query_{n}": BUCKETS + 1 for n in (1, 2, 3)}}
    assert made.inputs == sizes
    assert set(made.event_types) == {"view", "search"}
    assert set(made.platforms) == {"web", "app"}


def test_a_search_is_input_with_its_words_and_never_a_target(made: Manifest) -> None:
    asked: dict[tuple[str, int], set[tuple[int, ...]]] = {}
    for user, _, did, time, words, *_ in LOG:
        if did == "search":
            ids = tuple(query_tokens(words, TOKENS, BUCKETS))
            asked.setdefault((user, time), set()).add(ids)
    kind = made.event_types.index("search") + FIRST_ITEM
    seen = set()
    for row in [*_rows(made), *_table(made, "histories")]:
        found = list(zip(*(row[f"query_{number}"] for number in (1, 2, 3)), strict=True))
        for place, event_type in enumerate(row["event_type"]):
            if event_type != kind:
                assert found[place] == (0, 0, 0)
                continue
            assert row["item"][place] == UNKNOWN
            assert row.get("target", [0] * len(found))[place] == 0
            seen.add((row["user_id"], row["timestamp"][place]))
            assert found[place] in asked[row["user_id"], row["timestamp"][place]]
    assert len(seen) > 50
    assert any(target for row in _rows(made) for target in row["target"])


def test_every_event_has_its_platform(made: Manifest) -> None:
    at: dict[tuple[str, int], set[str]] = {}
    for user, _, _, time, _, _, where, _ in LOG:
        at.setdefault((user, time), set()).add(where)
    for row in [*_rows(made), *_table(made, "histories")]:
        for index, time in zip(row["platform"], row["timestamp"], strict=True):
            if not time:
                assert index == PADDING
            else:
                assert made.platforms[index - FIRST_ITEM] in at[row["user_id"], time]


def test_what_was_shown_is_kept_apart(made: Manifest) -> None:
    shown = [row for row in LOG if row[2] == "impression" and row[5] != "1"]
    items = {row["item_id"]: row["item_index"] for row in _table(made, "vocabulary.parquet")}
    assert not any(name.startswith("shown") for name in items), "nobody chose them"
    columns = ("user_id", "item", "timestamp", "position")
    found = [tuple(row[name] for name in columns) for row in _table(made, "impressions")]
    expected = [
        (row[0], items.get(row[1], UNKNOWN), row[3], int(row[7]) if row[7] else None)
        for row in shown
    ]
    assert sorted(found, key=str) == sorted(expected, key=str)
    assert {row[3] for row in found} == {None, *range(7)}
    (step,) = [step for step in made.steps if step.name == "impressions"]
    assert step.rows_in - step.rows_out == len(shown)
    (step,) = [step for step in made.steps if step.name == "impressions kept"]
    assert (step.rows_in, step.rows_out) == (len(shown), len(found))
    viewed = {(row[0], row[3]) for row in LOG if row[2] != "impression"}
    for row in _rows(made):
        for item, time in zip(row["item"], row["timestamp"], strict=True):
            assert item == PADDING or (row["user_id"], time) in viewed


def test_targets_have_weights_by_their_values(made: Manifest) -> None:
    values: dict[tuple[str, int], set[str]] = {}
    for user, _, _, time, _, stars, *_ in LOG:
        values.setdefault((user, time), set()).add(stars)
    (step,) = [step for step in made.steps if step.name == "weights by value"]
    mean = float(step.decision.split()[2].rstrip(","))
    assert 2 < mean < 4  # of 2 and 5, of which the latter weigh as much as is allowed
    weight_of = {"": 1.0, "2": 2 / mean, "5": 1.25}
    seen: set[str] = set()
    for row in _rows(made):
        for place, weight in enumerate(row["value_weight"]):
            if not row["target"][place]:
                assert weight == 0
                continue
            fitting = {
                stars for stars in values[row["user_id"], row["timestamp"][place]] - {"1"}
                if weight == pytest.approx(weight_of[stars], rel=1e-4)
            }  # fmt: skip
            assert fitting
            seen |= fitting
    assert seen == set(weight_of)
    assert "value_weight" not in _table(made, "histories")[0]


def test_events_of_low_value_go(made: Manifest) -> None:
    (step,) = [step for step in made.steps if step.name == "events of low value"]
    assert step.rows_in - step.rows_out == sum(row[5] == "1" for row in LOG)


def test_items_have_their_features(made: Manifest) -> None:
    assert made.attributes == {"place": "categories"}
    assert made.features == {
        "size": 2, "title": 16, "image": 2,
        "popularity": 2, "conversion": len(made.event_types), "recency": 2, "price_rank": 2,
    }  # fmt: skip
    rows = {row["item_id"]: row for row in _table(made, "items.parquet")}
    assert all(len(row[f"{name}_vector"]) == length for row in rows.values()
               for name, length in made.features.items())  # fmt: skip
    assert rows["i3"]["place"] == ["home", "home > b"]
    assert rows["i3"]["image_vector"] == [3, 1]
    # The catalogue lacks the last item.
    assert rows["i11"]["size_vector"] == [0, 1]
    assert rows["i11"]["image_vector"] == [0, 0]
    # Each title has a word of its own; the one that all have tells nothing.
    titles = np.array([rows[f"i{n}"]["title_vector"] for n in range(11)])
    np.testing.assert_allclose(titles @ titles.T, np.eye(11), atol=1e-6)
    assert not any(rows["i11"]["title_vector"])
    sizes = np.array([rows[name]["size_vector"][0] for name in rows if name != "i11"])
    assert (sizes.mean(), sizes.std()) == pytest.approx((0, 1), abs=1e-5)
    by_count = sorted(rows.values(), key=lambda row: row["train_count"])
    popularity = [row["popularity_vector"][0] for row in by_count]
    assert popularity == sorted(popularity)
    assert popularity[0] < 0 < popularity[-1]
    checks = {check["name"]: check["holds"] for check in made.certificate["checks"]}
    for name in ("size", "popularity", "conversion", "recency", "price_rank", "mean value"):
        assert checks[f"{name} from train alone"]


def test_what_contradicts_itself_is_named(config: Config) -> None:
    wrong = replace(config, prepare=replace(config.prepare, target_event_types=("search",)))
    with pytest.raises(ConfigError, match=r"target_event_types: expected types .* found 'search'"):
        rules(wrong)
    plain = replace(config.events, columns=replace(config.events.columns, query=None))
    rules(replace(wrong, events=plain))  # without a query a search is an event like others
    columns = replace(config.events.columns, value=None)
    without = replace(config, events=replace(config.events, columns=columns))
    clean = replace(config.prepare.clean, min_value=None)
    for own in (config.prepare, replace(config.prepare, clean=clean)):
        with pytest.raises(ConfigError, match=r"events\.columns\.value: expected a column"):
            rules(replace(without, prepare=own))
