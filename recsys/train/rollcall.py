"""Which ranks are missing where the others wait: asked through the launcher's key-value server.

Horovod 0.28.1 has a check for that, which says nothing where Gloo connects the ranks.
"""

from __future__ import annotations

import http.client
import time
from contextlib import suppress

from recsys.train import guard, launcher
from recsys.train.shards import Shard

_GRACE_SECONDS = 1.0
# No launcher, none that answers, or a garbled answer.
_UNANSWERED = (KeyError, OSError, http.client.HTTPException)


class Others:
    """The ranks that one waits for.

    Args:
        shard: of the one that waits
        place: the same for all ranks that wait for each other; letters, digits and -; ranks
            may come to it again, but to another in between
    """

    def __init__(self, shard: Shard, place: str) -> None:
        self._shard, self._scope = shard, f"waiting-{place}"
        self._missing: list[int] = []
        self.expected = f"rank {shard.rank}: expected all {shard.ranks} ranks at {place}"

    def tell(self) -> None:
        """Says that this rank waits, to whom it may concern."""
        with suppress(*_UNANSWERED):
            launcher.tell(self._scope, self._shard.rank)

    def take_back(self) -> None:
        """Says that this rank waits no more, or it would be there when the others come again.

        Horovod's server removes just this from a scope that is none of its own.
        """
        with suppress(*_UNANSWERED):
            launcher.take_back(self._scope, self._shard.rank)

    def found(self) -> str:
        """Which of the others don't say so."""
        try:
            launcher.tell(self._scope, self._shard.rank)
            time.sleep(_GRACE_SECONDS)  # some have just come
            ranks = range(self._shard.ranks)
            self._missing = [rank for rank in ranks if not launcher.is_told(self._scope, rank)]
        except _UNANSWERED as error:
            return f"not all, and no launcher to ask which ({error})"
        return " and ".join(f"no rank {rank}" for rank in self._missing) or "all of them waiting"

    def give_up(self) -> bool:
        """Whether the run can go on without those that were not found, which are ended then."""
        if not self._missing or not launcher.is_elastic():
            return False
        with suppress(OSError):
            guard.give_up(self._missing)
        return True
