"""What jobs/prepare.py costs on a log of any size, with the trouble that real ones have.

python benchmarks/prepare.py [--events 20000000] [--compare [others]]

On local[2] with 6 GiB: a driver of 4 with JAVA's options, the rest for Python's workers.
Sequences are sessions, in rows of 20 events, of which 10 are asked for at most. With these steps
on: mapping, validation and quarantine, duplicates, bots, sessions by gap, minimum support, split by
time, vocabulary, item statistics, sequences and the leakage certificate. The last line is JSON:
    events              of the log (benchmarks/logs.py)
    seconds             from the command to its end, without start_up
    cpu_microseconds_per_event
                        user and system time of the whole process tree (driver, JVM, Python's
                        workers) for an event, without start_up
    peak_mib            most memory of the tree at one time
    quarantined         rows at fault
    start_up_seconds, start_up_cpu_seconds
                        of the job on a log of 2,000 events, which is subtracted above
and with --compare (the first and the last two not with --compare others)
    cost_ratio_10x      processor time of 20M events over that of 2M
    times_sessions      processor time of 5M events over that of Spark alone parting them into
                        sessions (benchmarks/prepare_sessions.py), each without its start-up
    times_polars        seconds of 5M events, start-up and all, over those of the same steps by
                        hand (benchmarks/prepare_polars.py)
    peak_growth         peak memory with one user of 20 % of all events over that with 2 %, at 2M
    worker_growth       likewise of the largest of Spark's Python workers alone: in the whole's
                        peak, most of which is Java's heap, a user who is kept whole would not show
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import logs
from benchmarks.usage import Usage, measured
from recsys import manifest

_SMALL = 2_000

# Of a batch it counts how much gets done, and not how long it stands still.
JAVA = (
    "-XX:+UseParallelGC",
    "-XX:CompileThresholdScaling=3",  # of what runs for seconds alone less is compiled
    # Arrow then does not look at every access whether the memory is still there.
    "-Darrow.enable_unsafe_memory_access=true",
    "-Darrow.enable_null_check_for_get=false",
)

SPARK = [
    "spark-submit", "--master", "local[2]", "--driver-memory", "4g",
    "--driver-java-options", " ".join(JAVA),
]  # fmt: skip


def settings(events: int) -> list[str]:
    """Of the job, besides its paths: those of benchmarks/prepare_polars.py."""
    columns = {name: name for name in ("user_id", "item_id", "event_type", "timestamp", "price")}
    return [
        f"--events.columns={json.dumps(columns)}", "--events.timestamp_unit=ms",
        "--prepare.clean.duplicates=true",
        f"--prepare.clean.bot_events_per_day={bot_events_per_day(events)}",
        "--prepare.clean.min_item_events=5", "--prepare.clean.min_user_events=3",
        "--prepare.sequence_unit=session", "--prepare.sequence_length=20",
        "--prepare.sequence_target_events=10", "--prepare.rows_per_group=2048",
        "--prepare.item_statistics=true",
    ]  # fmt: skip


def bot_events_per_day(events: int) -> int:
    """A quarter of the bot's, and far above the events a day of the largest user."""
    return max(50, events // 400)


@dataclass(frozen=True)
class Run:
    """One run of the job."""

    usage: Usage
    quarantined: int


def job(folder: Path, events: int, heavy_share: float = 0.02) -> Run:
    log, dataset = folder / f"log-{events}-{heavy_share}", folder / f"dataset-{events}"
    logs.write_log(log, events, heavy_share=heavy_share)
    paths = [f"--events.path=[{log}]", f"--paths.dataset={dataset}"]
    usage = measured([*SPARK, "jobs/prepare.py", *paths, *settings(events)])
    made = manifest.read(str(dataset))
    print(f"{events} events: {usage.seconds:.1f} s, {usage.cpu_seconds:.1f} s of processors, "
          f"{usage.peak_mib:.0f} MiB", flush=True)  # fmt: skip
    return Run(usage, sum(made.quarantine.values()))


def by_hand(folder: Path, events: int) -> float:
    """Seconds of the same in Polars."""
    log = folder / f"log-{events}-0.02"
    limit = f"--bot_events_per_day={bot_events_per_day(events)}"
    script = ["python", "benchmarks/prepare_polars.py", str(log), str(folder / "polars"), limit]
    usage = measured(script, {"POLARS_MAX_THREADS": "2"})
    print(f"by hand: {usage.seconds:.1f} s, {usage.cpu_seconds:.1f} s of processors", flush=True)
    return usage.seconds


def sessions(folder: Path, events: int) -> float:
    """Processor seconds of parting the log of job() into sessions alone."""
    log, output = folder / f"log-{events}-0.02", folder / f"sessions-{events}"
    usage = measured([*SPARK, "benchmarks/prepare_sessions.py", str(log), str(output)])
    print(f"sessions alone of {events} events: {usage.cpu_seconds:.1f} s of processors", flush=True)
    return usage.cpu_seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000_000)
    parser.add_argument("--compare", nargs="?", const="all", choices=("all", "others"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(figures(Path(name), options.events, options.compare)))


def figures(folder: Path, events: int, compare: str | None) -> dict[str, float]:
    small, run = job(folder, _SMALL).usage, job(folder, events)
    cpu = run.usage.cpu_seconds - small.cpu_seconds
    found: dict[str, float] = {
        "events": events,
        "seconds": round(run.usage.seconds - small.seconds, 1),
        "cpu_microseconds_per_event": round(cpu / events * 1e6, 2),
        "peak_mib": round(run.usage.peak_mib),
        "quarantined": run.quarantined,
        "start_up_seconds": round(small.seconds, 1),
        "start_up_cpu_seconds": round(small.cpu_seconds, 1),
    }
    if compare:
        middle = run.usage if events == 5_000_000 else job(folder, 5_000_000).usage
        of_sessions = sessions(folder, 5_000_000) - sessions(folder, _SMALL)
        found["times_sessions"] = round((middle.cpu_seconds - small.cpu_seconds) / of_sessions, 2)
        found["times_polars"] = round(middle.seconds / by_hand(folder, 5_000_000), 2)
    if compare == "all":
        large = run.usage if events == 20_000_000 else job(folder, 20_000_000).usage
        tenth = run.usage if events == 2_000_000 else job(folder, 2_000_000).usage
        heavy = job(folder / "heavy", 2_000_000, heavy_share=0.2).usage
        ratio = (large.cpu_seconds - small.cpu_seconds) / (tenth.cpu_seconds - small.cpu_seconds)
        found["cost_ratio_10x"] = round(ratio, 2)
        found["peak_growth"] = round(heavy.peak_mib / tenth.peak_mib, 2)
        found["worker_growth"] = round(heavy.worker_mib / tenth.worker_mib, 2)
    return found


if __name__ == "__main__":
    main()
