"""A report of a few users with every reference, shared by what looks at it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from recsys import files
from recsys.config import Paths, Ranking
from recsys.errors import FloorError
from recsys.evaluate import comparison as comparing
from recsys.evaluate import pipeline
from recsys.manifest import Manifest
from tests.evaluate import dataset


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluate")


@pytest.fixture(scope="session")
def manifest(place: Path) -> Manifest:
    return dataset.write_dataset(place)


@pytest.fixture(scope="session")
def model(place: Path, manifest: Manifest) -> str:
    return dataset.write_model(place, manifest)


@pytest.fixture(scope="session")
def report(spark: SparkSession, place: Path, manifest: Manifest, model: str) -> Path:
    config = dataclasses.replace(dataset.config(place), evaluate=dataset.SETTINGS)
    return Path(files.local_copy(pipeline.run(spark, config)))


@pytest.fixture(scope="session")
def other_report(spark: SparkSession, place: Path, manifest: Manifest, model: str) -> Path:
    """The same model on the same cases, its lists without the items of the history.

    No model reaches two of its floors: the job fails, after it has published the report.
    """
    floors = {"recall@5": 1.5, "purchase auc": 1.5, "purchase accuracy": 0.0}
    config = dataset.config(place, references=("own_items",), floors=floors)
    elsewhere = Paths(**{**vars(config.paths), "report": str(place / "other")})
    config = dataclasses.replace(config, paths=elsewhere, ranking=Ranking(exclude_history=True))
    with pytest.raises(FloorError, match=r"expected at least 1\.5, found 0\."):
        pipeline.run(spark, config)
    return Path(files.local_copy(files.current(config.paths.report, "jobs/evaluate.py")))


@pytest.fixture(scope="session")
def comparison(place: Path, report: Path, other_report: Path) -> Path:
    """The page that puts the two side by side."""
    page = comparing.run(
        dataset.config(place), report.name, str(place / "other"), str(place / "two.html")
    )
    return Path(files.local_copy(page))
