"""Cases a second of jobs/evaluate.py, and whether its cost rises faster than they do.

python benchmarks/evaluate.py [--cases 1000000 --items 100000 --dimensions 100]

Random histories of 1 to 50 events, each followed by one target: a user, a row and a case each. A
row begins with its user's first step, so that no earlier events have to be joined to it. One
system, a model with drawn weights, ranks every item for every case, on local[2]; then all metrics
with their intervals, all slices but that of platforms, which are not logged, and the report. Test
lasts four days, with new and returning users; events are of two types, and items of twenty
categories, a tenth of them new. The last line is JSON:
    cases_per_second    over the whole job, start-up included
    peak_mib            of the job's processes together, at one time
    cost_ratio_10x      seconds for all cases over seconds for a tenth of them, start-up (a run for
                        256 cases) subtracted
    slices              that the report of all cases has
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import synthetic
from benchmarks.usage import Usage, measured
from recsys import files

START_UP_CASES = 256


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--dimensions", type=int, default=100)
    parser.add_argument("--driver_memory", default="2g")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(figures(options, Path(folder))))


def figures(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    counts = (START_UP_CASES, options.cases // 10, options.cases)
    places = {count: folder / f"dataset-{count}" for count in counts}
    for count, place in places.items():
        synthetic.write_cases(place, count, options.items)
    model = folder / "model"
    synthetic.write_model(model, places[START_UP_CASES], options.dimensions)
    start_up, tenth, whole = (
        job(place, model, folder / f"report-{count}", options.driver_memory)
        for count, place in places.items()
    )
    ratio = (whole.seconds - start_up.seconds) / (tenth.seconds - start_up.seconds)
    return {
        "cases_per_second": round(options.cases / whole.seconds, 1),
        "peak_mib": round(whole.peak_mib),
        "cost_ratio_10x": round(ratio, 2),
        "seconds": round(whole.seconds, 1),
        "start_up_seconds": round(start_up.seconds, 1),
        "cpu_seconds": round(whole.cpu_seconds, 1),
        "slices": slices(folder / f"report-{options.cases}"),
    }


def job(dataset: Path, model: Path, report: Path, driver_memory: str) -> Usage:
    """What a run of the job used."""
    settings = [
        f"--paths.dataset={dataset}", f"--paths.model={model}", f"--paths.report={report}",
        "--evaluate.references=[]",
    ]  # fmt: skip
    submit = ["spark-submit", "--master", "local[2]", "--driver-memory", driver_memory]
    used = measured([*submit, "jobs/evaluate.py", *settings])
    print(f"{dataset.name}: {used.seconds:.1f} s, {used.peak_mib:.0f} MiB", flush=True)
    return used


def slices(report: Path) -> list[str]:
    """Those that a report parts its cases by."""
    version = files.current(str(report), "jobs/evaluate.py")
    found = files.read_json(files.join(version, "metrics.json"))["slices"]
    return list(dict.fromkeys(part["slice"] for part in found))


if __name__ == "__main__":
    main()
