"""What was searched for: the token ids of queries, beside the events."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from recsys.text import query_tokens


@dataclass(frozen=True)
class Queries:
    """How queries become ids.

    Args:
        tokens: ids of a query
        buckets: different ids above 0
    """

    tokens: int
    buckets: int

    @property
    def arrays(self) -> tuple[str, ...]:
        """The names of the ids' arrays."""
        return tuple(f"query_{number}" for number in range(1, self.tokens + 1))

    def hashed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with the arrays in place of the column query; without a query they are 0."""
        place = batch.schema.get_field_index("query")
        encoded = batch.column(place).dictionary_encode()
        texts = encoded.dictionary.to_pylist()
        ids = [query_tokens(text, self.tokens, self.buckets) for text in texts]
        table = np.array([[0] * self.tokens, *ids], np.int32)
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        columns = {name: batch.column(name) for name in batch.schema.names if name != "query"}
        hashed = zip(self.arrays, table[codes + 1].T, strict=True)
        columns |= {name: pa.array(ids) for name, ids in hashed}
        return pa.RecordBatch.from_pydict(columns)
