"""The items' vectors as a Parquet file, for an index of neighbours or other models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recsys import files
from recsys.schemas import FIRST_ITEM
from recsys.train.model import Recommender
from recsys.train.scored import NO_NEGATIVE

_ROWS_PER_GROUP = 65536


def write_item_vectors(model: Recommender, item_ids: Sequence[str], url: str) -> None:
    """Writes a row for each item that the model can rank.

        item_index  item_id  vector [D]  bias

    A history's score of the item is its vector, which the signature encode gives, times this
    vector, plus the bias, plus what the signature adds for items of the history.

    Args:
        model: the trained recommender
        item_ids: the vocabulary's items, from index FIRST_ITEM on
        url: of the file
    """
    vectors_VW = model.item_vectors().numpy()
    known = np.flatnonzero(vectors_VW[:, -1] > NO_NEGATIVE / 2)
    known = known[known >= FIRST_ITEM]
    width = vectors_VW.shape[1] - 1
    schema = pa.schema(
        {"item_index": pa.int32(), "item_id": pa.string(),
         "vector": pa.list_(pa.float32()), "bias": pa.float32()}
    )  # fmt: skip
    fs, path = files.filesystem(url)
    with fs.open(path, "wb") as file, pq.ParquetWriter(file, schema) as writer:
        for start in range(0, len(known), _ROWS_PER_GROUP):
            items = known[start : start + _ROWS_PER_GROUP]
            offsets = pa.array(np.arange(len(items) + 1) * width, pa.int32())
            flat = pa.array(vectors_VW[items, :width].reshape(-1))
            columns = {
                "item_index": pa.array(items, pa.int32()),
                "item_id": pa.array([item_ids[index - FIRST_ITEM] for index in items]),
                "vector": pa.ListArray.from_arrays(offsets, flat),
                "bias": pa.array(vectors_VW[items, width]),
            }
            writer.write_table(pa.table(columns, schema=schema))
