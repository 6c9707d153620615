"""How fast training goes and when it will be done: a bar on a terminal, lines in a log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tqdm import tqdm

from recsys.config import Train
from recsys.manifest import Manifest
from recsys.texts import duration
from recsys.train import shards

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 30.0


@dataclass(frozen=True)
class Work:
    """What a stage does, and what comes behind it, all at most.

    Args:
        epochs: of the stage
        steps: of each of them
        is_validated: whether each ends with a validation
        later_steps: of the stages that come behind
        later_validations: of these stages, and that of this stage's mean of checkpoints
        later: the stages, as a person reads them
    """

    epochs: int
    steps: int
    is_validated: bool
    later_steps: int = 0
    later_validations: int = 0
    later: tuple[str, ...] = ()


def work_of(
    manifest: Manifest, train: Train, ranks: int, splits: Sequence[str], epochs: int
) -> Work:
    """Of a stage that trains on these splits for so many epochs.

    Args:
        manifest: of the dataset
        train: the configuration; ensemble_seeds are those that are still to come
        ranks: that train together
        splits: that are trained on; a refit has valid among them
        epochs: passes over them, at most
    """

    def steps(*of: str) -> int:
        return shards.steps_per_epoch(manifest, of, ranks, train.batch_targets_per_rank)

    is_refit, seeds = "valid" in splits, len(train.ensemble_seeds)
    refit = train.epochs * steps("train", "valid") if train.refit else 0
    of_seed = train.epochs * steps("train") + refit if seeds else 0
    mean = int(train.average_checkpoints > 0)
    later: tuple[str, ...] = ("refit",) if train.refit and not is_refit else ()
    if seeds:
        later += (f"{seeds} more seed{'s' if seeds > 1 else ''}",)
    return Work(
        epochs,
        steps(*splits),
        is_validated=not is_refit,
        later_steps=seeds * of_seed + (0 if is_refit else refit),
        later_validations=seeds * (train.epochs + mean) + (0 if is_refit else mean),
        later=later,
    )


class Pace:
    """What rank 0 shows while a stage is trained, epoch after epoch.

    Args:
        work: of the stage
        ranks: that train together, each about as much as this one
        shown: whether this rank shows anything
        clock: seconds
    """

    def __init__(
        self,
        work: Work,
        ranks: int,
        shown: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._work, self._ranks, self._shown, self._clock = work, ranks, shown, clock
        self._epoch, self._done, self._validations = 1, 0, 0
        # Trained since the first step, which waits for the graph to be built.
        self._from: float | None = None
        self._steps, self._events = 0, 0
        self._validated: list[float] = []
        self._next_line = clock() + _SECONDS_BETWEEN_LINES
        self._bar = tqdm(disable=True)

    def plan(self, work: Work) -> None:
        """Takes the place of what was to be done."""
        self._work = work
        self._validations = work.epochs - self._epoch if work.is_validated else 0

    def begin(self, epoch: int, done: int) -> None:
        """Starts an epoch, from 1, of which so many steps are done already."""
        self._epoch, self._done = epoch, done
        self._validations = self._work.epochs - epoch + 1 if self._work.is_validated else 0
        is_terminal = self._shown and sys.stderr.isatty()
        self._bar = tqdm(
            desc=f"epoch {epoch}/{self._work.epochs}", initial=done, total=self._work.steps,
            leave=False, unit="step", disable=not is_terminal,
        )  # fmt: skip

    def step(self, events: int) -> None:
        """Counts a step that trained on so many events of this rank."""
        if not self._shown:
            return
        now = self._clock()
        self._done += 1
        if self._from is None:
            self._from = now
        else:
            self._steps += 1
            self._events += events
        if not self._bar.disable:
            self._bar.set_postfix_str(self.text(now), refresh=False)
            self._bar.update()
        elif now >= self._next_line:
            self._next_line = now + _SECONDS_BETWEEN_LINES
            log.info(
                "epoch %d of %d, step %d of %d: %s",
                self._epoch, self._work.epochs, self._done, self._work.steps, self.text(now),
            )  # fmt: skip

    def validated(self, seconds: float) -> None:
        """Counts a validation that took so long."""
        self._validations = max(self._validations - 1, 0)
        if self._from is not None:
            self._validated.append(seconds)

    def text(self, now: float) -> str:
        """Events a second of all ranks, and the time that the rest of training takes at most."""
        seconds = self._trained(now)
        if not seconds:
            return "starting"
        rate = f"{self._ranks * self._events / seconds:,.0f} events/s"
        return ", ".join(part for part in (rate, self.left(now)) if part)

    def left(self, now: float | None = None) -> str:
        """The time that the rest takes at most, and of what it is; "" if unknown, or none is left.

        A step and a validation of the other stages are taken to last as long as those of this one.
        """
        seconds, own = self._trained(self._clock() if now is None else now), self._work
        steps = (own.epochs - self._epoch + 1) * own.steps - self._done + own.later_steps
        validations = self._validations + own.later_validations
        if not seconds or steps + validations == 0:
            return ""
        left, parts = steps * seconds / self._steps, list(own.later)
        if validations and self._validated:
            left += validations * sum(self._validated) / len(self._validated)
            parts.insert(0, "validation")
        covered = f" with {' and '.join(parts)}" if parts else ""
        without = ", without validation" if validations and not self._validated else ""
        return f"at most about {duration(left)} left{covered}{without}"

    def _trained(self, now: float) -> float:
        """Seconds of the steps since the first one, with all that is done between them."""
        if self._from is None or self._steps == 0:
            return 0.0
        return now - self._from - sum(self._validated)

    def close(self) -> None:
        """Clears the bar."""
        self._bar.close()
