"""What a second rank brings: two ranks against one, and against two that need not agree.

python benchmarks/ranks.py [--events FILE]

Steps of the training job on YooChoose 1/64, configured as training.SETTINGS says, on two ranks,
each pinned to a core of its own with one thread. Batches lie in memory: the first of an epoch, as
the job hands them to each of two ranks, train.batch_targets_per_rank targets each. Three ways take
turns, five rounds long, each from when both are ready to when both are through:
    one     rank 0 trains on the batches of both ranks as one, rank 1 sleeps
    apart   each rank trains on its own batches, and on nothing else
    ranks   each rank trains on its own, and they agree on the gradient
The last line is JSON:
    speedup         steps a second of ranks over one, median of the rounds
    ideal_speedup   of apart over one, likewise
    share_of_ideal  speedup over ideal_speedup, likewise
    exchange_share  of the time of a step of ranks, what it takes longer than one of apart, likewise
    step_milliseconds  of a step of ranks, likewise
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import training
from recsys.config import Config

if TYPE_CHECKING:
    from recsys.train.batch import Batch
    from recsys.train.shards import Shard
    from recsys.train.trainer import Trainer

_ROUNDS = 5
_STEPS = 40
_WORKER = "--worker"


def _start(config: Config, arguments: list[str]) -> None:
    """Runs this file again, on two ranks."""
    launcher = [sys.executable, ".make/horovodrun_local.py", "-np", "2", sys.executable, __file__]
    work = [] if "--work" in arguments else [f"--work={Path(config.paths.dataset).parent}"]
    command = [".make/run.sh", *launcher, _WORKER, *arguments, *work]
    print("$", " ".join(command), file=sys.stderr, flush=True)
    ended = subprocess.run(
        command, cwd=training.ROOT, check=False, stdout=subprocess.PIPE, text=True
    )
    if ended.returncode:
        sys.exit(f"horovodrun: exit code {ended.returncode}")
    print(ended.stdout.splitlines()[-1].partition(":")[2])


class _Rank:
    """One of the two, with a trainer for each way and all their batches."""

    def __init__(self, config: Config) -> None:
        import horovod.tensorflow as hvd
        import tensorflow as tf

        from recsys import manifest
        from recsys.train import pipeline, ranks
        from recsys.train.batch import joined
        from recsys.train.shards import Shard

        shard = ranks.start(replace(config.train, cpu_threads=1))
        dataset = manifest.read(config.paths.dataset)
        together = pipeline.build(config, dataset, shard, ("train",), 1)
        alone = pipeline.build(config, dataset, Shard(0, 1), ("train",), 1)
        halves = [_batches(together, Shard(rank, 2)) for rank in range(2)]
        whole = [joined(both) for both in zip(*halves, strict=True)]
        half = halves[shard.rank]
        self.rank, self.rate = shard.rank, tf.constant(1e-4)
        self.barrier = partial(hvd.allreduce, tf.zeros(1), name="barrier")
        self.ways = {"one": (alone, whole), "apart": (alone, half), "ranks": (together, half)}

    def seconds(self, way: str) -> float:
        trainer, rows = self.ways[way]
        self.barrier()
        started = time.monotonic()
        if way != "one" or self.rank == 0:
            for batch in rows:
                float(trainer.train_step(batch, self.rate)[0])
        self.barrier()
        return time.monotonic() - started


def _batches(trainer: Trainer, shard: Shard) -> list[Batch]:
    """The first of an epoch, as the job hands them to that rank."""
    from recsys.train import batches

    targets = trainer.config.train.batch_targets_per_rank
    with batches.open_epoch(
        trainer.manifest, ("train",), shard, targets, 0, trainer.columns
    ) as epoch:
        return list(epoch.take(_STEPS))


def _work(config: Config) -> None:
    rank = _Rank(config)
    for way in rank.ways:  # graphs are made
        rank.seconds(way)
    rounds = [{way: rank.seconds(way) for way in rank.ways} for _ in range(_ROUNDS)]
    if rank.rank == 0:
        print(json.dumps(_figures(rounds)))


def _figures(rounds: list[dict[str, float]]) -> dict[str, float]:
    def median(values: list[float]) -> float:
        return round(statistics.median(values), 3)

    return {
        "speedup": median([r["one"] / r["ranks"] for r in rounds]),
        "ideal_speedup": median([r["one"] / r["apart"] for r in rounds]),
        "share_of_ideal": median([r["apart"] / r["ranks"] for r in rounds]),
        "exchange_share": median([1 - r["apart"] / r["ranks"] for r in rounds]),
        "step_milliseconds": median([1000 * r["ranks"] / _STEPS for r in rounds]),
    }


if __name__ == "__main__":
    if _WORKER in sys.argv:
        sys.argv.remove(_WORKER)
        # Before TensorFlow is loaded: it counts the cores that it may use.
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(os.environ["HOROVOD_LOCAL_RANK"]) % len(cores)]})
        with training.prepared(training.arguments(__doc__), training.SETTINGS) as config:
            _work(config)
    else:
        given = sys.argv[1:]
        with training.prepared(training.arguments(__doc__), training.SETTINGS) as config:
            _start(config, given)
