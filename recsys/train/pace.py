"""How fast training goes and when it will be done: a bar on a terminal, lines in a log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable

from tqdm import tqdm

from recsys.texts import duration

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 30.0


class Pace:
    """What rank 0 shows while an epoch is trained.

    Args:
        epoch: that is trained, from 1
        epochs: of the whole run, if it is not stopped early
        steps: of an epoch
        done: of them, before a run goes on
        ranks: that train together, each about as much as this one
        shown: whether this rank shows anything
        clock: seconds
    """

    def __init__(
        self,
        epoch: int,
        epochs: int,
        steps: int,
        done: int,
        ranks: int,
        shown: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._epoch, self._epochs, self._steps, self._ranks = epoch, epochs, steps, ranks
        self._done, self._events, self._clock = done, 0, clock
        self._shown = shown
        # The first step waits for the graph to be built; the pace is that of those behind it.
        self._from: tuple[float, int] | None = None
        self._next_line = clock() + _SECONDS_BETWEEN_LINES
        is_terminal = shown and sys.stderr.isatty()
        self._bar = tqdm(
            desc=f"epoch {epoch}/{epochs}", initial=done, total=steps, leave=False,
            unit="step", disable=not is_terminal,
        )  # fmt: skip

    def step(self, events: int) -> None:
        """Counts a step that trained on so many events of this rank."""
        if not self._shown:
            return
        now = self._clock()
        self._done += 1
        if self._from is None:
            self._from = (now, self._done)
        else:
            self._events += events
        if not self._bar.disable:
            self._bar.set_postfix_str(self.text(now), refresh=False)
            self._bar.update()
        elif now >= self._next_line:
            self._next_line = now + _SECONDS_BETWEEN_LINES
            log.info(
                "epoch %d of %d, step %d of %d: %s",
                self._epoch, self._epochs, self._done, self._steps, self.text(now),
            )  # fmt: skip

    def text(self, now: float) -> str:
        """Events a second of all ranks, and the time that the rest of training takes at most."""
        since, first = self._from or (now, self._done)
        if now <= since:
            return "starting"
        left = (self._epochs - self._epoch + 1) * self._steps - self._done
        seconds = (now - since) / (self._done - first) * left
        rate = self._ranks * self._events / (now - since)
        return f"{rate:,.0f} events/s, at most {duration(seconds)} left"

    def close(self) -> None:
        """Clears the bar."""
        self._bar.close()
