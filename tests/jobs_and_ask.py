"""The three Spark jobs in one application, which then asks its executors where their Python is.

Each executor unpacks a gigabyte of environment for every application: one is enough to show that
it works.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module

from jsonargparse import Namespace

from recsys import command
from recsys.config import Config
from recsys.evaluate import pipeline as evaluate
from recsys.prepare import pipeline as prepare
from recsys.score import pipeline as score
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
    with spark_session(config, "prepare, evaluate and score") as spark:
        for job in (prepare, evaluate, score):
            job.run(spark, config)
        tasks = 4 * spark.sparkContext.defaultParallelism
        print(json.dumps(spark.sparkContext.parallelize(range(tasks), tasks).map(where).collect()))


if __name__ == "__main__":
    command.run("jobs_and_ask", "What the Spark jobs make, and where they ran.", main)
