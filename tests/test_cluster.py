"""prepare, evaluate and score on a Spark standalone cluster, from the packaged environment."""

from __future__ import annotations

import json
import re
import sysconfig
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recsys import manifest
from tests.cluster import Cluster, environment_archive, running
from tests.processes import LOST_TASK, ROOT, spark_submit
from tests.shop import Shop

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("cluster")) as started:
        yield started


@pytest.fixture(scope="module")
def distant(shop: Shop, cluster: Cluster) -> Shop:
    """The same shop, everything but its model made on the cluster."""
    made = Shop(cluster.folder / "shop")
    made.arguments += ["--paths.model", str(shop.folder / "model")]
    made.arguments += ["--score.users_per_part", "1"]  # a part for every file of histories
    return made


@pytest.fixture(scope="module")
def said(cluster: Cluster, distant: Shop) -> dict[str, Any]:
    """What the executors who made it say of themselves; they ran as the README says."""
    archive = f"{environment_archive()}#environment"
    command = ["--archives", archive, "tests/jobs_and_ask.py", *distant.arguments]
    python = {"PYSPARK_PYTHON": "./environment/bin/python"}
    ended = spark_submit(*command, master=cluster.url, variables=python)
    assert ended.returncode == 0, f"{command}: {ended.stderr[-3000:]}"
    assert re.search(LOST_TASK, ended.stderr)  # one is killed in the middle of a part
    return dict(json.loads(ended.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def workers(said: dict[str, Any]) -> list[dict[str, Any]]:
    """The executors' Python workers."""
    return list(said["workers"])


@pytest.mark.usefixtures("workers")
def test_the_dataset_is_the_same(shop: Shop, distant: Shop) -> None:
    here, there = (manifest.read(str(place.folder / "dataset")) for place in (shop, distant))
    assert here.content_fingerprint == there.content_fingerprint
    assert here.vocabulary_fingerprint == there.vocabulary_fingerprint


@pytest.mark.usefixtures("workers")
def test_the_metrics_are_the_same(shop: Shop, distant: Shop) -> None:
    here, there = (
        json.loads((place.current("report") / "metrics.json").read_text())["systems"]
        for place in (shop, distant)
    )
    assert here.keys() == there.keys()
    for system, metrics in here.items():  # sums of floats, in another order
        assert metrics == pytest.approx(there[system], rel=1e-9)


@pytest.mark.usefixtures("workers")
def test_the_recommendations_are_the_same(shop: Shop, distant: Shop) -> None:
    here, there = _recommendations(shop), _recommendations(distant)
    scores = [np.stack(table.pop("score")) for table in (here, there)]
    pd.testing.assert_frame_equal(here, there)
    np.testing.assert_allclose(*scores, rtol=1e-5)


def test_the_executor_was_killed_in_the_middle_of_the_lists(
    distant: Shop, said: dict[str, Any]
) -> None:
    about = json.loads((distant.current("recommendations") / "manifest.json").read_text())
    parts = {f"{part['kind']}-{part['number']:05d}" for part in about["parts"]}
    home = {name for name in parts if name.startswith("home")}
    before = set(said["parts_before_the_kill"])
    assert before
    assert before < home


@pytest.mark.usefixtures("workers")
def test_the_pairs_are_the_same_although_an_executor_was_killed(shop: Shop, distant: Shop) -> None:
    here, there = _recommendations(shop, "pairs"), _recommendations(distant, "pairs")
    probabilities = [table.pop("probability") for table in (here, there)]
    pd.testing.assert_frame_equal(here, there)
    np.testing.assert_allclose(*probabilities, rtol=1e-5)


def _recommendations(place: Shop, kind: str = "home") -> pd.DataFrame:
    table = pd.read_parquet(place.current("recommendations") / kind)
    del table["part"]  # the cluster has more of them
    by = ["user_id", "item_id"] if kind == "pairs" else "user_id"
    return table.sort_values(by, ignore_index=True)


def test_the_executors_ran_from_the_archive_alone(
    cluster: Cluster, workers: list[dict[str, Any]]
) -> None:
    ours = {str(ROOT), sysconfig.get_path("purelib")}
    assert len({worker["prefix"] for worker in workers}) == 2
    for worker in workers:
        assert worker["prefix"].startswith(str(cluster.folder / "work"))
        assert all(file.startswith(worker["prefix"]) for file in worker["files"])
        assert not ours & set(worker["path"])
