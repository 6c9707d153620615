"""Real runs in mixed precision and with XLA: they learn, and their weights are whole."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from recsys import files
from tests.processes import run

pytestmark = pytest.mark.slow


@pytest.mark.usefixtures("dataset")
@pytest.mark.parametrize(("precision", "xla"), [("bfloat16", True), ("float16", False)])
def test_a_run_learns_and_is_published(
    dataset_place: Path, tmp_path: Path, precision: str, xla: bool
) -> None:
    ended = run(
        [
            sys.executable, "jobs/train.py",
            "--paths.dataset", str(dataset_place), "--paths.model", str(tmp_path / "model"),
            "--train.precision", precision, "--train.xla", str(xla).lower(),
            # Whole row groups: XLA compiles anew for every shape of a batch.
            "--train.epochs", "3", "--train.batch_targets_per_rank", "1000",
            "--train.embedding_size", "8", "--train.learning_rate", "0.02",
            "--train.warmup_steps", "1",
        ],
        variables={"TF_CPP_MIN_LOG_LEVEL": "0"},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert ("Compiled cluster using XLA" in ended.stderr) == xla
    version = Path(files.local_copy(files.current(str(tmp_path / "model"), "")))
    lines = (version / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    assert losses[-1] < losses[0]
    arrays = np.load(version / "best" / "best.npz").values()
    assert {values.dtype for values in arrays} == {np.dtype(np.float32), np.dtype(np.int64)}
    assert all(np.isfinite(values).all() for values in np.load(version / "best/best.npz").values())
