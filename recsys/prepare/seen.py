"""When events were: the first one, the last one, and how many on each date."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pyspark.sql import Column, Row
from pyspark.sql import functions as F

from recsys.prepare import instants
from recsys.prepare.behaviour import FIRST, LAST, Mark
from recsys.prepare.cutting import Ints
from recsys.prepare.instants import MICROSECONDS_PER_DAY

# Days since the epoch; and the mark of what was counted on a date.
DAY = "day"


@dataclass(frozen=True)
class Seen:
    """What was seen of events.

    Args:
        first_event: microseconds
        last_event: microseconds
        days: date to events, by rising date
    """

    first_event: int
    last_event: int
    days: dict[str, int]

    @property
    def events(self) -> int:
        """How many there are."""
        return sum(self.days.values())

    @classmethod
    def of_rows(cls, of_days: Sequence[Row]) -> Seen:
        """Of an aggregation by day() with columns()."""
        if not of_days:
            return cls(0, 0, {})
        return cls(
            first_event=min(row["first"] for row in of_days),
            last_event=max(row["last"] for row in of_days),
            days={instants.date(row[DAY]): row["rows"] for row in sorted(of_days, key=_day_of)},
        )

    @classmethod
    def of_marks(cls, marks: Sequence[Mark]) -> Seen:
        """Of what Days have counted."""
        days: Counter[str] = Counter()
        for what, date, count in marks:
            if what == DAY and date is not None:
                days[date] += count
        first = [number for what, _, number in marks if what == FIRST]
        last = [number for what, _, number in marks if what == LAST]
        return cls(min(first, default=0), max(last, default=0), dict(sorted(days.items())))


def day() -> Column:
    """DAY of an event."""
    return F.floor(F.col("timestamp") / MICROSECONDS_PER_DAY).alias(DAY)


def columns() -> list[Column]:
    """What is counted of each day."""
    first, last = F.min("timestamp"), F.max("timestamp")
    return [F.count(F.lit(1)).alias("rows"), first.alias("first"), last.alias("last")]


def _day_of(row: Row) -> int:
    return int(row[DAY])


class Days:
    """Counts events in Python; feed it their times, then finish it."""

    def __init__(self) -> None:
        self._days: Counter[int] = Counter()
        self._times: list[int] = []

    def feed(self, time: Ints) -> None:
        """Microseconds of some events."""
        if len(time):
            self._times += [int(time.min()), int(time.max())]
            days = time // MICROSECONDS_PER_DAY
            first = int(days.min())
            counts = np.bincount(days - first)
            for place in np.flatnonzero(counts).tolist():
                self._days[first + place] += int(counts[place])

    def finish(self) -> list[Mark]:
        """The events of each date, and the first and the last instant."""
        if not self._times:
            return []
        dates = [(DAY, instants.date(day), count) for day, count in self._days.items()]
        return [*dates, (FIRST, None, min(self._times)), (LAST, None, max(self._times))]
