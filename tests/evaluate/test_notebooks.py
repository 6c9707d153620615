"""The notebooks, cell by cell as a user runs them, on a small report."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest

from tests.processes import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def cells(notebook: Path) -> list[dict]:
    """Those of code."""
    content = json.loads(notebook.read_text())
    assert content["nbformat"] == 4
    return [cell for cell in content["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_it_is_kept_without_output_and_defines_nothing(notebook: Path) -> None:
    for cell in cells(notebook):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        for node in ast.walk(ast.parse("".join(cell["source"]))):
            assert not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_it_runs(
    notebook: Path,
    place: Path,
    report: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {name: str(place / name) for name in ("dataset", "model", "report")}
    (tmp_path / "run.yaml").write_text(json.dumps({"paths": places}))  # JSON is YAML
    monkeypatch.setenv("RECSYS_CONFIG", str(tmp_path / "run.yaml"))
    monkeypatch.chdir(notebook.parent)
    plt.switch_backend("agg")
    names: dict[str, Any] = {}
    for cell in cells(notebook):
        exec("".join(cell["source"]), names)
    plt.close("all")
    said = capsys.readouterr().out
    assert f"{report.name}: 72 cases of 36 users" in said
    assert "took" in said
    figures = json.loads((report / "metrics.json").read_text())
    by_case = names["cases"].groupby("system")["recall"].mean()
    assert set(by_case.index) == set(figures["systems"])
    for system, own in figures["systems"].items():
        recall = own[f"recall@{names['k']}"]
        assert names["table"].loc[system, f"recall@{names['k']}"] == recall
        assert by_case[system] == pytest.approx(recall), "cell by cell from the lists themselves"
    assert len(names["ahead"]) == 36
    assert names["strongest"] in figures["systems"]
    assert len(names["epochs"]) == 2
