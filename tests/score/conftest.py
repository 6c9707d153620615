import shutil
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.score.listing import lists, small
from tests.score.worlds import World, write_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return write_world(tmp_path_factory.mktemp("score"))


@pytest.fixture(scope="session")
def plain(spark: SparkSession, world: World) -> dict[str, dict]:
    """Everybody's list without any rule."""
    return lists(spark, world, score=small())


@pytest.fixture
def own(world: World, tmp_path: Path) -> World:
    """The world at a place of its own, to be damaged."""
    shutil.copytree(world.folder / "dataset", tmp_path / "dataset")
    shutil.copytree(world.folder / "model", tmp_path / "model")
    return World(tmp_path, world.histories, world.users, world.items)
