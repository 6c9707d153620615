"""When too many rows are at fault: which fault, how many, and what it looks like."""

from __future__ import annotations

import json
from collections.abc import Iterable

from recsys.config import Events
from recsys.errors import DataError
from recsys.prepare import instants

_UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def require_few(rows: int, faults: dict[str, int], examples: Iterable[str], events: Events) -> None:
    """Stops a job whose log has too many rows at fault.

    Args:
        rows: of the log
        faults: reason to rows
        examples: some raw rows of the most frequent reason, as JSON
        events: the section of the configuration

    Raises:
        DataError: names the column, the reason, the count, the share and the limit
    """
    bad = sum(faults.values())
    if bad <= events.max_fault_share * rows:
        return
    reason, count = max(faults.items(), key=lambda fault: (fault[1], fault[0]))
    column = reason.split(":")[0]
    log_name = getattr(events.columns, column, None)
    where = f"column {log_name!r}" if log_name else "the log"
    raise DataError(
        f"{', '.join(events.path)}: {where}: expected at most {events.max_fault_share:.2%} of rows "
        f"at fault (events.max_fault_share), found {bad} of {rows} ({bad / rows:.2%}), "
        f"{count} of them {reason!r}{_time_hint(column, examples, events)}"
    )


def _time_hint(column: str, examples: Iterable[str], events: Events) -> str:
    if column != "timestamp":
        return ""
    texts = [str(json.loads(row).get(events.columns.timestamp)) for row in examples]
    earliest = instants.micros("events.earliest", events.earliest)
    latest = instants.now()
    if events.latest is not None:
        latest = instants.micros("events.latest", events.latest)
    fitting = {
        unit: sum(earliest <= time <= latest for time in _as_micros(texts, per_second))
        for unit, per_second in _PER_SECOND.items()
        if unit != events.timestamp_unit
    }
    unit = max(fitting, key=lambda name: fitting[name])
    if texts and fitting[unit] > len(texts) / 2:
        return (
            f"; the values look like {_UNIT_NAMES[unit]} (events.timestamp_unit: {unit}), such as "
            f"{texts[0]}"
        )
    if events.timestamp_unit != "text" and sum("-" in text[1:] for text in texts) > len(texts) / 2:
        return f"; the values look like text (events.timestamp_unit: text), such as {texts[0]}"
    return f", such as {texts[0]}" if texts else ""


def _as_micros(texts: Iterable[str], per_second: int) -> list[float]:
    times = []
    for text in texts:
        try:
            times.append(float(text) / per_second * 1e6)
        except ValueError:
            continue
    return times
