"""The users' vectors as a table, for an index of neighbours or other models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np
import pyarrow as pa
from pyspark.sql import SparkSession

from recsys import files, ranking, tables
from recsys.config import Config
from recsys.manifest import Manifest
from recsys.schemas import USER_VECTORS, ddl
from recsys.score import histories
from recsys.score.parts import Run
from recsys.score.plan import Plan
from recsys.score.sources import pieces


def write_vectors(
    spark: SparkSession, work: Run, plan: Plan, config: Config, dataset: Manifest
) -> int:
    """Writes the vector of every subject of the plan, below user_vectors/ in the run's version.

    Times an item's vector (item_vectors.parquet of the model), plus the item's bias, it is the
    score, but for what the model adds for items of the subject's own history.

    Returns:
        how many there are
    """
    url = files.join(work.version, "user_vectors")
    if files.exists(url):
        files.remove(url)  # of a try that was cut short
    for piece in pieces(spark, work, plan, config, dataset):
        vectors = piece.frame.mapInArrow(_encoder(plan), ddl(USER_VECTORS))
        with tables.reading(f"the input of user_vectors, part {piece.number}"):
            tables.write(vectors, files.join(url, f"part={piece.number:05d}"), USER_VECTORS)
    return sum(sum(groups) for groups in tables.row_groups(url).values())


def _encoder(plan: Plan) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    return partial(_encode, plan.export, plan.score.batch_users)


def _encode(
    export: str, batch_users: int, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    ranking.limit_threads(1)
    for batch in batches:
        for start in range(0, batch.num_rows, batch_users):
            users = batch.slice(start, batch_users)
            ranker = ranking.load(export)
            rows = histories.read(users, batch_users, ranker.inputs)
            encoded = histories.encode(ranker, rows)
            # The last entry is the 1 that an item's bias is multiplied with.
            vectors_BD = encoded.vectors[: users.num_rows, :-1]
            offsets = np.arange(len(vectors_BD) + 1, dtype=np.int32) * vectors_BD.shape[1]
            lists = pa.ListArray.from_arrays(pa.array(offsets), pa.array(vectors_BD.reshape(-1)))
            columns = [users.column("user_id"), lists]
            yield pa.RecordBatch.from_arrays(columns, names=list(USER_VECTORS))
