"""What the ranks do together, through Horovod."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

import horovod.tensorflow as hvd
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from recsys.config import Train
from recsys.train.optimizer import Gradient
from recsys.train.rollcall import Others
from recsys.train.shards import Shard
from recsys.train.watch import Watch

log = logging.getLogger(__name__)


def start(train: Train) -> Shard:
    """Joins the other ranks and takes this rank's share of the machine."""
    # Horovod reads it when it starts. A rank that does not answer is named before Gloo gives up.
    os.environ.setdefault("HOROVOD_GLOO_TIMEOUT_SECONDS", str(max(30, 2 * train.stall_seconds)))
    _join(train.stall_seconds)
    cores = len(os.sched_getaffinity(0))
    threads = train.cpu_threads or max(1, cores // hvd.local_size())
    # The reader's thread would keep Python's lock for 5 ms whenever the loop comes back for it.
    sys.setswitchinterval(1e-4)
    if train.lanes > threads:
        log.warning("train.lanes: expected at most the rank's %d threads, found %d", threads,
                    train.lanes)  # fmt: skip
    # Lanes share the threads: an operation of one takes none of another's.
    tf.config.threading.set_intra_op_parallelism_threads(max(1, threads // train.lanes))
    beside = train.lanes if train.lanes > 1 else 2
    tf.config.threading.set_inter_op_parallelism_threads(min(threads, beside))
    if train.xla:
        # Read when XLA is first asked for; without it, it leaves CPUs alone.
        os.environ.setdefault("TF_XLA_FLAGS", "--tf_xla_cpu_global_jit")
        tf.config.optimizer.set_jit("autoclustering")
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        tf.config.set_visible_devices(gpus[hvd.local_rank() % len(gpus)], "GPU")
    return Shard(rank=hvd.rank(), ranks=hvd.size())


def _join(stall_seconds: int) -> None:
    """Waits for the other ranks; where the launcher has numbered them all, not for ever."""
    if "HOROVOD_RANK" not in os.environ:
        hvd.init()
        return
    shard = Shard(int(os.environ["HOROVOD_RANK"]), int(os.environ["HOROVOD_SIZE"]))
    with Watch(stall_seconds).waiting(Others(shard, "start")):
        hvd.init()


def clip(gradients: Sequence[Gradient], norm: float) -> tuple[list[Gradient], tf.Tensor]:
    """The gradients, scaled down where their global norm is larger (Pascanu et al., 2013), and it.

    Where it is not finite, some of the gradients are not.
    """
    clipped, found = tf.clip_by_global_norm(gradients, norm)
    return list(clipped), found


def sum_tensor(values: tf.Tensor, name: str) -> tf.Tensor:
    """Adds up the values over the ranks, within a step."""
    return hvd.allreduce(values, op=hvd.Sum, name=name)


def sum_over_ranks(values: Sequence[float], name: str) -> list[float]:
    """Adds up each value over the ranks; all ranks get the sums."""
    totals = hvd.allreduce(np.asarray(values, np.float64), op=hvd.Sum, name=name)
    return [float(total) for total in totals]


def gathered(values: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """What all ranks have, one after another along the first axis; all ranks get it."""
    return np.asarray(hvd.allgather(tf.constant(values), name=name))


def gathered_plain(value: Any) -> list[Any]:
    """The plain values of all ranks, in their order; all ranks get them."""
    return list(hvd.allgather_object(value))


def share_start(variables: Sequence[tf.Variable]) -> None:
    """Gives every rank the variables of rank 0."""
    hvd.broadcast_variables(variables, root_rank=0)


def share_plain(values: dict[str, Any]) -> dict[str, Any]:
    """Gives every rank the plain values of rank 0."""
    return dict(hvd.broadcast_object(values, root_rank=0))
