"""What the ranks do together, through Horovod."""

from __future__ import annotations

import os
from collections.abc import Sequence

import horovod.tensorflow as hvd
import numpy as np
import tensorflow as tf

from recsys.train.batches import Shard


def start(cpu_threads: int) -> Shard:
    """Joins the other ranks and takes this rank's share of the machine.

    Args:
        cpu_threads: TensorFlow threads; 0 shares the machine's cores among its ranks
    """
    hvd.init()
    cores = len(os.sched_getaffinity(0))
    threads = cpu_threads or max(1, cores // hvd.local_size())
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1 if threads == 1 else 2)
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        tf.config.set_visible_devices(gpus[hvd.local_rank() % len(gpus)], "GPU")
    return Shard(rank=hvd.rank(), ranks=hvd.size())


def sum_gradients(
    tape: tf.GradientTape,
    loss_sum: tf.Tensor,
    weight_sum: tf.Tensor,
    variables: Sequence[tf.Variable],
) -> list[tf.Tensor]:
    """The gradient of the weighted mean over the targets of all ranks.

    Each rank's loss is a sum over its own targets. Gradients are summed over the ranks and
    divided by the global sum of weights (the number of targets, where each weighs 1), so that
    ranks with unequal numbers of targets give what one process would give on all rows.
    """
    distributed = hvd.DistributedGradientTape(tape, op=hvd.Sum, sparse_as_dense=True)
    gradients = distributed.gradient(loss_sum, variables)
    total = hvd.allreduce(weight_sum, op=hvd.Sum, name="weight_sum")
    return [tf.math.divide_no_nan(gradient, total) for gradient in gradients]


def sum_over_ranks(values: Sequence[float], name: str) -> list[float]:
    """Adds up each value over the ranks; all ranks get the sums."""
    totals = hvd.allreduce(np.asarray(values, np.float64), op=hvd.Sum, name=name)
    return [float(total) for total in totals]


def share_start(variables: Sequence[tf.Variable]) -> None:
    """Gives every rank the variables of rank 0."""
    hvd.broadcast_variables(variables, root_rank=0)
