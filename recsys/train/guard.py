"""A process beside each rank of an elastic run, which ends it when the others give it up.

A rank that stands still cannot be asked to leave: it may be stopped, or be in a call that does not
return. Horovod would wait for it for ever, even when all others had gone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from recsys.train import launcher

_GIVEN_UP = "given-up"
_SECONDS_BETWEEN_LOOKS = 0.5


def give_up(ranks: Iterable[int]) -> None:
    """Has the guards of these ranks end them; raises as launcher.tell."""
    for rank in ranks:
        launcher.tell(_GIVEN_UP, rank)


@contextmanager
def beside(rank: int) -> Iterator[None]:
    """Inside, this process is a rank that the others can give up."""
    command = [sys.executable, "-m", "recsys.train.guard", str(rank), str(os.getpid())]
    nowhere = subprocess.DEVNULL  # the launcher waits for the end of what a rank may write
    guard = subprocess.Popen(command, stdin=nowhere, stdout=nowhere, stderr=nowhere)
    try:
        yield
    finally:
        guard.kill()
        guard.wait()


def _stay(rank: int, process: int) -> None:
    while os.getppid() == process:
        with suppress(OSError):
            if launcher.is_told(_GIVEN_UP, rank):
                os.kill(process, signal.SIGKILL)
                return
        time.sleep(_SECONDS_BETWEEN_LOOKS)


if __name__ == "__main__":
    _stay(int(sys.argv[1]), int(sys.argv[2]))
