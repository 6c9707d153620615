"""Numbers of events added up by keys in Python, of which Spark then adds up what is left."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

_BYTES = 128 * 2**20


class Totals:
    """Feed it tables of keys and numbers, then finish it; it gives the same, added up.

    Args:
        schema: of the tables
        how: number to sum or max; all other columns are keys
        most: rows, of _BYTES at most, that are kept before they are added up; and given, if that
            leaves more than half of them
    """

    def __init__(self, schema: pa.Schema, how: Mapping[str, str], most: int = 1_000_000) -> None:
        self._schema, self._how, self._most = schema, dict(how), most
        self._keys = [name for name in schema.names if name not in how]
        self._parts: list[pa.Table] = []

    def feed(self, table: pa.Table) -> pa.Table:
        """The rows that were kept for long enough; those of a key may come again."""
        self._parts.append(table.select(self._schema.names).cast(self._schema))
        if not self._are_many(self._parts):
            return self._schema.empty_table()
        self._parts = [self.finish()]
        return self.finish() if self._are_many(self._parts * 2) else self._schema.empty_table()

    def _are_many(self, parts: list[pa.Table]) -> bool:
        return sum(map(len, parts)) > self._most or sum(part.nbytes for part in parts) > _BYTES

    def finish(self) -> pa.Table:
        """The others."""
        table = pa.concat_tables([self._schema.empty_table(), *self._parts])
        self._parts = []
        # Threads would cost more than they bring: a core has its own worker.
        grouped = table.group_by(self._keys, use_threads=False).aggregate([*self._how.items()])
        names = {f"{name}_{how}": name for name, how in self._how.items()}
        named = grouped.rename_columns([names.get(name, name) for name in grouped.column_names])
        return named.select(self._schema.names).cast(self._schema)
