"""Ranks that come and go: `horovodrun --min-np 1 --max-np 4 -H host1:2,host2:2 …`.

When a rank dies, Horovod gathers those that are left, each of which then goes on from the run's
last checkpoint with its new share of the row groups. An epoch that other ranks had begun is begun
again, so that every row of every epoch that counts is read once. A rank that stands still is ended
by its guard, since Horovod would wait for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack

import horovod.tensorflow as hvd
import tensorflow as tf
from horovod.common.elastic import State
from horovod.common.exceptions import HorovodInternalError, HostsUpdatedInterrupt

from recsys import files
from recsys.train import guard, rollcall
from recsys.train.shards import Shard
from recsys.train.watch import Watch

log = logging.getLogger(__name__)

_SENDERS = ("horovod", "gloo", "nccl")


class _OnDisk(State):
    """Nothing in memory but where the run is: what a rank that goes on needs is in checkpoints."""

    # Which the run publishes at its end; "" as long as no rank has written to it.
    version = ""

    def save(self) -> None:
        pass

    def restore(self) -> None:
        pass

    def sync(self) -> None:
        told = hvd.allgather_object(self.version, name="version")
        self.version = next((version for version in told if version), "")


_state: _OnDisk | None = None


def let_change() -> None:
    """Where hosts have come or are to go, starts again with those that there are; all ranks call.

    To be called where what has been done is saved.
    """
    if _state is not None:
        _state.check_host_updates()


def writes(version: str) -> None:
    """Keeps the URL of the version that the run will publish."""
    if _state is not None:
        _state.version = version


def run(train: Callable[[Shard, bool], None], stall_seconds: int) -> None:
    """Trains until it is done, with whatever ranks there are.

    Args:
        train: gets this rank's shard, and whether it goes on with a run that has begun
        stall_seconds: a rank that keeps the others waiting for so long is ended
    """
    global _state
    begun = False

    def work(state: _OnDisk) -> None:
        nonlocal begun
        until_next.close()
        shard, goes_on = Shard(hvd.rank(), hvd.size()), begun
        begun = True
        if goes_on:
            log.warning("ranks have changed: this is rank %d of %d", shard.rank, shard.ranks)
        if state.version and files.is_published(state.version):
            log.info("%s was published before: there is nothing left to do", state.version)
            return
        until_next.enter_context(guard.beside(shard.rank))
        try:
            _translated(train, shard, goes_on)
        except (HorovodInternalError, HostsUpdatedInterrupt):
            # Those that are left wait for each other, and for as long as it takes for new ones.
            gathering = Watch(stall_seconds, leave=log.error)
            until_next.enter_context(gathering.waiting(rollcall.Others(shard, "change-of-ranks")))
            raise

    _state = _OnDisk(hvd.broadcast_object, hvd.rank)
    with ExitStack() as until_next:
        hvd.elastic.run(work)(_state)


def _translated(train: Callable[[Shard, bool], None], shard: Shard, goes_on: bool) -> None:
    """Trains; of TensorFlow's errors only Horovod's own is one that Horovod gathers ranks for."""
    try:
        train(shard, goes_on)
    except tf.errors.OpError as error:
        # Behind where the operation was made in Python; who is first to see that a rank is gone
        # may be Horovod, or what it sends by.
        said = error.message.rsplit("\n\n", 1)[-1].lower()
        if not any(word in said for word in _SENDERS):
            raise RuntimeError(str(error)) from error  # Horovod would pass over it
        raise HorovodInternalError(error.message) from None
