"""What a command and all that it starts use: processor time and memory."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
_EVERY_SECONDS = 0.2
_WORKER = "pyspark.daemon"
# Telling shared pages apart at every look takes a quarter of a core beside a large JVM.
_SHARED_EVERY_SECONDS = 2.0


@dataclass
class Usage:
    """Of a command that ended well.

    Args:
        seconds: from start to end
        cpu_seconds: user and system time of the whole process tree
        peak_mib: most memory of the tree at one time; a page that several share counts once
        worker_mib: most memory of one of Spark's Python workers, with all that it shares
        is_counted: whether a process's memory is of the peak; none counts all
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mib: float = 0.0
    worker_mib: float = 0.0
    is_counted: Callable[[psutil.Process], bool] | None = None
    _seen: dict[tuple[int, float], float] = field(default_factory=dict)
    _resident_mib: float = 0.0
    _next_time: float = 0.0

    def look(self, pid: int) -> None:
        """Takes the tree's times and memory as they are now."""
        try:
            tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        except psutil.Error:
            return
        resident = {process: self._look_at(process) for process in tree}
        counted = [each for each in tree if self.is_counted is None or self.is_counted(each)]
        resident_mib = sum(resident[process] for process in counted)
        if resident_mib <= self.peak_mib:
            return  # with shared pages counted once it is no more than that
        now = time.monotonic()
        if resident_mib > self._resident_mib or now >= self._next_time:
            self._resident_mib = max(self._resident_mib, resident_mib)
            self._next_time = now + _SHARED_EVERY_SECONDS
            self.peak_mib = max(self.peak_mib, sum(map(_own_mib, counted)))

    def _look_at(self, process: psutil.Process) -> float:
        """The process's memory in MiB, with all that it shares; 0 where it just ended."""
        try:
            with process.oneshot():
                times = process.cpu_times()
                self._seen[process.pid, process.create_time()] = times.user + times.system
                resident_mib = float(process.memory_info().rss) / 2**20
                if resident_mib > self.worker_mib and _WORKER in process.cmdline():
                    self.worker_mib = resident_mib
                return resident_mib
        except psutil.Error:
            return 0.0


def _own_mib(process: psutil.Process) -> float:
    """Of a page that several share each has its part."""
    try:
        return float(process.memory_full_info().pss) / 2**20
    except psutil.Error:
        return 0.0


def measured(
    command: list[str],
    variables: dict[str, str] | None = None,
    is_counted: Callable[[psutil.Process], bool] | None = None,
) -> Usage:
    """Runs a command in the project's environment and returns what it used.

    Args:
        command: and its arguments
        variables: of its environment, besides what is there
        is_counted: as of Usage

    Processes that nobody waits for are counted up to their last look; those that were waited for
    are in the kernel's sum. The larger of both counts.
    """
    usage, ended = Usage(is_counted=is_counted), threading.Event()
    before, begun = os.times(), time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(variables or {})}
    process = subprocess.Popen(
        [".make/run.sh", *command], cwd=ROOT, env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip

    def watch() -> None:
        while not ended.wait(_EVERY_SECONDS):
            usage.look(process.pid)

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, errors = process.communicate()
    ended.set()
    watcher.join()
    usage.seconds, after = time.monotonic() - begun, os.times()
    waited = sum(after[2:4]) - sum(before[2:4])
    usage.cpu_seconds = max(waited, sum(usage._seen.values()))
    if process.returncode:
        raise RuntimeError(f"{command}: {errors[-3000:]}")
    return usage
