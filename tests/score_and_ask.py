"""jobs/score.py, which then asks the executors where their Python and its packages are."""

from __future__ import annotations

import json
import sys
from importlib import import_module

from jsonargparse import Namespace

from recsys import command
from recsys.config import Config
from recsys.score import pipeline
from recsys.tables import spark_session


def where(_: int) -> dict[str, object]:
    """Of the worker that runs this."""
    packages = ("numpy", "recsys", "tensorflow")
    return {
        "prefix": sys.prefix,
        "files": [str(import_module(name).__file__) for name in packages],
        "path": sys.path,
    }


def main(config: Config, options: Namespace) -> None:
    with spark_session(config, "score") as spark:
        pipeline.run(spark, config)
        tasks = 4 * spark.sparkContext.defaultParallelism
        print(json.dumps(spark.sparkContext.parallelize(range(tasks), tasks).map(where).collect()))


if __name__ == "__main__":
    command.run("score", "Recommendations, and where they were made.", main)
