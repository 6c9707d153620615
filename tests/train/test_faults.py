"""What happens to a run when something dies, and that it goes on exactly where it was."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from recsys import files
from tests.datasets import write_dataset
from tests.processes import ROOT, environment, horovod_command

pytestmark = pytest.mark.slow

_DEADLINE_SECONDS = 120


class Runs:
    """Training runs of two ranks on one small dataset."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_dataset(folder / "dataset", groups=4, rows_per_group=16)

    def command(self, model: str, *more: str) -> list[str]:
        return horovod_command(
            2, "jobs/train.py",
            "--paths.dataset", str(self.folder / "dataset"),
            "--paths.model", str(self.folder / model),
            "--train.epochs", "3", "--train.patience_epochs", "9",
            "--train.batch_targets_per_rank", "20", "--train.checkpoint_steps", "3",
            "--train.negatives", "10", "--train.embedding_size", "8", *more,
        )  # fmt: skip

    def run(self, model: str, *more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(model, *more), env=environment(), cwd=ROOT, capture_output=True, text=True,
            timeout=_DEADLINE_SECONDS,
        )  # fmt: skip

    def start(self, model: str, *more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(model, *more), env=environment(), cwd=ROOT, text=True,
            start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip

    def checkpoints(self, model: str) -> list[Path]:
        return sorted((self.folder / model).glob("versions/*/checkpoints/*.json"))

    def final(self, model: str) -> tuple[dict[str, np.ndarray], list[dict[str, float]]]:
        """The weights of the last epoch's checkpoint, and the metrics of all epochs."""
        version = Path(files.local_copy(files.current(str(self.folder / model), "")))
        last = sorted((version / "checkpoints").glob("*.npz"))[-1]
        lines = (version / "metrics.jsonl").read_text().splitlines()
        return dict(np.load(last)), [json.loads(line) for line in lines]

    def refitted(self, model: str) -> dict[str, np.ndarray]:
        """The weights after the refit, which was on train and validation."""
        version = Path(files.local_copy(files.current(str(self.folder / model), "")))
        about = json.loads((version / "model.json").read_text())
        assert about["trained_on"] == ["train", "valid"]
        epochs = (version / "refit.jsonl").read_text().splitlines()
        assert len(epochs) == about["best"]["epoch"]
        return dict(np.load(sorted((version / "refit").glob("*.npz"))[-1]))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    made = Runs(tmp_path_factory.mktemp("faults"))
    ended = made.run("undisturbed")
    assert ended.returncode == 0, ended.stderr[-2000:]
    return made


def _ranks_of(launcher: subprocess.Popen[str]) -> list[psutil.Process]:
    below = psutil.Process(launcher.pid).children(recursive=True)
    return [process for process in below if _is_rank(process)]


def _is_rank(process: psutil.Process) -> bool:
    command = process.cmdline()
    return command[:1] == [sys.executable] and command[1:2] == ["jobs/train.py"]


def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + _DEADLINE_SECONDS
    while not holds():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def _same_as_undisturbed(runs: Runs, model: str) -> None:
    weights, metrics = runs.final(model)
    expected, expected_metrics = runs.final("undisturbed")
    assert weights.keys() == expected.keys()
    for name, values in weights.items():
        np.testing.assert_allclose(values, expected[name], atol=1e-6, err_msg=name)
    for found, wanted in zip(metrics, expected_metrics, strict=True):
        for name in ("epoch", "loss", "recall@20", "mrr@20"):
            assert found[name] == pytest.approx(wanted[name], abs=1e-5)


def test_a_rank_that_is_killed_ends_the_job_and_a_resumed_run_is_as_if_never_stopped(
    runs: Runs,
) -> None:
    launcher = runs.start("killed_rank")
    _until(lambda: len(runs.checkpoints("killed_rank")) > 0)
    killed = time.monotonic()
    _ranks_of(launcher)[1].send_signal(signal.SIGKILL)
    assert launcher.wait(timeout=_DEADLINE_SECONDS) != 0
    assert time.monotonic() - killed < 10
    assert not (runs.folder / "killed_rank" / files.POINTER).exists()

    ended = runs.run("killed_rank", "--train.resume", "true")
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert "going on with" in ended.stderr
    assert len(list((runs.folder / "killed_rank" / "versions").iterdir())) == 1
    _same_as_undisturbed(runs, "killed_rank")


def test_all_killed_and_a_damaged_checkpoint_goes_on_from_the_one_before(runs: Runs) -> None:
    launcher = runs.start("killed_all")
    _until(lambda: len(runs.checkpoints("killed_all")) > 1)
    ranks = _ranks_of(launcher)
    for process in (psutil.Process(launcher.pid), *ranks):
        process.send_signal(signal.SIGKILL)
    psutil.wait_procs(ranks, timeout=_DEADLINE_SECONDS)
    launcher.wait(timeout=_DEADLINE_SECONDS)
    last = runs.checkpoints("killed_all")[-1].with_suffix(".npz")
    last.write_bytes(last.read_bytes()[:-100])

    ended = runs.run("killed_all", "--train.resume", "true")
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert "found another hash; the checkpoint before it is tried" in ended.stderr
    _same_as_undisturbed(runs, "killed_all")


def test_a_run_of_another_configuration_is_not_gone_on_with(runs: Runs) -> None:
    shutil.copytree(runs.folder / "undisturbed", runs.folder / "other")
    (runs.folder / "other" / files.POINTER).unlink()
    for model in (runs.folder / "other").glob("versions/*/model.json"):
        model.unlink()  # unfinished, as far as anybody can tell
    ended = runs.run("other", "--train.resume", "true", "--train.learning_rate", "0.01")
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert "going on with" not in ended.stderr
    assert len(list((runs.folder / "other" / "versions").iterdir())) == 2


def test_a_failed_run_leaves_the_former_model_current(runs: Runs) -> None:
    place = str(runs.folder / "undisturbed")
    before = files.current(place, "")
    ended = runs.run("undisturbed", "--train.learning_rate", "1e30", "--train.clip_norm", "1e30")
    assert ended.returncode != 0
    assert "expected a finite loss, found" in ended.stderr
    assert files.current(place, "") == before


def test_a_refit_that_is_stopped_goes_on_as_if_never_stopped(runs: Runs) -> None:
    launcher = runs.start("refit", "--train.refit", "true")
    _until(lambda: bool(list((runs.folder / "refit").glob("versions/*/refit/*.json"))))
    ranks = _ranks_of(launcher)
    for process in (psutil.Process(launcher.pid), *ranks):
        process.send_signal(signal.SIGKILL)
    psutil.wait_procs(ranks, timeout=_DEADLINE_SECONDS)
    launcher.wait(timeout=_DEADLINE_SECONDS)
    for model, more in (("refit", ("--train.resume", "true")), ("refit_undisturbed", ())):
        ended = runs.run(model, "--train.refit", "true", *more)
        assert ended.returncode == 0, ended.stderr[-2000:]
    found, expected = (runs.refitted(model) for model in ("refit", "refit_undisturbed"))
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-6, err_msg=name)
