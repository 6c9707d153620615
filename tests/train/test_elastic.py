"""Which of TensorFlow's errors are those of ranks that are gone."""

from __future__ import annotations

import pytest
import tensorflow as tf
from horovod.common.exceptions import HorovodInternalError

from recsys.train import elastic
from recsys.train.shards import Shard

_MADE = """Graph execution error:

Detected at node gradients defined at (most recent call last):
  File "/shop/lib/horovod/tensorflow/mpi_ops.py", line 222, in allgather

"""


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Horovod has been shut down. This was caused by an exception", HorovodInternalError),
        (
            f"{_MADE}[/build/third_party/compatible17_gloo/gloo/transport/tcp/pair.cc:589] Read "
            "error [127.0.0.1]:20160: Connection reset by peer\n\t [[{{node gradients}}]]",
            HorovodInternalError,
        ),
        (f"{_MADE}ncclAllReduce failed: unhandled system error", HorovodInternalError),
        (f"{_MADE}indices[3] = 900 is not in [0, 900)", RuntimeError),
    ],
    ids=["horovod", "gloo", "nccl", "other"],
)
def test_ranks_gather_where_one_is_gone_and_for_nothing_else(
    message: str, kind: type[Exception]
) -> None:
    def train(shard: Shard, goes_on: bool) -> None:
        raise tf.errors.UnknownError(None, None, message)

    with pytest.raises(kind) as raised:
        elastic._translated(train, Shard(0, 2), goes_on=False)
    assert raised.type is kind
