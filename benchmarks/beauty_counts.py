"""What popularity finds of Beauty by what is counted, and by how ties are broken, in plain NumPy.

python benchmarks/beauty_counts.py --data FOLDER

FOLDER holds beauty/events.parquet and items.parquet. A line is HR@10: with ties against popularity,
as in the benchmarks, broken by the items' order, and in its favour. Published: 0.0152.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

K, MOST_INPUT = 10, 50
LEFT_OUT = {"train": 2, "train and validation": 1, "train, validation and test": 0}

Longs = npt.NDArray[np.int64]


def read(folder: Path) -> tuple[list[Longs], int]:
    """The items of each user, in time, and how many there are."""
    events = pd.read_parquet(folder / "events.parquet")
    events = events.sort_values(["user_id", "timestamp"], kind="stable")
    items = pd.read_parquet(folder / "items.parquet").item_id
    known = pd.Index(np.union1d(items.unique(), events.item_id.unique()))
    item, user = known.get_indexer(events.item_id), events.user_id.to_numpy()
    return np.split(item, np.nonzero(user[1:] != user[:-1])[0] + 1), len(known)


def hit_rates(users: list[Longs], items: int, left_out: int) -> npt.NDArray[np.float64]:
    """With ties against popularity, by order, and in its favour; what a user has is masked.

    Args:
        users: the items of each, of which the last is the target
        items: of the catalogue
        left_out: so many of the latest of each user are not counted
    """
    counted = np.concatenate([own[: len(own) - left_out] for own in users])
    counts = np.bincount(counted, minlength=items)
    hits = np.zeros(3)
    for own in users:
        target, is_there = own[-1], np.ones(items, bool)
        is_there[own[:-1][-MOST_INPUT:]] = False
        if is_there[target]:
            more = (counts > counts[target])[is_there].sum()
            alike = np.nonzero(is_there & (counts == counts[target]))[0]
            hits += more + np.array([len(alike), (alike <= target).sum(), 1]) <= K
    return np.asarray(hits / len(users))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    users, items = read(parser.parse_args().data / "beauty")
    for name, left_out in LEFT_OUT.items():
        against, in_order, in_favour = hit_rates(users, items, left_out)
        print(f"{name}: {against:.4f}, {in_order:.4f}, {in_favour:.4f}")


if __name__ == "__main__":
    main()
