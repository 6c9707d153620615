"""The users' vectors as a table, for an index of neighbours or other models.

Shapes: B users, D of the embedding.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from recsys.saved_model import Encoder
from recsys.schemas import USER_VECTORS
from recsys.score import histories, mapped
from recsys.score.plan import Plan


class Vectors:
    """The vector of every subject.

    Times an item's vector (item_vectors.parquet of the model), plus the item's bias, it is the
    score, but for what the model adds for items of the subject's own history.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._encoder = Encoder(
            plan.encoder, mapped.made(plan, {"reads": mapped.reads(plan)})["reads"]
        )

    @staticmethod
    def in_order(batch: pa.RecordBatch) -> pa.RecordBatch:
        """By length, so that short histories are not padded to long ones."""
        return histories.by_length(batch)

    def lists(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """One row a user of a block of at most batch_users."""
        rows = histories.read(batch, self._plan.block_rows, self._plan.inputs)
        encoded = histories.encode(self._encoder, rows, batch.column("user_id"))
        # The last entry is the 1 that an item's bias is multiplied with.
        vectors_BD = encoded.vectors[: batch.num_rows, :-1]
        offsets = np.arange(len(vectors_BD) + 1, dtype=np.int32) * vectors_BD.shape[1]
        lists = pa.ListArray.from_arrays(pa.array(offsets), pa.array(vectors_BD.reshape(-1)))
        return pa.RecordBatch.from_arrays([batch.column("user_id"), lists], list(USER_VECTORS))
