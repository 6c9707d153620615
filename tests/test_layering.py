"""Data flows one way: who may import whom at module level."""

import ast
from pathlib import Path

import pytest

from tests.processes import ROOT

_SPARK_ROOMS = ("prepare", "evaluate", "score")
_FILES = sorted((ROOT / "recsys").rglob("*.py"))


def _imports(path: Path) -> set[str]:
    """The modules that importing this file loads; what stands in functions does not count."""
    found: set[str] = set()
    pending: list[ast.AST] = list(ast.parse(path.read_text()).body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            pending.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        pending.extend(ast.iter_child_nodes(node))
    return found


def _room(path: Path) -> str:
    parts = path.relative_to(ROOT / "recsys").parts
    return parts[0] if len(parts) > 1 else ""


def _packages(path: Path) -> set[str]:
    return {name.split(".")[0] for name in _imports(path)}


@pytest.mark.parametrize("path", _FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_rooms_load_what_is_theirs(path: Path) -> None:
    loaded = _packages(path)
    if _room(path) != "train":
        assert not loaded & {"tensorflow", "keras", "horovod", "petastorm"}
    if _room(path) == "train":
        assert not loaded & {"pyspark"}
    if _room(path) in ("", "config"):
        assert not loaded & {"pyspark"}
    others = {f"recsys.{room}" for room in (*_SPARK_ROOMS, "train")} - {f"recsys.{_room(path)}"}
    if _room(path):
        names = {f"{name}." for name in _imports(path)}
        assert not {name for name in names for other in others if name.startswith(f"{other}.")}


@pytest.mark.parametrize("path", _FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_tables_reads_and_writes_spark_tables(path: Path) -> None:
    if _room(path) == "tables":
        return
    text = path.read_text()
    for call in ("spark.read", ".write.", "spark.table(", ".saveAsTable("):
        assert call not in text


def test_jobs_are_thin() -> None:
    jobs = sorted((ROOT / "jobs").glob("*.py"))
    assert {"prepare.py", "train.py", "evaluate.py", "score.py"} <= {job.name for job in jobs}
    for job in jobs:
        assert len(job.read_text().splitlines()) <= 40
