"""A small web shop's log and catalogue, as conf/shop.yaml maps them."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

ACTIONS = ("view", "add_to_basket", "bought")
_DAY = 86_400_000
_START = 1_700_006_400_000  # midnight, milliseconds


def write_shop(folder: Path, users: int = 80, items: int = 60, days: int = 14) -> None:
    """Writes events.csv and products.json; after a product people tend to look at the next."""
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
                events.append((f"visitor-{user}", f"product-{item}", action, time, amount))
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
