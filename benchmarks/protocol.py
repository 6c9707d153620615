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

from recsys import files
from recsys.command import parse, parser

SHARED = ROOT.parent / "shared" / "data"
_CHOICE = "choice.json"
# Whatever the configuration says of one.
_WITHOUT_CATALOGUE = (
    "--items.path=[]", "--items.attributes={}", "--train.item_features=[]",
    "--prepare.vocabulary_tail=valid",
)  # fmt: skip
_SPARK = ("spark-submit", "--master", "local[2]", "--driver-memory", "3g")


def arguments(purpose: str | None, events: Path, items: Path | None = None) -> argparse.Namespace:
    """The command line of a protocol's benchmark; paths are whole, as the jobs run elsewhere.

    Args:
        purpose: the benchmark's docstring
        events: where the log is, unless told
        items: where that log's catalogue is; another log has none, unless told
    """
    line = argparse.ArgumentParser(
        description=purpose, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    line.add_argument("--events", type=_path, default=events.resolve(), help="the log")
    line.add_argument("--items", type=_path, help="the catalogue")
    line.add_argument(
        "--ranks", type=int, default=1, help="that horovodrun starts, and that share a batch"
    )
    line.add_argument(
        "--step", choices=("both", "choose", "test"), default="both",
        help="choose: stop before test is read; test: go on from there, in the same --work",
    )  # fmt: skip
    line.add_argument("--work", type=_path, help="a folder that stays; else one that goes")
    line.add_argument("more", nargs="*", help="overrides of the configuration: --key=value")
    options, unknown = line.parse_known_args()
    options.more += unknown
    if options.items is None and options.events == events.resolve():
        options.items = items
    elif options.items is None and items is not None:
        print("no --items: this log is taken without a catalogue", file=sys.stderr)
    return options


def _path(text: str) -> Path:
    return Path(text).resolve()


def run(conf: str, metrics: dict[str, str], options: argparse.Namespace) -> None:
    """Runs the protocol and prints its figures as one line of JSON.

    Args:
        conf: the configuration's name
        metrics: the printed name to the report's name and list length, such as recall@20
        options: of arguments()

    Raises:
        SystemExit: a job failed, or the choice was not written down before test
    """
    if options.work is None and options.step != "both":
        sys.exit(f"--step {options.step}: expected --work FOLDER, where the choice stays")
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        settings = _settings(conf, options, work)
        figures: dict[str, float] = {}
        if options.step != "test":
            figures |= choose(settings, options.ranks, work)
        if options.step != "choose":
            figures = read_test(settings, metrics, work) | figures
        seconds = [value for name, value in figures.items() if name.endswith("_seconds")]
        print(json.dumps({**figures, "seconds": round(sum(seconds), 1)}))


def _settings(conf: str, options: argparse.Namespace, work: Path) -> list[str]:
    """What all jobs are told. Several ranks share the batch and the lanes of one."""
    paths = [
        f"--paths.{name}={work / name}"
        for name in ("dataset", "model", "report", "recommendations")
    ]
    configured = str(ROOT / "conf" / f"{conf}.yaml")
    settings = ["--config", configured, *paths, f"--events.path=[{options.events}]"]
    settings += _WITHOUT_CATALOGUE if options.items is None else [f"--items.path=[{options.items}]"]
    settings += options.more
    train = parse(parser("train", ""), settings)[0].train
    batch, lanes = (
        max(1, own // options.ranks) for own in (train.batch_targets_per_rank, train.lanes)
    )
    return [*settings, f"--train.lanes={lanes}", f"--train.batch_targets_per_rank={batch}"]


def choose(settings: list[str], ranks: int, work: Path) -> dict[str, float]:
    """Prepares and trains; the model and what validation said of it are written down, last.

    A choice that was written down before counts no longer.
    """
    (work / _CHOICE).unlink(missing_ok=True)
    launcher = [sys.executable, ".make/horovodrun_local.py", "-np", str(ranks)]
    seconds = {
        "prepare_seconds": job([*_SPARK, "jobs/prepare.py", *settings]),
        "train_seconds": job([*launcher, sys.executable, "jobs/train.py", *settings]),
    }
    about = _model(work)
    chosen = {"model_version": about["model_version"], "validation": about["best"],
              "settings": settings}  # fmt: skip
    (work / _CHOICE).write_text(json.dumps(chosen, indent=2))
    return {**seconds, "epochs": float(about["best"]["epoch"])}


def read_test(settings: list[str], metrics: dict[str, str], work: Path) -> dict[str, float]:
    """Evaluates on test, with the model that was chosen and no other.

    Raises:
        SystemExit: no choice was written down, or that of another model or of other settings; test
            was not read
    """
    choice = work / _CHOICE
    if not choice.exists():
        sys.exit(f"{choice}: expected the choice by validation before test is read, found none")
    written, found = json.loads(choice.read_text()), _model(work)["model_version"]
    if written["model_version"] != found:
        sys.exit(
            f"{choice}: expected the choice of model {found}, found that of "
            f"{written['model_version']}"
        )
    if written.get("settings") != settings:
        sys.exit(f"{choice}: expected the settings {settings}, found {written.get('settings')}")
    seconds = job([*_SPARK, "jobs/evaluate.py", *settings])
    report = files.current(str(work / "report"), "jobs/evaluate.py")
    found = files.read_json(files.join(report, "metrics.json"))
    of_model = found["systems"]["model"]
    figures = {name: round(of_model[key], 4) for name, key in metrics.items()}
    return {**figures, "cases": found["measured_cases"], "evaluate_seconds": seconds}


def job(command: list[str]) -> float:
    print("$", " ".join(command), file=sys.stderr, flush=True)
    started = time.monotonic()
    ended = subprocess.run(
        [".make/run.sh", *command], cwd=ROOT, stdout=sys.stderr, env={**os.environ}, check=False
    )
    if ended.returncode:
        sys.exit(f"{command[0]}: exit code {ended.returncode}")
    return round(time.monotonic() - started, 1)


def _model(work: Path) -> dict[str, Any]:
    model = files.current(str(work / "model"), "jobs/train.py")
    return dict(files.read_json(files.join(model, "model.json")))
