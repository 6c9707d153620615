"""Why references differ from what was published of YooChoose 1/64, in plain NumPy.

python benchmarks/yoochoose_counts.py --data FOLDER

FOLDER holds yoochoose64/events.parquet. Each line is one way to count and to judge, with Recall@20
and MRR@20 of item kNN (GRU4Rec's: regularisation 20, alpha 0.5, 100 neighbours of the latest item;
published 0.5160 / 0.2181), of popularity (0.0671 / 0.0165) and of popularity in the session
(0.3044 / 0.1835).
"""

from __future__ import annotations

import argparse
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

TEST_START = 1_450_000_000
K, NEIGHBOURS, REGULARISATION, ALPHA = 20, 100, 20, 0.5

Longs = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Clicks:
    """Of train: session and item of each click; of test: the items of each session, or -1."""

    session: Longs
    item: Longs
    sessions: Sequence[Longs]
    items: int

    @cached_property
    def before(self) -> Longs:
        """The item before each target."""
        return np.concatenate([own[:-1] for own in self.sessions])

    @cached_property
    def target(self) -> Longs:
        return np.concatenate([own[1:] for own in self.sessions])


def read(path: Path) -> Clicks:
    events = pd.read_parquet(path)
    events = events.sort_values(["session_id", "timestamp"], kind="stable")
    start = events.groupby("session_id").timestamp.transform("min")
    train, test = events[start < TEST_START], events[start >= TEST_START]
    # Sessions of train are numbered by when they start.
    key = start[start < TEST_START].to_numpy() * 1_000_000 + train.session_id.factorize()[0]
    _, by_start = np.unique(key, return_inverse=True)
    known = pd.Index(np.sort(train.item_id.unique()))
    of_test, session = known.get_indexer(test.item_id), test.session_id.to_numpy()
    sessions = np.split(of_test, np.nonzero(session[1:] != session[:-1])[0] + 1)
    return Clicks(by_start, known.get_indexer(train.item_id), sessions, len(known))


def similar(clicks: Clicks, each: bool) -> Iterator[tuple[Longs, npt.NDArray[np.float64]]]:
    """The neighbours of each item, and how near they are.

    Args:
        clicks: of train
        each: every click of an item is counted with the items of its session, as the code of
            GRU4Rec does; else a session counts once
    """
    all_clicks = pd.DataFrame({"session": clicks.session, "item": clicks.item})
    once = all_clicks.drop_duplicates()
    asked = all_clicks if each else once
    pairs = asked.merge(once, on="session", suffixes=("", "_other"))
    pairs = pairs[pairs["item"] != pairs.item_other]
    together = pairs.groupby(["item", "item_other"]).size().reset_index(name="count")
    support = np.bincount(asked["item"], minlength=clicks.items) + REGULARISATION
    norm = support[together["item"]] ** ALPHA * support[together.item_other] ** (1 - ALPHA)
    together["value"] = together["count"] / norm
    together = together.sort_values(["item", "value"], ascending=[True, False], kind="stable")
    edges = np.searchsorted(together["item"], np.arange(clicks.items + 1))
    other, value = together.item_other.to_numpy(), together["value"].to_numpy()
    for first, last in itertools.pairwise(edges):
        nearest = slice(first, min(last, first + NEIGHBOURS))
        yield other[nearest], value[nearest]


def knn_ranks(clicks: Clicks, each: bool, in_favour: bool) -> Longs:
    """Of each target, from 1; 0 where it is unknown, or no neighbour and ties count against it."""
    neighbours = list(similar(clicks, each))
    ranks = np.zeros(len(clicks.target), np.int64)
    for case, (before, target) in enumerate(zip(clicks.before, clicks.target, strict=True)):
        if before < 0 or target < 0:
            continue
        other, value = neighbours[before]
        own = float(value[other == target].sum())
        if in_favour:
            ranks[case] = 1 + (value > own).sum()
        elif own > 0:
            ranks[case] = (value >= own).sum()
    return ranks


def popular_ranks(clicks: Clicks) -> Longs:
    counts = np.bincount(clicks.item, minlength=clicks.items)
    rank = len(counts) - np.searchsorted(np.sort(counts), counts)
    return np.where(clicks.target >= 0, rank[clicks.target], 0)


def in_session_ranks(clicks: Clicks) -> Longs:
    """By the clicks of the session so far, then by those of train; ties count against it."""
    counts = np.bincount(clicks.item, minlength=clicks.items)
    at_least = len(counts) - np.searchsorted(np.sort(counts), counts)
    ranks = []
    for session in clicks.sessions:
        own: Counter[int] = Counter()
        for before, target in itertools.pairwise(session.tolist()):
            own.update([before] if before >= 0 else [])
            if target < 0:
                ranks.append(0)
            elif target in own:
                key = own[target], counts[target]
                ranks.append(sum((own[item], counts[item]) >= key for item in own))
            else:
                alike = sum(counts[item] >= counts[target] for item in own)
                ranks.append(len(own) + at_least[target] - alike)
    return np.array(ranks)


def figures(ranks: Longs) -> str:
    is_hit = (ranks > 0) & (ranks <= K)
    return f"{is_hit.mean():.4f} / {(is_hit / np.maximum(ranks, 1)).mean():.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    clicks = read(parser.parse_args().data / "yoochoose64" / "events.parquet")
    is_known = clicks.target >= 0
    print("item kNN")
    for each in (False, True):
        for in_favour in (False, True):
            ranks = knn_ranks(clicks, each, in_favour)
            counted = "each click" if each else "sessions"
            ties = "in favour" if in_favour else "against"
            label = f"{counted} counted, ties {ties}, unknown targets"
            print(f"{label} missed: {figures(ranks)}; left out: {figures(ranks[is_known])}")
    print(
        "without the latest sessions of train: popularity; popularity in the session; item kNN, "
        "each click counted"
    )
    sessions = clicks.session.max() + 1
    for share in (0, 0.01, 0.02, 0.024, 0.028, 0.029, 0.03, 0.035, 0.04, 0.05):
        kept = clicks.session < sessions * (1 - share)
        part = Clicks(clicks.session[kept], clicks.item[kept], clicks.sessions, clicks.items)
        found = popular_ranks(part), in_session_ranks(part), knn_ranks(part, True, False)
        print(f"{share:.1%}: {'; '.join(map(figures, found))}", flush=True)


if __name__ == "__main__":
    main()
