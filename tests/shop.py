"""A small web shop: its log and catalogue as conf/shop.yaml maps them, and the jobs' outputs."""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
from pathlib import Path

from recsys import files
from tests.processes import ROOT, horovodrun, run, spark_submit

ACTIONS = ("view", "add_to_basket", "bought")
_DAY = 86_400_000
_START = 1_700_006_400_000  # midnight, milliseconds
_MISSED_FLOOR = ("--evaluate.floors", '{"recall@20": 1.5}')


class Shop:
    """A folder with a shop's input, and the arguments that make the jobs work in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_shop(folder / "input")
        self.arguments = [
            "--config", str(ROOT / "conf" / "shop.yaml"),
            "--events.path", f"[{folder}/input/events.csv]",
            "--items.path", f"[{folder}/input/products.json]",
            "--prepare.event_numbers", "{price: log}",
            "--train.event_inputs", "[event_type, gap, session_start, dwell, hour, again, price]",
            "--train.epochs", "3",
            "--train.early_stopping_metric", "purchase_auc",
            "--train.embedding_size", "16",
            "--score.lists", "[home, pairs]",
            "--score.pairs.path", f"[{folder}/input/pairs.json]",
            "--score.pairs.format", "json",
            "--score.user_vectors", "true",
        ]  # fmt: skip
        self.ended: dict[str, subprocess.CompletedProcess[str]] = {}
        for place in ("dataset", "model", "report", "recommendations"):
            self.arguments += [f"--paths.{place}", str(folder / place)]

    def run_all_jobs(self) -> None:
        """As a user of one machine runs them, with two ranks; evaluate misses its floor."""
        arguments = self.arguments
        commands = {
            "prepare": lambda: spark_submit("jobs/prepare.py", *arguments),
            "check": lambda: run([sys.executable, "jobs/train.py", "--check", *arguments]),
            "train": lambda: horovodrun(2, "jobs/train.py", *arguments),
            "evaluate": lambda: spark_submit("jobs/evaluate.py", *arguments, *_MISSED_FLOOR),
            "score": lambda: spark_submit("jobs/score.py", *arguments),
        }
        for name, command in commands.items():
            self.ended[name] = command()
            expected = 4 if name == "evaluate" else 0  # the report is written, a floor is missed
            assert self.ended[name].returncode == expected, (
                f"{name}: {self.ended[name].stderr[-3000:]}"
            )

    def current(self, place: str) -> Path:
        return Path(files.local_copy(files.current(str(self.folder / place), "")))

    def versions(self, place: str) -> list[str]:
        return files.names(files.as_url(str(self.folder / place / "versions")))


def write_shop(folder: Path, users: int = 80, items: int = 60, days: int = 14) -> None:
    """Writes events.csv, products.json and pairs.json (every visitor and the first products).

    After a product people tend to look at the next.
    """
    draw = random.Random(3)
    folder.mkdir(parents=True, exist_ok=True)
    events = []
    for user in range(users):
        for day in range(days):
            if draw.random() < 0.5:
                continue
            time = _START + day * _DAY + draw.randrange(_DAY // 2)
            item = draw.randrange(items)
            for _ in range(draw.randrange(2, 7)):
                action = draw.choices(ACTIONS, (8, 2, 1))[0]
                amount = f"{5 + item / 4:.2f}"
                told = [(time, action)]
                if action != "view":  # who takes a product has looked at it
                    told.append((time - 3_000, "view"))
                names = (f"visitor-{user}", f"product-{item}")
                events += [(*names, what, when, amount) for when, what in told]
                item = (item + 1) % items if draw.random() < 0.8 else draw.randrange(items)
                time += draw.randrange(5_000, 300_000)
    draw.shuffle(events)
    with (folder / "events.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("visitor", "product", "action", "time", "amount"))
        writer.writerows(events)
    lines = [
        json.dumps(
            {
                "product": f"product-{item}",
                "category": f"category-{item % 5}",
                "brand": f"brand-{item % 3}",
            }
        )
        for item in range(items)
    ]
    (folder / "products.json").write_text("\n".join(lines) + "\n")
    pairs = [
        json.dumps({"user_id": f"visitor-{user}", "item_id": f"product-{item}"})
        for user in range(users)
        for item in range(3)
    ]
    (folder / "pairs.json").write_text("\n".join(pairs) + "\n")
