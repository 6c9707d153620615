"""Ranks that come and go: `horovodrun --min-np 1 --max-np 4 -H host1:2,host2:2 …`.

When a rank dies, Horovod gathers those that are left, each of which then goes on from the run's
last checkpoint with its new share of the row groups. An epoch that other ranks had begun is begun
again, so that every row of every epoch that counts is read once.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

import horovod.tensorflow as hvd
import tensorflow as tf
from horovod.common.elastic import State
from horovod.common.exceptions import HorovodInternalError

from recsys.train.batches import Shard

log = logging.getLogger(__name__)


def is_elastic() -> bool:
    """Whether the launcher lets ranks come and go."""
    return os.environ.get("HOROVOD_ELASTIC") == "1"


class _OnDisk(State):
    """Nothing in memory: what a rank that goes on needs is in the run's checkpoints."""

    def save(self) -> None:
        pass

    def restore(self) -> None:
        pass

    def sync(self) -> None:
        pass


_state: State | None = None


def let_change() -> None:
    """Where hosts have come or are to go, starts again with those that there are; all ranks call.

    To be called where what has been done is saved.
    """
    if _state is not None:
        _state.check_host_updates()


def run(train: Callable[[Shard, bool], None]) -> None:
    """Trains until it is done, with whatever ranks there are.

    Args:
        train: gets this rank's shard, and whether it goes on with a run that has begun
    """
    global _state
    begun = False

    def work(state: State) -> None:
        nonlocal begun
        shard, goes_on = Shard(hvd.rank(), hvd.size()), begun
        begun = True
        if goes_on:
            log.warning("ranks have changed: this is rank %d of %d", shard.rank, shard.ranks)
        try:
            train(shard, goes_on)
        except tf.errors.OpError as error:
            if "Horovod" not in error.message:
                raise RuntimeError(str(error)) from error  # Horovod would pass over it
            raise HorovodInternalError(error.message) from None

    _state = _OnDisk(hvd.broadcast_object, hvd.rank)
    hvd.elastic.run(work)(_state)
