"""The three Spark jobs in one application, which asks its executors where their Python is.

Each executor unpacks a gigabyte of environment for every application: one is enough to show that
it works. In the middle of the last job one of the executors is killed, in a task.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
from jsonargparse import Namespace

from recsys import command
from recsys.config import Config
from recsys.evaluate import pipeline as evaluate
from recsys.prepare import pipeline as prepare
from recsys.score import pipeline as score
from recsys.tables import spark_session
from tests.processes import killed_at_work


def where(_: int) -> dict[str, Any]:
    """Of the worker that runs this."""
    packages = ("numpy", "recsys", "tensorflow")
    of_daemon = Path(f"/proc/{os.getppid()}/stat").read_text()
    return {
        "prefix": sys.prefix,
        "files": [str(import_module(name).__file__) for name in packages],
        "path": sys.path,
        "executor": int(of_daemon.rpartition(") ")[2].split()[1]),  # the daemon's parent
    }


@contextmanager
def killed_in_the_middle(pids: set[int], recommendations: str) -> Iterator[list[str]]:
    """Kills one of the executors in a task, once a part of the lists is done; those done by then.

    They are none where no executor was killed.
    """
    ended = threading.Event()
    done: list[str] = []

    def parts() -> list[str]:
        return [path.stem for path in Path(recommendations).glob("versions/*/parts/*.json")]

    def kill() -> None:
        executors = [psutil.Process(pid) for pid in pids]
        while not ended.wait(0.02):
            if parts() and killed_at_work(executors):
                done.extend(sorted(parts()))
                return

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield done
    finally:
        ended.set()
        thread.join()


def main(config: Config, options: Namespace) -> None:
    with spark_session(config, "prepare, evaluate and score") as spark:
        for job in (prepare, evaluate):
            job.run(spark, config)
        tasks = 4 * spark.sparkContext.defaultParallelism
        asked = spark.sparkContext.parallelize(range(tasks), tasks).map(where).collect()
        executors = {each["executor"] for each in asked}
        with killed_in_the_middle(executors, config.paths.recommendations) as done:
            score.run(spark, config)
        print(json.dumps({"workers": asked, "parts_before_the_kill": done}))


if __name__ == "__main__":
    command.run("jobs_and_ask", "What the Spark jobs make, and where they ran.", main)
