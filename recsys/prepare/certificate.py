"""The leakage certificate: what was written, read back and compared with what must hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from recsys.errors import DataError
from recsys.prepare.instants import MICROSECONDS_PER_SECOND
from recsys.prepare.split import SplitTimes
from recsys.prepare.vocabulary import train_counts
from recsys.schemas import FIRST_ITEM, SPLITS


@dataclass(frozen=True)
class Check:
    """Something that must hold, and what was found."""

    name: str
    expected: str
    found: str
    holds: bool


def certificate(checks: list[Check]) -> dict[str, Any]:
    """The section of the manifest.

    Raises:
        DataError: names the first check that does not hold
    """
    for check in checks:
        if not check.holds:
            raise DataError(
                f"leakage certificate: {check.name}: expected {check.expected}, found {check.found}"
            )
    return {"holds": True, "checks": [vars(check) for check in checks]}


def vocabulary_check(
    vocabulary: DataFrame, events: DataFrame, valid_start: int, min_count: int
) -> Check:
    """The vocabulary is what the train events alone give, counted and sorted anew.

    Args:
        vocabulary: as written
        events: clean events of all splits
        valid_start: train is before it, microseconds
        min_count: of an item in train
    """
    counted = train_counts(events, "item_id", valid_start).where(F.col("train_count") >= min_count)
    again = sorted((-row.train_count, row.item_id) for row in counted.collect())
    written = sorted(
        (row.item_index, -row.train_count, row.item_id) for row in vocabulary.collect()
    )
    expected = [(index, *entry) for index, entry in enumerate(again, start=FIRST_ITEM)]
    different = len(set(written) ^ set(expected))
    return Check(
        "vocabulary from train alone",
        f"the {len(expected)} items that train gives, with its counts, in its order",
        f"{len(written)} items, {different} entries that differ",
        different == 0 and len(written) == len(expected),
    )


def split_checks(splits: dict[str, Row], times: SplitTimes, planned: dict[str, int]) -> list[Check]:
    """Checks of the sums over FACTS, a row a split; splits without rows are absent.

    Args:
        splits: of writing.sums()
        times: of the splits
        planned: target steps of each split, counted before the cutting
    """
    borders = (times.valid_start, times.test_start, None)
    checks = []
    for split, start, end in zip(SPLITS, (None, *borders[:2]), borders, strict=True):
        row = splits.get(split)
        found = 0 if row is None else row["case_steps"]
        expected = planned[split]
        checks.append(
            Check(f"{split}: every target step", f"{expected}", f"{found}", found == expected)
        )
        if row is None:
            continue
        if start is not None:
            first = start // MICROSECONDS_PER_SECOND
            seen = row["first_target_time"]
            checks.append(
                Check(f"{split}: first target", f">= {first} s", f"{seen} s", seen >= first)
            )
        if end is not None:
            last = (end - 1) // MICROSECONDS_PER_SECOND
            seen = row["last_time"]
            checks.append(Check(f"{split}: last event", f"<= {last} s", f"{seen} s", seen <= last))
        for name, words in (
            ("overlaps", "target steps in two rows"),
            ("falling_times", "events out of time order"),
            ("targets_without_input", "targets without an earlier step"),
        ):
            checks.append(Check(f"{split}: {words}", "0", f"{row[name]}", row[name] == 0))
    return checks
