"""A reader that stands still, or a rank that does not come, ends the ranks that wait for it.

They would wait inside TensorFlow for ever. In an elastic run the rank that does not come is ended
in their place.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from recsys.errors import DataError

log = logging.getLogger(__name__)

T = TypeVar("T")

# Who waits for so long tells the others: these may have come later, and ask before.
_TOLD_AFTER_SECONDS = 1.0
# Until a rank that was given up is gone, and the others notice.
_GONE_AFTER_SECONDS = 15.0


class Others(Protocol):
    """Those that are waited for."""

    expected: str

    def tell(self) -> None:
        """Says that this rank waits for them."""

    def take_back(self) -> None:
        """Says that it waits no more."""

    def found(self) -> str:
        """Says what there is of them."""

    def give_up(self) -> bool:
        """Whether the wait will end without those that were not found."""


@dataclass
class Nobody:
    """In place of others, where something else is waited for.

    Args:
        expected: who waits, and for what
    """

    expected: str

    def tell(self) -> None:
        """Nothing to say."""

    def take_back(self) -> None:
        """Nothing was said."""

    def found(self) -> str:
        """Nothing is there."""
        return "none"

    def give_up(self) -> bool:
        """There is nobody to give up."""
        return False


@dataclass
class _Wait:
    others: Others
    since: float = field(default_factory=time.monotonic)


def _leave(message: str) -> None:
    # The waiting thread cannot be interrupted, and no other may end the process in good order.
    log.error("%s", message)
    os._exit(DataError.exit_code)


class Watch:
    """Ends the process, and says why, when it waits too long.

    Args:
        seconds: that a single wait may take
        leave: what is done then; it gets the message
    """

    def __init__(self, seconds: float, leave: Callable[[str], None] = _leave) -> None:
        self._seconds, self._leave = seconds, leave
        self._wait: _Wait | None = None
        threading.Thread(target=self._look, daemon=True).start()

    @contextmanager
    def waiting(self, others: Others) -> Iterator[None]:
        """Inside, the process waits for others."""
        self._wait = _Wait(others)
        try:
            yield
        finally:
            self._wait = None

    def each(self, source: Iterable[T], what: str) -> Iterator[T]:
        """What the source gives; between two of them is no wait."""
        iterator = iter(source)
        for number in itertools.count():
            with self.waiting(Nobody(f"{what}, {number} of which came")):
                entry = next(iterator, None)
            if entry is None:
                return
            yield entry

    def _look(self) -> None:
        told: _Wait | None = None
        while True:
            # All ranks notice within a moment, or one would name those that have not looked yet.
            time.sleep(min(self._seconds / 20, 0.3))
            wait = self._wait
            if told is not None and told is not wait:
                told.others.take_back()
                told = None
            if wait is None:
                continue
            waited = time.monotonic() - wait.since
            if waited > min(_TOLD_AFTER_SECONDS, self._seconds) and told is None:
                wait.others.tell()
                told = wait
            if waited > self._seconds and not self._has_ended(wait):
                return

    def _has_ended(self, wait: _Wait) -> bool:
        """Whether a wait that is too long has ended by now, or does without those given up."""
        found = wait.others.found()
        message = f"{wait.others.expected}; found {found} in {self._seconds:g} seconds"
        if self._wait is wait and wait.others.give_up():
            log.error("%s; the run goes on without", message)
            until = time.monotonic() + _GONE_AFTER_SECONDS
            while self._wait is wait and time.monotonic() < until:
                time.sleep(0.1)
        if self._wait is not wait:
            return True
        self._leave(message)
        return False
