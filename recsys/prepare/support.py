"""Users and items with too few events, in turns until nothing changes (a k-core, Seidman 1983).

An item's events count where their user has enough events of items that have enough events: the
set of such items only ever shrinks, and what is left does not depend on the order of removal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.arrays import arrow_schema
from recsys.prepare.behaviour import changes
from recsys.prepare.cutting import ends, starts
from recsys.prepare.totals import Totals

ITEM_COUNTS: dict[str, str] = {"item_id": "string", "count": "bigint"}


@dataclass(frozen=True)
class Gone:
    """Whose events go.

    Args:
        bots: users
        rare: items
        end: events of rare items stay from this instant on; none for no such instant
    """

    bots: frozenset[str]
    rare: frozenset[str] = frozenset()
    end: int | None = None

    def left(self, events: pa.Table) -> pa.Table:
        """The events that stay."""
        if self.bots:
            events = events.filter(pc.invert(_among(events["user_id"], self.bots)))
        if self.rare:
            goes = _among(events["item_id"], self.rare)
            if self.end is not None:
                goes = pc.and_(goes, pc.less(events["timestamp"], self.end))
            events = events.filter(pc.invert(goes))
        return events


def _among(column: pa.ChunkedArray, names: frozenset[str]) -> pa.Array:
    """Whether each text is one of the names; a null never is."""
    # Arrow's is_in would hash all names for every table.
    encoded = column.combine_chunks().dictionary_encode()
    known = pa.array([name in names for name in encoded.dictionary.to_pylist()], pa.bool_())
    return pc.fill_null(known.take(encoded.indices), False)


def supported(
    tables: Iterable[pa.Table], min_events: int | None, end: int | None
) -> Iterator[pa.Table]:
    """The events of users that have enough; all where none are asked for."""
    if min_events is None:
        yield from tables
        return
    stream = Supported(min_events, end)
    yield from map(stream.feed, tables)
    if (rest := stream.finish()) is not None:
        yield rest


class Supported:
    """Feed it tables of events sorted by user, then finish it; it gives those that stay.

    Args:
        min_events: of a user
        end: events from this instant on neither count nor go; none for no such instant
    """

    def __init__(self, min_events: int, end: int | None) -> None:
        self._min_events, self._end = min_events, end
        self._carried: pa.Table | None = None
        self._enough = False  # whether the user of the last event was seen to have enough
        self._user: str | None = None

    @property
    def carried_events(self) -> int:
        """Events that are kept for the next batch, fewer than a user needs."""
        return 0 if self._carried is None else len(self._carried)

    def feed(self, events: pa.Table) -> pa.Table:
        """Events of users that have enough, or are over."""
        if self._carried is not None:
            events = pa.concat_tables([self._carried, events])
        return self._advance(events.combine_chunks(), final=False)

    def finish(self) -> pa.Table | None:
        """What is left; none where nothing ever came."""
        return None if self._carried is None else self._advance(self._carried, final=True)

    def _advance(self, table: pa.Table, final: bool) -> pa.Table:
        if not len(table):
            self._carried = table
            return table
        user_change = changes(table, "user_id")
        time = np.asarray(table["timestamp"].chunk(0).to_numpy(zero_copy_only=False))
        counts = np.ones(len(time), np.bool_) if self._end is None else time < self._end
        total = np.cumsum(counts)
        first, last = starts(user_change), ends(user_change)
        enough = total[last] - total[first] + counts[first] >= self._min_events
        if self._enough and table["user_id"][0].as_py() == self._user:
            enough |= first == 0
        self._user, self._enough = table["user_id"][-1].as_py(), bool(enough[-1])
        # After an event that does not count no other of the user does.
        waits = (first == first[-1]) & ~enough & (counts[-1] and not final)
        self._carried = table.filter(pa.array(waits)).combine_chunks()
        return table.filter(pa.array((enough | ~counts) & ~waits))


class ItemCounts:
    """Counts the events of each item before an instant, for some items at a time.

    Args:
        end: events from this instant on do not count; none for no such instant
        most: counts that are kept, as of Totals
    """

    def __init__(self, end: int | None, most: int = 1_000_000) -> None:
        self._end = end
        self._totals = Totals(arrow_schema(ITEM_COUNTS), {"count": "sum"}, most)

    def feed(self, events: pa.Table) -> pa.Table:
        """item_id and count of those that were kept for long enough; an item may come again."""
        if self._end is not None:
            events = events.filter(pc.less(events["timestamp"], self._end))
        counted = events["item_id"].drop_null().value_counts()
        names, counts = counted.field("values"), counted.field("counts")
        return self._totals.feed(pa.table({"item_id": names, "count": counts}))

    def finish(self) -> pa.Table:
        """The others."""
        return self._totals.finish()
