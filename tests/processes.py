"""The jobs' own commands, run as a user runs them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
_BIN = Path(sys.executable).parent

# JVMs that live for half a minute: compiling less and one collector halve their processor time.
# With the room for code that Java has by itself, one that lives longer compiles again and again.
SHORT_LIVED = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m -XX:+UseSerialGC"
# What .make/run.sh says of them stands before it: where the classes are, and what is logged.
JVM_OPTIONS = f"{os.environ.get('SPARK_SUBMIT_OPTS', '')} {SHORT_LIVED}"

# Two cores, and as on a cluster a task that fails is tried again, which Spark's local mode does not
# do by itself: after a task that was stopped, Spark may give the next one the closed worker
# (SPARK-54217).
LOCAL = "local[2,2]"

# A job that takes longer stands still: a limit against hangs, many times what any job needs alone.
HANGS_SECONDS = 1200

# What Spark says of a task whose executor was killed; it is tried again.
LOST_TASK = r"Lost task \S+ in stage .* ExecutorLostFailure"


def environment() -> dict[str, str]:
    """What the jobs need of it, here on loopback alone."""
    return {
        **os.environ,
        "PATH": f"{_BIN}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_SUBMIT_OPTS": JVM_OPTIONS,
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }


def run(
    command: list[str],
    folder: Path = ROOT,
    seconds: int = HANGS_SECONDS,
    variables: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs a command with the project's environment, or changes to it; returns what it printed."""
    settings = {**environment(), **(variables or {})}
    return subprocess.run(
        command, cwd=folder, env=settings, capture_output=True, text=True, timeout=seconds
    )


def horovod_command(options: Sequence[str], *command: str) -> list[str]:
    """The command line that runs a Python script on ranks of this machine.

    Args:
        options: of horovodrun, which say how many
        command: the script and its arguments
    """
    launcher = str(ROOT / ".make" / "horovodrun_local.py")
    return [sys.executable, launcher, *options, sys.executable, *command]


def horovodrun(ranks: int, *command: str) -> subprocess.CompletedProcess[str]:
    """Runs a Python script on so many ranks of this machine."""
    return run(horovod_command(("-np", str(ranks)), *command))


def spark_submit(
    *command: str,
    master: str = LOCAL,
    seconds: int = HANGS_SECONDS,
    variables: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Submits a job; options of spark-submit's own can go before it."""
    return run([*_submit(master), *command], ROOT, seconds, variables)


def _submit(master: str) -> list[str]:
    settings = {
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.executor.extraJavaOptions": JVM_OPTIONS,
    }
    options = [part for key, value in settings.items() for part in ("--conf", f"{key}={value}")]
    return ["spark-submit", "--master", master, *options]


@contextmanager
def started(master: str, arguments: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A submitted job, begun; it and all that it started are gone afterwards."""
    command = [*_submit(master), *arguments]
    with log.open("wb") as file:
        job = subprocess.Popen(
            command, cwd=ROOT, env=environment(), stdout=file, stderr=file, start_new_session=True
        )
    try:
        yield job
    finally:
        kill_all(job)


def kill_all(job: subprocess.Popen[bytes]) -> None:
    """Kills a job with everything that it started, at once."""
    if job.poll() is None:
        everything = [psutil.Process(job.pid), *psutil.Process(job.pid).children(recursive=True)]
        for process in everything:
            if process.is_running():
                process.send_signal(signal.SIGKILL)
        job.wait(30)
        psutil.wait_procs(everything[1:], timeout=30)  # orphans take a moment to be gone


def wait_for(what: Callable[[], bool], job: subprocess.Popen[bytes]) -> None:
    """Waits for a state of a job that still runs."""
    until = time.monotonic() + HANGS_SECONDS
    while not what():
        assert job.poll() is None, "the job ended before"
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.05)


def executors(job: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The executors of a job on a local cluster."""
    name = "org.apache.spark.executor.CoarseGrainedExecutorBackend"

    def runs(process: psutil.Process) -> bool:
        try:
            return name in process.cmdline()
        except psutil.NoSuchProcess:  # or a zombie, which is one of these
            return False

    return [child for child in psutil.Process(job.pid).children(recursive=True) if runs(child)]


def killed_at_work(processes: Iterable[psutil.Process]) -> psutil.Process | None:
    """Kills the first executor that is writing a task's output, in the middle; none if none is."""

    def is_at_work(process: psutil.Process) -> bool:
        return any("/_temporary/" in file.path for file in process.open_files())

    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if not is_at_work(process):
                continue
            process.suspend()  # so that it does not end its task before it is killed
            if is_at_work(process):
                process.kill()
                return process
            process.resume()
    return None
