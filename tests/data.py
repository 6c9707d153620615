"""Real logs for tests and benchmarks, beside the checkout or where RECSYS_DATA says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from recsys import command
from recsys.config import Config
from tests.processes import ROOT

DATA = Path(os.environ.get("RECSYS_DATA", ROOT.parent / "shared" / "data"))


def data(name: str) -> Path:
    """A file of the data; the test is skipped, and says so, where it is not there."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"no {path}: RECSYS_DATA says where the data are")
    return path


def configuration(*arguments: str) -> Config:
    """What a job gets from a command line."""
    return command.parse(command.parser("prepare", "Purpose."), arguments)[0]
