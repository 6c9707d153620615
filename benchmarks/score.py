"""Users a second of jobs/score.py, against a bare loop and against what one would write first.

python benchmarks/score.py [--users 200000 --items 50000]

Random histories of up to 50 events, a model of 100 dimensions with drawn weights, lists of 100
items without those of the history, on local[2]. All runs are of this machine, one after the other.
The last line is JSON:
    users_per_second    of the job, from its first look at the dataset to the pointer: workers that
                        start and load the model are in it, Spark's own start is not (with it:
                        command_seconds)
    share_of_bare_loop  that, over the users a second of TensorFlow alone: encode, multiply and
                        top-k in blocks of 512 users on two threads, arrays in memory, histories in
                        the order of their length and no longer than they are, as the job has them,
                        nothing filtered or written
    times_naive         that, over the users a second of a pandas UDF that scores every item with
                        the model and sorts with NumPy, in workers that have loaded the model
    cost_ratio_10x      seconds for all users over seconds for a tenth of them, start-up (a run for
                        256 users) subtracted
    peak_executor_mib   JVM and Python workers together, a worker a core, with a million items
                        (--many_items)
    peak_executor_mib_one_worker  the same with spark.task.cpus=2, a worker for both cores
"""

from __future__ import annotations

import argparse
import datetime
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import synthetic
from benchmarks.usage import measured
from recsys import files

TOP_K = 100
BARE_BLOCK = 512
INPUTS = ("item", "event_type", "gap_seconds", "session_start", "step")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--dimensions", type=int, default=100)
    parser.add_argument("--bare_users", type=int, default=20_480)
    parser.add_argument("--naive_users", type=int, default=4_096)
    parser.add_argument("--many_items", type=int, default=1_000_000)
    parser.add_argument("--many_items_users", type=int, default=4_096)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(figures(Path(folder), options)))


def figures(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    items, dimensions = options.items, options.dimensions
    model = folder / "model"
    places = {
        users: folder / f"dataset-{users}" for users in (256, options.users // 10, options.users)
    }
    for users, place in places.items():
        synthetic.write_dataset(place, users, items)
    synthetic.write_model(model, places[256], dimensions)
    runs = {users: job(place, model, folder) for users, place in places.items()}
    start_up, tenth, all_users = (runs[users]["seconds"] for users in places)
    rate = options.users / all_users
    bare = alone(bare_loop, places[options.users], model, options.bare_users)
    naive = alone(naive_udf, places[options.users], model, options.naive_users)
    many = folder / "many"
    synthetic.write_dataset(many / "dataset", options.many_items_users, options.many_items)
    synthetic.write_model(many / "model", many / "dataset", dimensions)
    peak, peak_of_one = (
        job(many / "dataset", many / "model", many, *settings)["peak_mib"]
        for settings in ((), ("--conf", "spark.task.cpus=2"))
    )
    return {
        "users_per_second": round(rate, 1),
        "share_of_bare_loop": round(rate / bare, 3),
        "times_naive": round(rate / naive, 2),
        "cost_ratio_10x": round((all_users - start_up) / (tenth - start_up), 2),
        "peak_executor_mib": round(peak),
        "peak_executor_mib_one_worker": round(peak_of_one),
        "bare_users_per_second": round(bare, 1),
        "naive_users_per_second": round(naive, 1),
        "start_up_seconds": round(start_up, 1),
        "seconds": round(all_users, 1),
        "command_seconds": round(runs[options.users]["command_seconds"], 1),
        f"peak_executor_mib_{items}_items": round(runs[options.users]["peak_mib"]),
    }


def job(dataset: Path, model: Path, folder: Path, *spark: str) -> dict[str, float]:
    """Seconds of a run of the job, and the most memory that its JVM and workers had."""
    place = folder / f"recommendations-{dataset.name}"
    settings = [
        f"--paths.dataset={dataset}", f"--paths.model={model}", f"--paths.recommendations={place}",
        f"--score.top_k={TOP_K}", "--ranking.exclude_history=true",
    ]  # fmt: skip
    command = ["spark-submit", "--master", "local[2]", "--driver-memory", "1g", *spark]
    # What an earlier run left on the machine's disk is not there.
    with tempfile.TemporaryDirectory(dir=folder) as own:
        usage = measured(
            [*command, "jobs/score.py", *settings], {"TMPDIR": own}, is_counted=_is_of_executor
        )
    about = files.read_json(files.join(files.current(str(place), ""), files.MANIFEST))
    begun, ended = (
        datetime.datetime.fromisoformat(about[name]) for name in ("started_at", "finished_at")
    )
    seconds = (ended - begun).total_seconds()
    print(f"{dataset.name}: {seconds:.1f} s, {usage.peak_mib:.0f} MiB", flush=True)
    return {"seconds": seconds, "command_seconds": usage.seconds, "peak_mib": usage.peak_mib}


def _is_of_executor(process: psutil.Process) -> bool:
    """Whether it is the JVM, a Python worker, or what one of these has started."""
    try:
        words = process.cmdline()
    except psutil.Error:  # it just ended
        return False
    is_python = "pyspark.daemon" in words or any("multiprocessing" in word for word in words)
    return bool(words) and (Path(words[0]).name == "java" or is_python)


def alone(measure: Callable[[str, str, int], float], *arguments: Any) -> float:
    """A figure that is measured in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, tuple(map(str, arguments[:2])) + arguments[2:])


def bare_loop(dataset: str, model: str, users: int) -> float:
    """Users a second of encoding, multiplying and top-k, and nothing else."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(2)
    tf.config.threading.set_inter_op_parallelism_threads(2)
    from recsys import saved_model

    ranker = saved_model.load(files.join(files.current(model, ""), "export"))
    rows = synthetic.histories(users, synthetic.items_of(dataset))
    length = (rows["step"] >= 0).sum(axis=1)
    by_length = np.argsort(length, kind="stable")
    rows, length = {name: values[by_length] for name, values in rows.items()}, length[by_length]
    vectors = ranker.items()

    @tf.function
    def best(users_BD: tf.Tensor) -> tf.Tensor:
        return tf.math.top_k(tf.matmul(users_BD, vectors, transpose_b=True), TOP_K)

    def block(start: int) -> None:
        here = slice(start, start + BARE_BLOCK)
        part = {name: rows[name][here, : length[here].max()] for name in INPUTS}
        best(ranker.encode(part)["vectors"]).indices.numpy()

    block(0)  # builds the graphs
    begun = time.monotonic()
    for start in range(0, users, BARE_BLOCK):
        block(start)
    return users / (time.monotonic() - begun)


def naive_udf(dataset: str, model: str, users: int) -> float:
    """Users a second of a pandas UDF over collected histories, from reading to written files."""
    import os

    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql import functions as F

    os.environ["PYSPARK_PYTHON"] = sys.executable
    export = files.join(files.current(model, ""), "export")
    path = files.join(files.current(dataset, ""), "histories")
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", "256")
        .config("spark.driver.memory", "3g")
        .getOrCreate()
    )

    @F.pandas_udf("array<int>")  # type: ignore[attr-defined]
    def recommend(
        item: pd.Series, event_type: pd.Series, gap_seconds: pd.Series, session_start: pd.Series,
        step: pd.Series,
    ) -> pd.Series:  # fmt: skip
        from recsys import saved_model
        from recsys.arrays import matrix

        columns = zip(INPUTS, (item, event_type, gap_seconds, session_start, step), strict=True)
        rows = {
            name: matrix(pa.array(column, pa.list_(pa.int32())), name) for name, column in columns
        }
        scores = np.array(saved_model.load(export).scores(rows))
        for own, seen in zip(scores, rows["item"], strict=True):
            own[seen] = -np.inf
        return pd.Series(list(np.argsort(-scores, axis=1)[:, :TOP_K].astype(np.int32)))

    table = spark.read.parquet(path).limit(users).repartition(2)
    place = tempfile.mkdtemp()

    def write(name: str, some: DataFrame) -> None:
        some.select("user_id", recommend(*INPUTS).alias("item")).write.parquet(f"{place}/{name}")

    write("first", table.limit(1024).repartition(2))  # the workers load the model
    begun = time.monotonic()
    write("lists", table)
    seconds = time.monotonic() - begun
    spark.stop()
    return users / seconds


if __name__ == "__main__":
    main()
