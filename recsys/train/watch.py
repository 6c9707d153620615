"""A reader that stands still, or a rank that does not come, ends the ranks that wait for it.

They would wait inside TensorFlow for ever.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from recsys.errors import DataError

log = logging.getLogger(__name__)

T = TypeVar("T")


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
        self._waits: tuple[float, str, Callable[[], str]] | None = None
        threading.Thread(target=self._look, daemon=True).start()

    @contextmanager
    def waiting(self, what: str, found: Callable[[], str] = lambda: "none") -> Iterator[None]:
        """Inside, the process waits.

        Args:
            what: who waits, and what is expected
            found: says in place of it what there is
        """
        self._waits = (time.monotonic() + self._seconds, what, found)
        try:
            yield
        finally:
            self._waits = None

    def each(self, source: Iterable[T], what: str) -> Iterator[T]:
        """What the source gives; between two of them is no wait."""
        iterator = iter(source)
        for number in itertools.count():
            with self.waiting(f"{what}, {number} of which came"):
                entry = next(iterator, None)
            if entry is None:
                return
            yield entry

    def _look(self) -> None:
        while True:
            # All ranks notice within a moment, or one would name those that have not looked yet.
            time.sleep(min(self._seconds / 20, 0.3))
            waits = self._waits
            if waits is not None and time.monotonic() > waits[0]:
                _, what, found = waits
                self._leave(f"{what}; found {found()} in {self._seconds:g} seconds")
                return
