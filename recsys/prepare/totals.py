"""Numbers of events added up by keys in Python, of which Spark then adds up what is left."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa


class Totals:
    """Feed it tables of keys and numbers, then finish it; it gives the same, added up.

    Args:
        schema: of the tables
        how: number to sum or max; all other columns are keys
        most: rows that are kept before they are added up; and given, if that leaves more than half
            of them
    """

    def __init__(self, schema: pa.Schema, how: Mapping[str, str], most: int = 1_000_000) -> None:
        self.schema, self._how, self._most = schema, dict(how), most
        self._keys = [name for name in schema.names if name not in how]
        self._parts: list[pa.Table] = []

    def feed(self, table: pa.Table) -> pa.Table:
        """The rows that were kept for long enough; those of a key may come again."""
        self._parts.append(table.select(self.schema.names))
        if sum(map(len, self._parts)) <= self._most:
            return self.schema.empty_table()
        self._parts = [self.finish()]
        return self.finish() if 2 * len(self._parts[0]) > self._most else self.schema.empty_table()

    def finish(self) -> pa.Table:
        """The others."""
        table = pa.concat_tables([self.schema.empty_table(), *self._parts])
        self._parts = []
        # Threads would cost more than they bring: a core has its own worker.
        grouped = table.group_by(self._keys, use_threads=False).aggregate([*self._how.items()])
        names = {f"{name}_{how}": name for name, how in self._how.items()}
        named = grouped.rename_columns([names.get(name, name) for name in grouped.column_names])
        return named.select(self.schema.names).cast(self.schema)
