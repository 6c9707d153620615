"""How much of the exact lists an index of neighbours finds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys.score.plan import Plan
from recsys.score.worker import scored


def recall(subjects: DataFrame, plan: Plan) -> float:
    """The share of the model's exact lists that its lists by the index hold, over a few subjects.

    Without what is explored; those who have a fallback count for nothing.

    Args:
        subjects: as worker.scored takes them; the first score.neighbours.sample_users of them
        plan: one that uses neighbours
    """
    key = subjects.columns[0]
    sample = subjects.orderBy(key).limit(plan.score.neighbours.sample_users)
    alone = plan.of_model_alone()
    found, exact = (_items(sample, each) for each in (alone, alone.exact()))
    shares = [
        len(found.get(subject, set()) & items) / len(items) for subject, items in exact.items()
    ]
    return float(np.mean(shares)) if shares else 1.0


def _items(sample: DataFrame, plan: Plan) -> dict[str, set[str]]:
    """Subject to the items of its list that are the model's."""
    plan = replace(plan, score=replace(plan.score, layout="rows", reason=False))
    subject = list(plan.schema)[1]
    rows = scored(sample, plan).where(F.col("source") == "model").select(subject, "item_id")
    lists: dict[str, set[str]] = {}
    for name, item in zip(*(column.to_pylist() for column in rows.toArrow().columns), strict=True):
        lists.setdefault(name, set()).add(item)
    return lists
