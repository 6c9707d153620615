from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from recsys import files, ranking
from recsys.config import Paths, Ranking
from recsys.errors import DataError
from recsys.evaluate import pipeline
from recsys.manifest import Manifest
from recsys.schemas import CASES, FIRST_ITEM, SEQUENCE_ARRAYS, UNKNOWN
from tests.evaluate import dataset
from tests.evaluate.dataset import ITEMS, USERS
from tests.evaluate.test_metrics import by_hand

AT = (2, 5)
REFERENCES = ("popular", "own_items", "own_items_recent")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluate")


@pytest.fixture(scope="module")
def manifest(place: Path) -> Manifest:
    return dataset.write_dataset(place)


@pytest.fixture(scope="module")
def model(place: Path, manifest: Manifest) -> str:
    return dataset.write_model(place, manifest)


@pytest.fixture(scope="module")
def report(spark: SparkSession, place: Path, manifest: Manifest, model: str) -> Path:
    return Path(files.local_copy(pipeline.run(spark, dataset.config(place))))


Case = tuple[str, str, int]  # system, user, step


def by_plain_loops() -> tuple[dict[Case, list[int]], dict[tuple[Case, int], int]]:
    """The whole catalogue in the order of each reference, and each target's rank."""
    histories = dataset.histories()
    bought = np.zeros(FIRST_ITEM + ITEMS, np.int64)
    for steps in histories.values():
        for items in steps[1:3]:  # the targets of train
            np.add.at(bought, items, 1)
    catalogue = range(FIRST_ITEM, FIRST_ITEM + ITEMS)
    lists: dict[Case, list[int]] = {}
    ranks: dict[tuple[Case, int], int] = {}
    for user, steps in histories.items():
        for step in (4, 5):
            keys: dict[str, dict[int, tuple[float, ...]]] = {name: {} for name in REFERENCES}
            for item in catalogue:
                days = [day for day in range(step) for own in steps[day] if own == item]
                faded = sum(2.0 ** (-(step - 1 - day) / 60) for day in days)
                popularity = int(bought[item])
                keys["popular"][item] = (popularity,)
                keys["own_items"][item] = (len(days), max(days, default=-1), popularity)
                keys["own_items_recent"][item] = (faded, popularity)
            for name, key in keys.items():
                case = name, user, step
                lists[case] = sorted(catalogue, key=key.__getitem__, reverse=True)
                for item in set(steps[step]) - {UNKNOWN}:
                    ranks[case, item] = sum(key[other] >= key[item] for other in catalogue)
    return lists, ranks


def test_references_equal_plain_loops(report: Path) -> None:
    lists, ranks = by_plain_loops()
    cases = pq.read_table(report / "cases").to_pylist()
    assert set(cases[0]) == set(CASES)
    assert len(cases) == (1 + len(REFERENCES)) * 2 * USERS
    histories = dataset.histories()
    for case in cases:
        steps = histories[case["user_id"]]
        assert sorted(case["targets"]) == sorted(steps[case["step"]])
        assert case["timestamp"] == 86400 * case["step"]
        assert case["history_events"] == sum(map(len, steps[: case["step"]]))
        if case["system"] == "model":
            continue
        key = case["system"], case["user_id"], case["step"]
        assert case["recommended"] == lists[key][: max(AT)], key
        for item, rank in zip(case["targets"], case["ranks"], strict=True):
            expected = ranks.get((key, item), 0)
            assert rank == (expected if expected <= max(AT) else 0), (key, item)


def test_the_model_is_ranked_by_its_own_scores(
    report: Path, model: str, manifest: Manifest
) -> None:
    table = pq.read_table(Path(files.local_copy(manifest.url)) / "sequences" / "split=test")
    rows = table.slice(0, USERS)
    arrays = {
        name: np.array(rows.column(name).to_pylist(), np.int32)
        for name in SEQUENCE_ARRAYS
        if name != "timestamp"
    }
    row, step, scores = ranking.load(files.join(model, "export")).cases(arrays)
    best = np.argsort(-np.asarray(scores)[:, FIRST_ITEM:], axis=1, kind="stable") + FIRST_ITEM
    users = rows.column("user_id").to_pylist()
    expected = {
        (users[int(row[case])], int(step[case]) + 3): best[case, : max(AT)].tolist()
        for case in range(len(best))
    }
    cases = pq.read_table(report / "cases").to_pylist()
    own = [case for case in cases if case["system"] == "model"]
    found = {(case["user_id"], case["step"]): case["recommended"] for case in own}
    assert found == expected


def test_figures_are_means_over_the_cases(report: Path) -> None:
    figures = files.read_json(files.as_url(str(report / "metrics.json")))
    cases = pq.read_table(report / "cases").to_pylist()
    assert figures["cases"] == 2 * USERS
    assert figures["users"] == USERS
    assert figures["unknown_targets"] == USERS
    for system in ("model", *REFERENCES):
        own = [case for case in cases if case["system"] == system]
        for metric in ("recall", "precision", "f1", "mrr", "ndcg", "hit_rate"):
            for k in AT:
                values = [by_hand(metric, case["ranks"], [], [], k) for case in own]
                found = figures["systems"][system][f"{metric}@{k}"]
                assert found == pytest.approx(np.mean(values)), (system, metric, k)
        covered = {item for case in own for item in case["recommended"][:2]}
        assert figures["systems"][system]["coverage@2"] == pytest.approx(len(covered) / ITEMS)


def test_the_page_holds_all_that_it_shows(report: Path) -> None:
    page = (report / "report.html").read_text()
    assert "Twelve users" in page
    assert page.count("data:image/svg+xml;base64,") == 6
    assert "10 rows &lt;had&gt; a fault" in page, "text of the data is escaped"
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:|#)""", page)
    assert "@import" not in page
    assert "url(" not in page
    assert (report / "config.yaml").read_text().startswith("name: Twelve users")


def test_history_is_left_out_for_all_alike(
    spark: SparkSession, tmp_path: Path, place: Path, manifest: Manifest, model: str
) -> None:
    config = dataset.config(place, references=("own_items",))
    elsewhere = Paths(**{**vars(config.paths), "report": str(tmp_path / "report")})
    config = dataclasses.replace(config, paths=elsewhere, ranking=Ranking(exclude_history=True))
    report = Path(files.local_copy(pipeline.run(spark, config)))
    histories = dataset.histories()
    cases = pq.read_table(report / "cases").to_pylist()
    assert len(cases) == 4 * USERS
    for case in cases:
        row = {item for step in histories[case["user_id"]][3 : case["step"]] for item in step}
        assert not row & set(case["recommended"]), "the row begins with step 3"
        for item, rank in zip(case["targets"], case["ranks"], strict=True):
            assert not (item in row and rank), case


def test_a_model_of_another_vocabulary_is_refused(
    spark: SparkSession, tmp_path: Path, place: Path, manifest: Manifest
) -> None:
    dataset.write_model(tmp_path, manifest, fingerprint="another")
    config = dataset.config(place)
    paths = Paths(**{**vars(config.paths), "model": str(tmp_path / "model")})
    before = (place / "report").exists() and (place / "report" / "current.json").read_text()
    with pytest.raises(DataError, match=r"model\.json: expected .*0123456789abcdef.* another"):
        pipeline.run(spark, dataclasses.replace(config, paths=paths))
    after = (place / "report").exists() and (place / "report" / "current.json").read_text()
    assert after == before


def test_cases_that_the_manifest_does_not_count_are_an_error(
    spark: SparkSession, report: Path, manifest: Manifest
) -> None:
    cases = spark.read.parquet(str(report / "cases"))
    fewer = cases.where("not (system = 'model' and user_id = 'user-3')")
    with pytest.raises(
        DataError, match=f"expected {2 * USERS} cases .*model, found {2 * USERS - 2}"
    ):
        pipeline.check_cases(fewer, manifest)
    empty = dataclasses.replace(manifest.splits["test"], steps=0)
    nothing = dataclasses.replace(manifest, splits={**manifest.splits, "test": empty})
    with pytest.raises(DataError, match="expected target steps in split test, found none"):
        pipeline.check_cases(cases, nothing)
