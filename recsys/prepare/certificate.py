"""The leakage certificate: what was written, read back and compared with what must hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from recsys.config import Prepare
from recsys.errors import DataError
from recsys.prepare.cutting import changes
from recsys.prepare.facts import spans
from recsys.prepare.instants import MICROSECONDS_PER_SECOND
from recsys.prepare.ordering import may_be_target
from recsys.prepare.parts import Parted
from recsys.prepare.split import SplitTimes
from recsys.prepare.subjects import Found
from recsys.prepare.walk import Pass, Walk, frame_of
from recsys.schemas import EVENTS, SPLITS

# How ties in time are treated.
_TIES = (
    "the events of one instant are one step: all are asked for from the steps before, and their "
    "order is neither input nor target"
)


@dataclass(frozen=True)
class Check:
    """Something that must hold, and what was found."""

    name: str
    expected: str
    found: str
    holds: bool


def none_of(name: str, found: int) -> Check:
    """There must be none."""
    return Check(name, "0", f"{found}", found == 0)


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


def ties(splits: dict[str, Row]) -> dict[str, Any]:
    """What the section says of ties in time: how they are treated, and how many there are.

    Args:
        splits: of writing.sums()
    """
    return {
        "ties": _TIES,
        "tied_steps": {split: row["tied_steps"] for split, row in splits.items()},
    }


def row_checks(splits: dict[str, Row], planned: dict[str, int]) -> list[Check]:
    """Checks that hold for every split.

    Args:
        splits: of writing.sums(); splits without rows are absent
        planned: target steps of each split, counted before the cutting
    """
    checks = []
    for split in SPLITS:
        row, expected = splits.get(split), planned[split]
        found = 0 if row is None else row["case_steps"]
        checks.append(
            Check(f"{split}: every target step", f"{expected}", f"{found}", found == expected)
        )
        if row is not None:
            checks += [
                none_of(f"{split}: events out of time order", row["falling_times"]),
                none_of(f"{split}: events of one step at several times", row["uneven_times"]),
                none_of(f"{split}: targets without an earlier step", row["targets_without_input"]),
            ]
    return checks


def input_check(
    splits: dict[str, Row],
    on_disk: DataFrame,
    events: DataFrame | Walk,
    subject: str,
    targets: tuple[str, ...] = (),
) -> Check:
    """No target event stands inside its own input.

    Written times are whole seconds: an item that came again within one may be target and input. So
    many such events of each sequence, at most, there must be in the log.

    Args:
        splits: of writing.sums()
        on_disk: FACTS
        events: clean events; those of a walk are in order of the subject
        subject: the column of what a sequence is of
        targets: event types that may be predicted; none means all
    """
    found, name = sum(row["targets_in_input"] for row in splits.values()), "targets in their input"
    if not found:
        return none_of(name, found)
    second = F.floor(F.col("timestamp") / MICROSECONDS_PER_SECOND)
    of_subject = F.col("user_id").alias(subject)
    rows = spans(on_disk, "user_id", "targets_in_input").where("targets_in_input > 0")
    whose = rows.groupBy(of_subject).agg(F.sum("targets_in_input").alias("found")).persist()
    columns = {name: EVENTS[name] for name in (subject, "item_id", "event_type", "timestamp")}
    if isinstance(events, Walk):
        events = events.beginning_with(_within_a_second(subject))
    known = frame_of(events, columns).where(F.col("item_id").isNotNull())
    own = known.join(F.broadcast(whose), subject, "left_semi")
    same = (subject, "item_id", second.alias("second"))
    of_instant = own.groupBy(*same, "timestamp").agg(
        F.count_if(may_be_target(targets)).alias("targets")
    )
    again = of_instant.groupBy(subject, "item_id", "second").agg(
        (F.sum("targets") - F.min_by("targets", "timestamp")).alias("again")
    )
    most = again.groupBy(subject).agg(F.sum("again").alias("most"))
    excused = F.least("found", F.coalesce("most", F.lit(0)))
    allowed = whose.join(most, subject, "left").agg(F.sum(excused)).collect()[0][0]
    whose.unpersist()
    words = f"<= {allowed}, of an item that came again within a second"
    return Check(name, words, f"{found}", found <= allowed)


def _within_a_second(subject: str) -> Pass:
    """Of events in order, those with another one of the subject in their second: few, mostly.

    The first and the last one of a batch may be such.
    """

    def near(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            second = batch.column("timestamp").to_numpy() // MICROSECONDS_PER_SECOND
            opens = changes(batch.column(subject)) | (np.diff(second, prepend=-1) != 0)
            alone = opens & np.append(opens[1:], True)
            alone[[0, -1]] = False
            yield batch.filter(pa.array(~alone))

    return near


def time_checks(splits: dict[str, Row], times: SplitTimes) -> list[Check]:
    """Checks of a split by the events' time, of writing.sums().

    No target is of a session that started before the split, as far back as its row shows.

    Written times are whole seconds, rounded down: so are the borders here.
    """
    borders = (times.valid_start, times.test_start, None)
    checks = []
    for split, start, end in zip(SPLITS, (None, *borders[:2]), borders, strict=True):
        if split not in splits:
            continue
        row = splits[split]
        if start is not None:
            first = start // MICROSECONDS_PER_SECOND
            for words, name in (("target", "first_target_time"),
                                ("session with a target", "session_time")):  # fmt: skip
                seen, what = row[name], f"{split}: first {words}"
                checks.append(Check(what, f">= {first} s", f"{seen} s", seen >= first))
        if end is not None:
            last = (end - times.embargo - 1) // MICROSECONDS_PER_SECOND
            seen = row["last_time"]
            checks.append(Check(f"{split}: last event", f"<= {last} s", f"{seen} s", seen <= last))
    return checks


def subject_checks(
    found: Found,
    events: int,
    splits: dict[str, Row],
    prepare: Prepare,
    times: SplitTimes | None = None,
) -> list[Check]:
    """Checks of all that is written of each subject, in all splits and of its history.

    Args:
        found: of all subjects
        events: that must be stored
        splits: of writing.sums()
        prepare: says what the split is by
        times: the borders, where a session is a sequence and its start decides; or none
    """
    stored = "events of histories and earlier ones"
    checks = [
        none_of(f"{split}: target steps in two rows", found.overlaps[place])
        for place, split in enumerate(SPLITS) if split in splits
    ]  # fmt: skip
    checks += [
        none_of("sequences with rows that reach into a later split", found.reaching),
        Check(stored, f"{events}", f"{found.events}", found.events == events),
    ]
    if prepare.split == "leave_one_out":
        for split, most in zip(SPLITS[1:], found.most_case_steps[1:], strict=True):
            checks.append(
                Check(f"{split}: target steps of a sequence", "<= 1", f"{most}", most <= 1)
            )
        checks.append(none_of("sequences with a test target and none of valid", found.alone))
    return checks if times is None else checks + _sessions_by_time(found, splits, times)


def _sessions_by_time(found: Found, splits: dict[str, Row], times: SplitTimes) -> list[Check]:
    """Every session is in one split, and starts in that split's time.

    As written: in whole seconds, by what histories and earlier events say of the start.
    """
    checks = [none_of("users or sessions in two splits", found.several)]
    borders = (None, times.valid_start, times.test_start, None)
    for place, split in enumerate(SPLITS):
        if split not in splits:
            continue
        start, end = borders[place : place + 2]
        if start is not None:
            low, first = start // MICROSECONDS_PER_SECOND, found.first_start[place]
            checks.append(
                Check(f"{split}: first session", f">= {low} s", f"{first} s", first >= low)
            )
        if end is not None:
            high = (end - times.embargo - 1) // MICROSECONDS_PER_SECOND
            last = found.last_start[place]
            checks.append(
                Check(f"{split}: last session", f"<= {high} s", f"{last} s", last <= high)
            )
    return checks


def whole_checks(on_disk: DataFrame, parted: Parted, prepare: Prepare) -> list[Check]:
    """Checks of splits by users, or by their last sessions, which keep whole what they part.

    Args:
        on_disk: FACTS
        parted: events by which a sequence's user and start are counted anew
        prepare: says what the split is by
    """
    if prepare.split != "users" and not (parted.by_session and prepare.split == "last_sessions"):
        return []
    known = parted.events.groupBy(
        F.col(parted.subject).alias("user_id"), F.col("user_id").alias("owner")
    ).agg(F.min("timestamp").alias("start"))
    placed = spans(on_disk, "user_id", "split").distinct()
    placed = placed.join(known, on="user_id", how="left")
    sides = placed.groupBy("owner" if prepare.split == "users" else "user_id").agg(
        F.count_distinct("split").alias("sides")
    )
    several = sides.where(F.col("sides") > 1).count()
    checks = [none_of("users or sessions in two splits", several)]
    if prepare.split == "last_sessions":
        checks.append(_order_of_sessions(placed))
    return checks


def _order_of_sessions(placed: DataFrame) -> Check:
    starts = {
        split: F.when(F.col("split") == place, F.col("start")) for place, split in enumerate(SPLITS)
    }
    of_user = placed.groupBy("owner").agg(
        *[F.min(start).alias(f"{split}_first") for split, start in starts.items()],
        *[F.max(start).alias(f"{split}_last") for split, start in starts.items()],
    )
    wrong = F.coalesce(
        F.col("train_last") >= F.least("valid_first", "test_first"), F.lit(False)
    ) | F.coalesce(F.col("valid_last") >= F.col("test_first"), F.lit(False))
    return none_of(
        "users whose sessions are out of the splits' order", of_user.where(wrong).count()
    )
