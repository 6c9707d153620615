"""A small log as rows of text, and the configuration that prepares it."""

from __future__ import annotations

import csv
import json
import random
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from recsys.config import Config, EventColumns, Events, Paths, Prepare

DAY = 86_400
START = 1_700_006_400  # midnight
COLUMNS = ("who", "what", "did", "when", "paid", "pieces")

Row = tuple[str, str, str, str, str, str]


def log_rows(users: int = 30, days: int = 10, seed: int = 0) -> list[Row]:
    """Views, carts and purchases; some happen at the same instant."""
    draw = random.Random(seed)
    rows: list[Row] = []
    for user in range(users):
        for day in range(days):
            time = START + day * DAY + draw.randrange(DAY // 2)
            for _ in range(draw.randrange(4)):
                for item in draw.sample(range(25), draw.choice((1, 1, 2, 3))):
                    action = draw.choice(("view", "view", "cart", "purchase"))
                    rows.append((f"u{user}", f"i{item:02}", action, str(time), "1.50", "1"))
                time += draw.choice((60, 600, 7200))
    draw.shuffle(rows)
    return rows


def write_csv(path: Path, rows: list[Row], header: bool = True) -> Path:
    """One CSV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([COLUMNS, *rows] if header else rows)
    return path


def write_json(path: Path, rows: list[Row]) -> Path:
    """JSON lines, with the times as numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    path.write_text("".join(json.dumps({**row, "when": int(row["when"])}) + "\n" for row in lines))
    return path


def write_parquet(path: Path, rows: list[Row]) -> Path:
    """One Parquet file with types, as another program would write it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = dict(zip(COLUMNS, map(list, zip(*rows, strict=True)), strict=True))
    table = pa.table(
        {
            **columns,
            "when": pa.array([int(time) for time in columns["when"]], pa.int64()),
            "paid": pa.array([float(paid) for paid in columns["paid"]], pa.float64()),
            "pieces": pa.array([int(count) for count in columns["pieces"]], pa.int32()),
        }
    )
    pq.write_table(table, path)
    return path


def small_config(folder: Path, *logs: Path, **events: object) -> Config:
    """The configuration for logs like these; further keys of the events section may be given."""
    section = Events(
        path=tuple(map(str, logs)),
        format="csv",
        options={"header": "true"},
        columns=EventColumns(
            user_id="who",
            item_id="what",
            event_type="did",
            timestamp="when",
            price="paid",
            quantity="pieces",
        ),
        timestamp_unit="s",
    )
    return Config(
        seed=3,
        paths=Paths(dataset=str(folder / "dataset")),
        events=replace(section, **events),  # type: ignore[arg-type]
        prepare=Prepare(
            valid_days=2,
            test_days=2,
            vocabulary_min_count=2,
            sequence_length=16,
            sequence_target_events=8,
            rows_per_group=16,
            groups_multiple_of=2,
        ),
    )
