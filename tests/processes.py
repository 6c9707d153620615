"""The jobs' own commands, run as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
_BIN = Path(sys.executable).parent


def _environment() -> dict[str, str]:
    return {
        **os.environ,
        "PATH": f"{_BIN}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }


def run(
    command: list[str], folder: Path = ROOT, seconds: int = 300
) -> subprocess.CompletedProcess[str]:
    """Runs a command with the project's environment and returns what it printed."""
    return subprocess.run(
        command, cwd=folder, env=_environment(), capture_output=True, text=True, timeout=seconds
    )


def horovodrun(ranks: int, *command: str) -> subprocess.CompletedProcess[str]:
    """Runs a Python script on so many ranks of this machine."""
    launcher = ["horovodrun", "-np", str(ranks), "--network-interfaces", "lo"]
    return run([*launcher, sys.executable, *command])


def spark_submit(
    *command: str, master: str = "local[2]", seconds: int = 300
) -> subprocess.CompletedProcess[str]:
    """Submits a job."""
    settings = ["--conf", "spark.ui.enabled=false", "--conf", "spark.sql.shuffle.partitions=2"]
    return run(["spark-submit", "--master", master, *settings, *command], seconds=seconds)
