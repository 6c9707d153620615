"""A Spark standalone cluster on loopback, and the packaged environment that its executors use."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyspark

from recsys import files
from tests.processes import ROOT, SHORT_LIVED, run

_WORKERS = 2
_START_SECONDS = 300
# What a package is made of.
_SOURCES = ("requirements.lock", "pyproject.toml", ".make/package.py", "recsys/**/*.*")


class Cluster:
    """A master and two workers of one core each.

    Args:
        folder: for the logs of master and workers, and for the executors
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Starts master and workers on free ports, and waits until they know each other."""
        self._launch("master", "Master")
        self.url = self._wait_for(r"Starting Spark master at (spark://\S+)", 1)[0]
        for number in range(_WORKERS):
            work = ["--cores", "1", "--memory", "1g", "--work-dir", str(self.folder / "work")]
            self._launch(f"worker-{number}", "Worker", *work, self.url)
        self._wait_for(r"Registering worker (\S+)", _WORKERS)

    def stop(self) -> None:
        """Ends what was started, the executors with their workers, and removes what these wrote."""
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
        # What executors have unpacked, a gigabyte each.
        shutil.rmtree(self.folder / "work", ignore_errors=True)

    def _launch(self, name: str, role: str, *arguments: str) -> None:
        # A node knows nothing of this checkout and its environment.
        paths = os.environ["PATH"].split(":")
        names = ("HOME", "JAVA_HOME", "SPARK_CONF_DIR")  # the last one is an empty folder
        known = {key: os.environ[key] for key in names if key in os.environ}
        node = {
            **known,
            "PATH": ":".join(path for path in paths if Path(path) != Path(sys.executable).parent),
            "SPARK_HOME": str(Path(pyspark.__file__).parent),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_DAEMON_MEMORY": "256m",
            "SPARK_DAEMON_JAVA_OPTS": SHORT_LIVED,  # and says where it listens
            "SPARK_MASTER_OPTS": "-Dspark.master.rest.enabled=false",
        }
        command = [
            f"{node['SPARK_HOME']}/bin/spark-class",
            f"org.apache.spark.deploy.{role.lower()}.{role}",
        ]
        where = ["--host", "127.0.0.1", "--port", "0", "--webui-port", "0"]
        with (self.folder / f"{name}.log").open("wb") as log:
            self._processes.append(
                subprocess.Popen(
                    [*command, *where, *arguments],
                    env=node,
                    cwd=self.folder,
                    stdout=log,
                    stderr=log,
                )
            )

    def _wait_for(self, pattern: str, times: int) -> list[str]:
        """What the master's log says so many times."""
        log = self.folder / "master.log"
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until:
            if len(found := re.findall(pattern, log.read_text())) >= times:
                return found
            time.sleep(0.2)
        raise TimeoutError(f"{log}: expected {pattern} {times} times, found\n{log.read_text()}")


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """A cluster that is gone afterwards, whatever happens."""
    cluster = Cluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def environment_archive() -> Path:
    """What `make package` builds; kept until something changes that it is made of."""
    paths = sorted(path for pattern in _SOURCES for path in ROOT.glob(pattern) if path.is_file())
    kept = ROOT / "build" / "cluster"
    version = kept / files.fingerprint(
        part for path in paths if path.suffix != ".pyc" for part in (path.name, path.read_bytes())
    )
    archive = version / "environment.tar.gz"
    if not archive.exists():
        shutil.rmtree(kept, ignore_errors=True)
        wheel = ["-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", str(version), "."]
        _checked([sys.executable, *wheel])
        _checked(
            [sys.executable, ".make/package.py", *map(str, version.glob("*.whl")), str(archive)]
        )
    return archive


def _checked(command: list[str]) -> None:
    ended = run(command)
    if ended.returncode:
        raise RuntimeError(f"{command}: {ended.stdout[-2000:]}{ended.stderr[-2000:]}")
