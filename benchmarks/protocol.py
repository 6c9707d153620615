"""A published protocol through the jobs themselves: prepare, train, choose, and only then test."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from recsys import files  # noqa: E402

SHARED = ROOT.parent / "shared" / "data"
_CHOICE = "choice.json"


def arguments(purpose: str | None, events: Path, items: Path | None = None) -> argparse.Namespace:
    """The command line of a protocol's benchmark.

    Args:
        purpose: the benchmark's docstring
        events: where the log is, unless told
        items: where the catalogue is, unless told; None where the protocol has none
    """
    parser = argparse.ArgumentParser(
        description=purpose, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=Path, default=events, help="the log")
    if items is not None:
        parser.add_argument("--items", type=Path, default=items, help="the catalogue")
    parser.add_argument("--ranks", type=int, default=1, help="that horovodrun starts")
    parser.add_argument("--work", type=Path, help="a folder that stays; else one that goes")
    parser.add_argument("more", nargs="*", help="overrides of the configuration: --key=value")
    options, unknown = parser.parse_known_args()
    options.more += unknown
    return options


def run(conf: str, metrics: dict[str, str], options: argparse.Namespace) -> None:
    """Runs the protocol and prints its figures as one line of JSON.

    Args:
        conf: the configuration's name
        metrics: the printed name to the report's name and list length, such as recall@20
        options: of arguments()

    Raises:
        SystemExit: a job failed, or the choice was not written down before test
    """
    with tempfile.TemporaryDirectory() as temporary:
        print(json.dumps(_figures(conf, metrics, options, options.work or Path(temporary))))


def _figures(
    conf: str, metrics: dict[str, str], options: argparse.Namespace, work: Path
) -> dict[str, float]:
    started = time.monotonic()
    paths = [
        f"--paths.{name}={work / name}"
        for name in ("dataset", "model", "report", "recommendations")
    ]
    settings = ["--config", f"conf/{conf}.yaml", *paths, f"--events.path=[{options.events}]"]
    if getattr(options, "items", None):
        settings.append(f"--items.path=[{options.items}]")
    settings += options.more
    spark = ["spark-submit", "--master", "local[2]", "--driver-memory", "3g"]
    ranks = [sys.executable, ".make/horovodrun_local.py", "-np", str(options.ranks)]
    seconds = {
        "prepare_seconds": job([*spark, "jobs/prepare.py", *settings]),
        "train_seconds": job([*ranks, sys.executable, "jobs/train.py", *settings]),
    }
    _write_choice(work)
    seconds["evaluate_seconds"] = _evaluate([*spark, "jobs/evaluate.py", *settings], work)
    report = files.read_json(
        files.join(files.current(str(work / "report"), "jobs/evaluate.py"), "metrics.json")
    )
    found = {name: report["systems"]["model"][key] for name, key in metrics.items()}
    return {
        **{name: round(value, 4) for name, value in found.items()},
        "seconds": round(time.monotonic() - started, 1),
        **{name: round(value, 1) for name, value in seconds.items()},
        "epochs": float(_chosen(work)["validation"]["epoch"]),
    }


def job(command: list[str]) -> float:
    print("$", " ".join(command), file=sys.stderr, flush=True)
    started = time.monotonic()
    ended = subprocess.run(
        [".make/run.sh", *command], cwd=ROOT, stdout=sys.stderr, env={**os.environ}, check=False
    )
    if ended.returncode:
        sys.exit(f"{command[0]}: exit code {ended.returncode}")
    return time.monotonic() - started


def _write_choice(work: Path) -> None:
    """What validation chose, as it stands before test is read."""
    about = _model(work)
    chosen = {"model_version": about["model_version"], "validation": about["best"]}
    (work / _CHOICE).write_text(json.dumps(chosen, indent=2))


def _model(work: Path) -> dict[str, Any]:
    model = files.current(str(work / "model"), "jobs/train.py")
    return dict(files.read_json(files.join(model, "model.json")))


def _chosen(work: Path) -> dict[str, Any]:
    choice = work / _CHOICE
    if not choice.exists():
        sys.exit(f"{choice}: expected the choice by validation before test is read, found none")
    return dict(json.loads(choice.read_text()))


def _evaluate(command: list[str], work: Path) -> float:
    """Reads test, with the model that was chosen and no other."""
    chosen, found = _chosen(work)["model_version"], _model(work)["model_version"]
    if chosen != found:
        sys.exit(f"{work / _CHOICE}: expected the choice of model {found}, found {chosen}")
    return job(command)
