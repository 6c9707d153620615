"""The four commands of the README, on a small shop's log, on the real stack."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from recsys import files, manifest, trained
from recsys.errors import DataError
from recsys.scale import Scale
from recsys.schemas import SCHEMA_VERSION
from recsys.train import checkpoints
from tests.processes import run, spark_submit
from tests.shop import Shop

pytestmark = pytest.mark.slow


def test_every_event_is_accounted_for(shop: Shop) -> None:
    dataset = manifest.read(str(shop.folder / "dataset"))
    events = len((shop.folder / "input" / "events.csv").read_text().splitlines()) - 1
    assert dataset.certificate["holds"]
    checks = {step.name: step for step in dataset.steps}["checks"]
    assert checks.rows_in == events == checks.rows_out
    assert set(dataset.event_types) == {"view", "cart", "purchase"}
    assert dataset.categories.keys() == {"category", "brand"}
    assert dataset.users == 80
    assert all(split.steps > 20 for split in dataset.splits.values())


def test_training_learnt_and_wrote_a_whole_model(shop: Shop) -> None:
    model = shop.current("model")
    lines = [json.loads(line) for line in (model / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert lines[-1]["loss"] < lines[0]["loss"]
    about = json.loads((model / "model.json").read_text())
    assert about["ranks"] == 2
    names = {path.name for path in model.iterdir()}
    assert {"best", "checkpoints", "export", "config.yaml", "curves.png", "metrics.jsonl"} <= names


def test_the_price_of_an_event_is_learnt_from(shop: Shop) -> None:
    dataset, model = manifest.read(str(shop.folder / "dataset")), shop.current("model")
    about = json.loads((model / "model.json").read_text())
    assert "price" in about["inputs"]
    scale = dataset.event_numbers["price"]
    assert Scale.read(about["event_numbers"]["price"]) == scale
    assert 5 <= scale.least < scale.most <= 20
    weights, told = checkpoints.read(str(model / "best"), "best")
    # It starts at 0, and the best epoch may be the first.
    assert np.abs(weights[told["variables"].index("price_projection")]).max() > 0


def test_a_dataset_that_normalizes_otherwise_is_refused(shop: Shop) -> None:
    dataset, model = manifest.read(str(shop.folder / "dataset")), str(shop.folder / "model")
    assert trained.read(model, dataset).inputs[-1] == "price"
    moved = replace(dataset.event_numbers["price"], most=1.0)
    with pytest.raises(DataError, match=r"expected price normalized as .* reads it \(log: mean"):
        trained.read(model, replace(dataset, event_numbers={"price": moved}))


def test_the_report_has_model_and_references(shop: Shop) -> None:
    report = shop.current("report")
    metrics = json.loads((report / "metrics.json").read_text())
    assert {"model", "popular", "own_items"} <= metrics["systems"].keys()
    page = (report / "report.html").read_text()
    assert "<html" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_a_missed_floor_exits_4(shop: Shop) -> None:
    ended = shop.ended["evaluate"]
    assert ended.returncode == 4
    lines = [line for line in ended.stdout.splitlines() if line.startswith("evaluate: ")]
    assert len(lines) == 1
    assert "evaluate.floors.recall@20: expected at least 1.5, found 0." in lines[0]


def test_every_user_gets_a_list(shop: Shop) -> None:
    folder = shop.current("recommendations")
    table = pq.read_table(folder / "home", partitioning=None).to_pandas()
    assert sorted(table["user_id"]) == sorted(f"visitor-{user}" for user in range(80))
    products = {f"product-{item}" for item in range(60)}
    for items, scores in zip(table["item_id"], table["score"], strict=True):
        assert len(items) == len(set(items)) == 20
        assert set(items) <= products
        assert np.all(np.diff(scores) <= 0)


def test_the_purchase_head_is_learnt_judged_and_scored(shop: Shop) -> None:
    model = json.loads((shop.current("model") / "model.json").read_text())
    assert 0 < model["purchase_threshold"] < 1
    assert {"purchase_auc", "purchase_f1"} <= model["best"].keys()
    epochs = (shop.current("model") / "metrics.jsonl").read_text().splitlines()
    found = [json.loads(epoch)["purchase_auc"] for epoch in epochs]
    assert model["best"]["epoch"] == 1 + found.index(max(found))  # early_stopping_metric
    dataset = manifest.read(str(shop.folder / "dataset"))
    metrics = json.loads((shop.current("report") / "metrics.json").read_text())
    assert metrics["purchase"]["labels"] == dataset.splits["test"].labels > 20
    assert metrics["purchase"]["threshold"] == model["purchase_threshold"]
    table = pq.read_table(shop.current("recommendations") / "pairs", partitioning=None)
    assert table.num_rows == 80 * 3
    assert set(table.column("source").to_pylist()) == {"model"}
    probability = np.array(table.column("probability").to_pylist())
    assert np.all((probability > 0) & (probability < 1))
    assert len(np.unique(probability)) > 80


def test_vectors_of_users_and_items_give_the_scores(shop: Shop) -> None:
    users = pq.read_table(shop.current("recommendations") / "user_vectors").to_pandas()
    items = pq.read_table(shop.current("model") / "item_vectors.parquet").to_pandas()
    assert sorted(users["user_id"]) == sorted(f"visitor-{user}" for user in range(80))
    found = np.stack(users["vector"]) @ np.stack(items["vector"]).T + items["bias"].to_numpy()
    # What the model adds for items of one's own history is in the lists' scores alone.
    histories = pq.read_table(shop.current("dataset") / "histories").to_pandas()
    seen = dict(zip(histories["user_id"], histories["item"], strict=True))
    column = {index: place for place, index in enumerate(items["item_index"])}
    index = dict(zip(items["item_id"], items["item_index"], strict=True))
    row = {user: place for place, user in enumerate(users["user_id"])}
    lists = pq.read_table(shop.current("recommendations") / "home", partitioning=None).to_pandas()
    compared = 0
    for user, ids, scores in zip(lists["user_id"], lists["item_id"], lists["score"], strict=True):
        for item, score in zip(ids, scores, strict=True):
            if index[item] not in seen[user]:
                assert found[row[user], column[index[item]]] == pytest.approx(score, abs=1e-4)
                compared += 1
    assert compared > 0


BAD = {
    "prepare": (["--events.columns.price", "cost"], "expected the column 'cost' (events.columns"),
    "evaluate": (["--paths.model", "nowhere"], "nowhere: expected a version published by"),
    "score": (["--paths.dataset", "nowhere"], "nowhere: expected a version published by"),
}


@pytest.mark.parametrize("job", BAD)
def test_bad_data_exits_3_with_one_line_and_the_output_stays(shop: Shop, job: str) -> None:
    arguments, message = BAD[job]
    place = {"prepare": "dataset", "evaluate": "report", "score": "recommendations"}[job]
    before = shop.current(place), shop.versions(place)
    ended = spark_submit(f"jobs/{job}.py", *shop.arguments, *arguments)
    assert ended.returncode == 3, ended.stderr[-2000:]
    # spark-submit prints what the driver's Python writes, errors too, on its own output.
    lines = [line for line in ended.stdout.splitlines() if line.startswith(f"{job}: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert (shop.current(place), shop.versions(place)) == before


def test_a_dataset_of_another_schema_version_exits_3(shop: Shop, tmp_path: Path) -> None:
    version = files.new_version(str(tmp_path))
    files.write_json(files.join(version, "manifest.json"), {"schema_version": 0})
    files.publish(version)
    arguments = [*shop.arguments, "--paths.dataset", str(tmp_path)]
    ended = run([sys.executable, "jobs/train.py", "--check", *arguments])
    assert ended.returncode == 3
    expected = f"expected schema_version {SCHEMA_VERSION}, found 0; run jobs/prepare.py again"
    assert expected in ended.stderr
