"""What a Spark worker process keeps from task to task."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from unittest.mock import patch

import psutil
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from recsys import files, manifest, saved_model, tables, trained
from recsys.errors import DataError
from recsys.schemas import HISTORIES
from recsys.score import mapped, planning, worker
from tests.processes import environment
from tests.score.listing import small
from tests.score.worlds import World

TASKS = 8


def test_one_load_a_process_with_the_threads_of_a_task(spark: SparkSession, own: World) -> None:
    config = own.config(score=small(top_k=7))  # lists that no other test has these workers make
    dataset = manifest.read(config.paths.dataset)
    plan = planning.plan(spark, config, dataset, trained.read(config.paths.model, dataset))
    schema = {**HISTORIES, "platform": "array<int>"}
    histories = tables.read(spark, files.join(dataset.url, "histories"), schema)
    sent = worker._sent(spark.sparkContext, plan)

    def ask(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        before = saved_model.load.cache_info().misses  # of another test in this process
        with patch.object(worker, "Encoder", wraps=worker.Encoder) as encoder:
            lists = sum(batch.num_rows for batch in worker._work(sent)(batches))
            kept = vars(worker._worker(sent.value))  # made here, where a task had no histories
        loads, whole = encoder.call_count, saved_model.load.cache_info().misses - before
        kept["tasks"] = kept.get("tasks", 0) + 1
        threads = int(os.environ["TF_NUM_INTRAOP_THREADS"])
        names = ["process", "loads", "whole", "task", "threads", "lists"]
        values = [[os.getpid()], [loads], [whole], [kept["tasks"]], [threads], [lists]]
        yield pa.RecordBatch.from_arrays([pa.array(value) for value in values], names)

    kinds = "process bigint, loads bigint, whole bigint, task bigint, threads bigint, lists bigint"
    asked = histories.select("user_id", *plan.inputs).repartition(TASKS).mapInArrow(ask, kinds)
    said = asked.collect()
    processes = {row.process for row in said}
    assert len(said) == TASKS > len(processes)
    for process in processes:
        own_tasks = [row for row in said if row.process == process]
        assert sum(row.loads for row in own_tasks) == 1
        # One maker of lists counts all tasks of its process.
        assert sorted(row.task for row in own_tasks) == list(range(1, len(own_tasks) + 1))
    assert {row.whole for row in said} == {0}  # what grows with the catalogue is mapped
    assert {row.threads for row in said} == {1}  # two tasks of one core
    assert sum(row.lists for row in said) == dataset.users


def test_who_is_killed_while_it_loads_the_model_is_an_error(tmp_path: Path) -> None:
    class Killer:
        """A model that ends whoever gets it."""

        def __reduce__(self) -> tuple[object, ...]:
            return os._exit, (1,)

        def __str__(self) -> str:
            return "file:/model/export"

    with pytest.raises(DataError, match=r"file:/model/export: expected to load it, found the proc"):
        mapped._make(Killer(), {}, tmp_path / "made")


_MAKER = """
import os, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from recsys.score import mapped

if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, get_context("spawn"), initializer=mapped._end_with_parent)
    print(pool.submit(os.getpid).result(), flush=True)
    pool.submit(time.sleep, 600).result()
"""


def test_who_loads_the_model_ends_with_a_worker_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "maker.py").write_text(_MAKER)
    worker_alone = subprocess.Popen(
        [sys.executable, str(tmp_path / "maker.py")], env=environment(), stdout=subprocess.PIPE
    )
    assert worker_alone.stdout is not None
    child = int(worker_alone.stdout.readline())
    assert psutil.pid_exists(child)
    worker_alone.kill()
    worker_alone.wait()
    deadline = time.time() + 60
    while psutil.pid_exists(child):
        assert time.time() < deadline
        time.sleep(0.05)
