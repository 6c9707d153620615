"""What the benchmarks of training share: a prepared dataset, a configuration, batches in memory."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import protocol
from recsys import files
from recsys.command import parse, parser
from recsys.config import Config

# What differs from conf/yoochoose64.yaml where speed is measured.
SETTINGS = (
    "--train.embedding_size=100",
    "--train.negatives=2048",
    "--train.readout=last",
    "--train.refit=false",
    "--train.cpu_threads=2",
    "--train.lanes=1",
    "--train.batch_targets_per_rank=2048",
)
# Of the GEMM that the work is set against: float32, [2048, 100] times [100, 2048].
_ROWS, _WIDTH = 2048, 100


def arguments(purpose: str | None) -> argparse.Namespace:
    """The command line: --events, --work, and overrides of the configuration."""
    return protocol.arguments(purpose, protocol.SHARED / "yoochoose64" / "events.parquet")


@contextmanager
def prepared(options: argparse.Namespace, settings: tuple[str, ...] = ()) -> Iterator[Config]:
    """YooChoose 1/64 through the prepare job, and the configuration to train on it.

    A dataset that is in --work already is taken as it is.

    Args:
        options: of arguments()
        settings: overrides of conf/yoochoose64.yaml, behind which those of the command line stand
    """
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        given = [
            f"--config={ROOT / 'conf' / 'yoochoose64.yaml'}",
            f"--events.path=[{options.events}]",
            *(f"--paths.{name}={work / name}" for name in ("dataset", "model")),
            *settings,
            *options.more,
        ]
        if not files.exists(files.join(files.as_url(str(work / "dataset")), "versions")):
            spark = ["spark-submit", "--master", "local[2]", "--driver-memory", "3g"]
            protocol.job([*spark, "jobs/prepare.py", *given])
        yield parse(parser("train", ""), given)[0]


class Gemm:
    """A process of its own, whose TensorFlow has some threads for each operation."""

    def __init__(self, threads: int) -> None:
        spawned = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, spawned, initializer=_start, initargs=(threads,))

    def gflops(self) -> float:
        """Throughput of the matrix product, while nothing else runs, in GFLOP/s."""
        return self._pool.submit(_gemm_gflops).result()


def _start(threads: int) -> None:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    _gemm_gflops(1)


def _gemm_gflops(repetitions: int = 200) -> float:
    import tensorflow as tf

    left, right = tf.random.normal([_ROWS, _WIDTH]), tf.random.normal([_WIDTH, _ROWS])
    product = tf.function(lambda a, b: tf.matmul(a, b), autograph=False)
    product(left, right)
    started = time.monotonic()
    for _ in range(repetitions):
        product(left, right)
    return repetitions * 2 * _ROWS * _WIDTH * _ROWS / (time.monotonic() - started) / 1e9
