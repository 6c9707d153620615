"""What all tests share."""

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from recsys.config import Config
from recsys.tables import spark_session
from tests.processes import JVM_OPTIONS, LOCAL
from tests.shop import Shop


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives a file, and what shares the shop or the report, to one process; slow groups first."""
    slow = {_group(item) for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (_group(item) != "shop", _group(item) not in slow))
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))


def _group(item: pytest.Item) -> str:
    shared = (name for name in ("shop", "report") if name in getattr(item, "fixturenames", ()))
    return next(shared, item.nodeid.partition("::")[0])


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """A session as the jobs have it, small."""
    from pyspark import SparkContext

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_SUBMIT_OPTS", JVM_OPTIONS)
        SparkContext._ensure_initialized()
    settings = {
        "spark.master": LOCAL,
        "spark.sql.shuffle.partitions": "2",
        "spark.ui.enabled": "false",
        # Of the code that it compiles for a query it keeps 100 pieces, fewer than one job has:
        # every test would compile again what the one before compiled.
        "spark.sql.codegen.cache.maxEntries": "10000",
    }
    for key, value in settings.items():
        SparkContext._jvm.java.lang.System.setProperty(key, value)  # type: ignore[union-attr]
    with spark_session(Config(), "tests") as session:
        yield session


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A small shop in which all four jobs have run."""
    made = Shop(tmp_path_factory.mktemp("shop"))
    made.run_all_jobs()
    return made
