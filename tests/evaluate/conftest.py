"""A report of a few users with every reference, shared by what looks at it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from recsys import files
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
