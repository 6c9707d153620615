"""How much of the exact lists an index of neighbours finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys.score.plan import Plan
from recsys.score.worker import scored


def recall(pieces: Sequence[DataFrame], subjects: int, plan: Plan) -> dict[str, Any]:
    """The share of the model's exact lists that its lists by the index hold, over some subjects.

    Without what is explored; those who have a fallback count for nothing.

    Args:
        pieces: subjects as worker.scored takes them
        subjects: how many there are in all; about score.neighbours.sample_users of them, whose
            hashes are alike, are compared
        plan: one that uses neighbours

    Returns:
        recall_of_neighbours, which is none where nobody could be compared; and compared_subjects
    """
    sample = _sample(pieces, max(1, subjects // plan.score.neighbours.sample_users)).cache()
    alone = plan.of_model_alone()
    found, exact = (_items(sample, each) for each in (alone, alone.exact()))
    sample.unpersist()
    shares = [
        len(found.get(subject, set()) & items) / len(items) for subject, items in exact.items()
    ]
    share = float(np.mean(shares)) if shares else None
    return {"recall_of_neighbours": share, "compared_subjects": len(shares)}


def _sample(pieces: Sequence[DataFrame], one_in: int) -> DataFrame:
    """One in so many of the subjects, drawn from all pieces alike."""
    everybody = reduce(DataFrame.unionByName, pieces)
    chosen = everybody.where(F.pmod(F.xxhash64(everybody.columns[0]), F.lit(one_in)) == 0)
    # A few users a task would be as much work as a full block each.
    return chosen.coalesce(chosen.sparkSession.sparkContext.defaultParallelism)


def _items(sample: DataFrame, plan: Plan) -> dict[str, set[str]]:
    """Subject to the items of its list that are the model's."""
    plan = replace(plan, score=replace(plan.score, layout="rows", reason=False))
    subject = list(plan.schema)[1]
    rows = scored(sample, plan).where(F.col("source") == "model").select(subject, "item_id")
    lists: dict[str, set[str]] = {}
    for name, item in zip(*(column.to_pylist() for column in rows.toArrow().columns), strict=True):
        lists.setdefault(name, set()).add(item)
    return lists
