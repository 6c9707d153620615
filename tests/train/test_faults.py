"""What happens to a run when something dies, and that it goes on exactly where it was."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest

from recsys import files
from recsys.errors import DataError
from tests.datasets import write_dataset
from tests.processes import (
    HANGS_SECONDS,
    ROOT,
    environment,
    horovod_command,
    kill_all,
    run,
    wait_for,
)

pytestmark = pytest.mark.slow

# Longer than ranks on a busy machine differ by in making their graphs.
_STALL_SECONDS = 20
# The mean of the last checkpoints may be better than the best epoch, and is refitted then, too.
REFIT = ("--train.refit", "true", "--train.average_checkpoints", "2")
# Of a stage: where its checkpoints and its metrics are; the last of what has to be saved before a
# rank of an elastic run is lost, of another epoch than the first where a stage is sure to have one;
# and what the one that is left says then. Before its first epoch nothing is saved to go on from.
_PLACES = {
    "choice": (
        "checkpoints", "metrics.jsonl", "epoch-00002-step-000000000.npz",
        r"going on with the choice of .* at epoch [2-6], step 0",
    ),
    "refit": (
        "refit", "refit.jsonl", "epoch-00001-step-000000000.npz",
        r"where epoch 1 was begun by 2 ranks: 1 begin it again"
        r"|going on with the refit of .* at epoch [2-6], step 0",
    ),
}  # fmt: skip


class Runs:
    """Training runs of two ranks on one small dataset."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_dataset(folder / "dataset", groups=4, rows_per_group=16)

    def start(
        self, model: str, *more: str, hosts: Sequence[str] = ("-np", "2")
    ) -> subprocess.Popen[bytes]:
        command = horovod_command(
            hosts, "jobs/train.py",
            "--paths.dataset", str(self.folder / "dataset"),
            "--paths.model", str(self.folder / model),
            "--train.epochs", "3", "--train.patience_epochs", "9",
            "--train.batch_targets_per_rank", "20", "--train.checkpoint_steps", "3",
            "--train.negatives", "10", "--train.embedding_size", "8",
            "--train.readout", "attention", "--train.lanes", "2", *more,
        )  # fmt: skip
        with (self.folder / f"{model}.log").open("wb") as log:
            return subprocess.Popen(
                command, cwd=ROOT, env=environment(), stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def run(self, model: str, *more: str) -> None:
        assert self.start(model, *more).wait(HANGS_SECONDS) == 0, self.log(model)[-3000:]

    def log(self, model: str) -> str:
        """What the last run for a model has said."""
        return (self.folder / f"{model}.log").read_text()

    def checkpoints(self, model: str, folder: str = "checkpoints") -> list[Path]:
        """Those that are finished, oldest first."""
        found = sorted((self.folder / model).glob(f"versions/*/{folder}/*.json"))
        return [path.with_suffix(".npz") for path in found]

    def version(self, model: str) -> Path:
        return Path(files.local_copy(files.current(str(self.folder / model), "")))

    def result(self, model: str) -> tuple[list[np.ndarray], list[dict[str, float]]]:
        """The last weights of both stages and of the best epoch, and the metrics of all epochs."""
        version = self.version(model)
        last = [sorted((version / name).glob("*.npz"))[-1] for name in ("checkpoints", "refit")]
        loaded = [np.load(path) for path in (*last, version / "best" / "best.npz")]
        weights = [arrays[name] for arrays in loaded for name in sorted(arrays.files)]
        lines = [
            line
            for name in ("metrics.jsonl", "refit.jsonl")
            for line in (version / name).read_text().splitlines()
        ]
        return weights, [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="module")
def undisturbed(runs: Runs) -> str:
    """A model, of a run that nothing happened to."""
    runs.run("undisturbed", *REFIT)
    return "undisturbed"


def _ranks_of(launcher: subprocess.Popen[bytes]) -> list[psutil.Process]:
    below = psutil.Process(launcher.pid).children(recursive=True)
    return [process for process in below if _is_rank(process)]


def _is_rank(process: psutil.Process) -> bool:
    command = process.cmdline()
    return command[:1] == [sys.executable] and command[1:2] == ["jobs/train.py"]


def _rank_zero(launcher: subprocess.Popen[bytes]) -> psutil.Process:
    """Of an elastic run, in which either host may have it: its guard says whom it guards."""
    below = psutil.Process(launcher.pid).children(recursive=True)
    commands = [process.cmdline()[1:] for process in below]
    [guarded] = [command[3] for command in commands
                 if command[:3] == ["-m", "recsys.train.guard", "0"]]  # fmt: skip
    return psutil.Process(int(guarded))


def _until_saved(
    runs: Runs, model: str, launcher: subprocess.Popen[bytes], folder: str = "checkpoints",
    after: str = "epoch-00001-step-000000003.npz",
) -> None:  # fmt: skip
    """Waits until a run has a finished checkpoint behind that of the name."""
    end = time.monotonic() + HANGS_SECONDS
    while not any(path.name > after for path in runs.checkpoints(model, folder)):
        assert time.monotonic() < end, "waited too long"
        assert launcher.poll() is None, runs.log(model)[-3000:]
        time.sleep(0.02)


def test_killed_and_damaged_runs_go_on_as_if_never_stopped(runs: Runs, undisturbed: str) -> None:
    # A rank dies while the epochs are chosen, and the last checkpoint has a bit flipped.
    launcher = runs.start("killed", *REFIT)
    _until_saved(runs, "killed", launcher)
    killed = time.monotonic()
    _ranks_of(launcher)[1].send_signal(signal.SIGKILL)
    assert launcher.wait(timeout=HANGS_SECONDS) != 0
    assert time.monotonic() - killed < 10
    assert not (runs.folder / "killed" / files.POINTER).exists()
    last = runs.checkpoints("killed")[-1]
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(content)

    # All die in the refit, and the last checkpoint is cut short.
    launcher = runs.start("killed", *REFIT, "--train.resume", "true")
    _until_saved(runs, "killed", launcher, "refit")
    assert f"{last.name}: expected the content that was written" in runs.log("killed")
    assert "found another hash; the checkpoint before it is tried" in runs.log("killed")
    kill_all(launcher)
    last = runs.checkpoints("killed", "refit")[-1]
    last.write_bytes(last.read_bytes()[:-100])

    runs.run("killed", *REFIT, "--train.resume", "true")
    assert f"{last.name}: expected the content that was written" in runs.log("killed")
    assert len(list((runs.folder / "killed" / "versions").iterdir())) == 1
    (weights, metrics), (expected, expected_metrics) = map(runs.result, ("killed", undisturbed))
    for values, wanted in zip(weights, expected, strict=True):
        np.testing.assert_allclose(values, wanted, atol=1e-6)
    for found, hoped in zip(metrics, expected_metrics, strict=True):
        for name in found.keys() & {"epoch", "loss", "recall@20", "mrr@20"}:
            assert found[name] == pytest.approx(hoped[name], abs=1e-5)


@pytest.mark.parametrize(
    ("what", "stage"), [("dies", "choice"), ("stands-still", "choice"), ("dies", "refit")]
)
def test_an_elastic_run_survives_when_the_rank_that_writes(
    runs: Runs, what: str, stage: str
) -> None:
    model = f"elastic-{what}-in-{stage}"
    refit = ("--train.refit", "true") if stage == "refit" else ()
    launcher = runs.start(
        model, "--train.epochs", "6", "--train.stall_seconds", str(_STALL_SECONDS), *refit,
        hosts=("-np", "2", "--min-np", "1", "--max-np", "2", "-H", "localhost:1,127.0.0.1:1"),
    )  # fmt: skip
    # Two ranks have done a part of an epoch, which the one that is left begins again.
    folder, metrics, started, goes_on = _PLACES[stage]
    try:
        _until_saved(runs, model, launcher, folder, started)
        _rank_zero(launcher).send_signal(signal.SIGKILL if what == "dies" else signal.SIGSTOP)
        assert launcher.wait(timeout=HANGS_SECONDS) == 0, runs.log(model)[-3000:]
    finally:
        kill_all(launcher)
    log = runs.log(model)
    missing = rf"expected all 2 ranks at \S+; found no rank 0 in {_STALL_SECONDS} seconds; the run"
    assert bool(re.search(missing, log)) == (what == "stands-still"), log[-3000:]
    assert "ranks have changed: this is rank 0 of 1" in log
    assert re.search(goes_on, log)
    # Rows of every epoch are counted against the manifest, or the job would have failed.
    version = runs.version(model)
    about = json.loads((version / "model.json").read_text())
    epochs = 6 if stage == "choice" else about["best"]["epoch"]
    lines = (version / metrics).read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [*range(1, epochs + 1)]
    assert about["ranks"] == 1
    assert len(list((runs.folder / model / "versions").iterdir())) == 1


def test_an_elastic_run_that_loses_a_rank_while_it_exports_trains_nothing_again(runs: Runs) -> None:
    launcher = runs.start(
        "exporting", "--train.stall_seconds", str(_STALL_SECONDS),
        hosts=("-np", "2", "--min-np", "1", "--max-np", "2", "-H", "localhost:1,127.0.0.1:1"),
    )  # fmt: skip
    place = runs.folder / "exporting"
    try:
        wait_for(lambda: any(place.glob("versions/*/export/*")), launcher)
        zero = _rank_zero(launcher).pid
        [other] = [rank for rank in _ranks_of(launcher) if rank.pid != zero]
        other.send_signal(signal.SIGKILL)
        assert launcher.wait(timeout=HANGS_SECONDS) == 0, runs.log("exporting")[-3000:]
    finally:
        kill_all(launcher)
    assert not re.search("going on with|a new one is begun", runs.log("exporting"))
    [version] = (place / "versions").iterdir()
    assert version == runs.version("exporting")


def test_an_elastic_run_grows_where_a_host_comes(runs: Runs) -> None:
    hosts = runs.folder / "hosts.sh"
    hosts.write_text("echo localhost:1\n")
    discovery = runs.folder / "discovery.sh"
    discovery.write_text(f"#!/bin/sh\n. {hosts}\n")
    discovery.chmod(0o755)
    launcher = runs.start(
        "growing", "--train.epochs", "100000", "--train.patience_epochs", "100000",
        hosts=("-np", "1", "--min-np", "1", "--max-np", "2",
               "--host-discovery-script", str(discovery)),
    )  # fmt: skip
    try:
        _until_saved(runs, "growing", launcher, after="epoch-00002")
        hosts.write_text("echo localhost:1\necho 127.0.0.1:1\n")
        together = "ranks have changed: this is rank 0 of 2"
        wait_for(lambda: together in runs.log("growing"), launcher)
        _until_saved(runs, "growing", launcher, after=runs.checkpoints("growing")[-1].name)
        assert len(_ranks_of(launcher)) == 2
    finally:
        kill_all(launcher)
    # Rows of every epoch are counted against the manifest, or the job would have failed.
    [version] = (runs.folder / "growing" / "versions").iterdir()
    lines = (version / "metrics.jsonl").read_text().splitlines()
    epochs = [json.loads(line)["epoch"] for line in lines]
    assert epochs == [*range(1, len(epochs) + 1)]
    since = re.search(r"going on with the choice of .* at epoch (\d+), step 0", runs.log("growing"))
    assert since is not None
    assert int(since[1]) > 2


def test_a_rank_that_stands_still_is_named_and_ends_the_job(runs: Runs, undisturbed: str) -> None:
    endless = ("--train.epochs", "100000", "--train.patience_epochs", "100000")
    endless += ("--train.stall_seconds", str(_STALL_SECONDS))
    warm = ("--train.warm_start", str(runs.folder / undisturbed))
    halted = runs.start("halted", *endless, *warm)
    try:
        _until_saved(runs, "halted", halted)
        [second] = [rank for rank in _ranks_of(halted) if rank.environ()["HOROVOD_RANK"] == "1"]
        second.send_signal(signal.SIGSTOP)
        assert halted.wait(timeout=HANGS_SECONDS) != 0
    finally:
        kill_all(halted)

    missing = rf"rank 0: expected all 2 ranks at \S+; found no rank 1 in {_STALL_SECONDS} seconds"
    assert re.search(missing, runs.log("halted")), runs.log("halted")[-3000:]
    assert "which knows 40 of 40 items" in runs.log("halted")  # the warm start, on two ranks
    assert not second.is_running() or second.status() == psutil.STATUS_ZOMBIE
    assert not (runs.folder / "halted" / files.POINTER).exists()


# A disk that answers no more: the third row group that is read is waited for for ever.
_SILENT = """if True:
    import itertools, runpy, sys, threading
    import pyarrow.parquet as pq

    read, groups = pq.ParquetFile.read_row_group, itertools.count()

    def waiting(*given, **named):
        if next(groups) == 2:
            threading.Event().wait()
        return read(*given, **named)

    pq.ParquetFile.read_row_group = waiting
    sys.argv[:] = ["jobs/train.py", *sys.argv[1:]]
    runpy.run_path("jobs/train.py", run_name="__main__")
"""


def test_a_reader_that_falls_silent_is_named_and_ends_the_job(runs: Runs) -> None:
    own = write_dataset(runs.folder / "silent", groups=4, rows_per_group=16)
    ended = run([
        sys.executable, "-c", _SILENT, "--paths.dataset", str(runs.folder / "silent"),
        "--paths.model", str(runs.folder / "waiting"), "--train.batch_targets_per_rank", "20",
        "--train.checkpoint_steps", "1", "--train.stall_seconds", "5",
    ])  # fmt: skip
    assert ended.returncode == DataError.exit_code, ended.stderr[-3000:]
    said = (
        rf"rank 0: expected a batch of train of {own.url}, (\d+) of which came; found none in 5 s"
    )
    assert re.search(said, ended.stderr), ended.stderr[-3000:]
    assert runs.checkpoints("waiting")  # to go on from
    assert not (runs.folder / "waiting" / files.POINTER).exists()


def test_a_reader_that_stops_is_named_and_ends_the_job(runs: Runs) -> None:
    own = write_dataset(runs.folder / "stopping", groups=4, rows_per_group=16)
    url = own.file_urls("train")[2]
    reading = runs.start(
        "reading", "--train.epochs", "100000", "--train.patience_epochs", "100000",
        "--paths.dataset", str(runs.folder / "stopping"), hosts=("-np", "1"),
    )  # fmt: skip
    try:
        _until_saved(runs, "reading", reading)
        Path(files.local_copy(url)).unlink()
        assert reading.wait(timeout=HANGS_SECONDS) != 0
    finally:
        kill_all(reading)
    gone = f"{url}: expected a row group of 16 rows, found FileNotFoundError"
    assert gone in runs.log("reading"), runs.log("reading")[-3000:]
    assert not (runs.folder / "reading" / files.POINTER).exists()
