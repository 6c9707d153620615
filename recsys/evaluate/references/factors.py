"""Matrix factorization with implicit feedback: Spark's ALS for the items, folding in for the cases.

Shapes: V vocabulary, D width of a vector, q items of a case.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pyspark.ml.recommendation import ALS
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys.evaluate.cases import Batch
from recsys.evaluate.references.system import (
    Floats,
    Longs,
    Training,
    above_popularity,
    known_histories,
)


@dataclass(frozen=True)
class Factors:
    """The product of an item's vector and that of the case's whole history.

    The latter is what ALS would have given a user with this history: x = (Yt C Y + λ n I)^-1 Yt C p
    with the confidence C = 1 + α count, p = 1 for the n items of the history and 0 for all others
    (Hu, Koren & Volinsky, ICDM 2008, 4; λ weighted by n: Zhou et al., AAIM 2008, as Spark has it).

    Args:
        vectors: Y, of the items [V, D]
        regularisation: λ
        confidence: α
        popularity: of each item [V]
    """

    vectors: Floats
    regularisation: float
    confidence: float
    popularity: Floats
    name: str = "matrix_factorization"

    def scores(self, batch: Batch) -> Floats:
        """The products [N, V]; none for a case without a known item."""
        user_ND = np.zeros((len(batch), self.vectors.shape[1]))
        everything_DD = self.vectors.T @ self.vectors
        for case, place_n in known_histories(batch):
            item_n = batch.events.item[place_n].astype(np.int64)
            user_ND[case] = self._folded_in(item_n, everything_DD)
        return above_popularity(user_ND @ self.vectors.T, self.popularity)

    def _folded_in(self, item_n: Longs, everything_DD: Floats) -> Floats:
        item_q, count_q = np.unique(item_n, return_counts=True)
        vectors_qD = self.vectors[item_q]
        extra_q = self.confidence * count_q
        shrink = self.regularisation * len(item_q) * np.eye(vectors_qD.shape[1])
        left_DD = everything_DD + (vectors_qD.T * extra_q) @ vectors_qD + shrink
        return np.asarray(np.linalg.solve(left_DD, vectors_qD.T @ (1 + extra_q)))


def matrix_factorization(training: Training) -> Factors:
    """Factors of how often each user had each item in train."""
    settings = training.settings.matrix_factorization
    counts = _numbered(training.events.groupBy("user_id", "item").count())
    als = ALS(
        rank=settings.dimensions, maxIter=settings.iterations, regParam=settings.regularisation,
        implicitPrefs=True, alpha=settings.confidence, seed=training.seed, userCol="user",
        itemCol="item", ratingCol="count", checkpointInterval=-1,
    )  # fmt: skip
    fitted = als.fit(counts)
    factors = fitted.itemFactors.toArrow()
    vectors_VD = np.zeros((training.vocabulary_size, settings.dimensions))
    flat = factors.column("features").combine_chunks().flatten().to_numpy()
    vectors_VD[factors.column("id").to_numpy()] = flat.reshape(factors.num_rows, -1)
    return Factors(vectors_VD, settings.regularisation, settings.confidence, training.popularity)


def _numbered(counts: DataFrame) -> DataFrame:
    """With users as whole numbers, which ALS wants."""
    users = counts.select("user_id").distinct().orderBy("user_id").rdd.zipWithIndex()
    numbers = users.map(lambda pair: (pair[0]["user_id"], pair[1]))
    table = numbers.toDF("user_id string, user bigint")
    return counts.join(table, on="user_id").select(
        F.col("user").cast("int").alias("user"), "item", F.col("count").cast("float").alias("count")
    )
