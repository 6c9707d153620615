"""How much of the exact lists an index of neighbours finds."""

from __future__ import annotations

import numpy as np
from pyspark.sql import DataFrame

from recsys.score.plan import Plan
from recsys.score.worker import scored


def recall(subjects: DataFrame, plan: Plan) -> float:
    """The share of the exact lists that the plan's lists hold, over a few subjects.

    Args:
        subjects: as worker.scored takes them; the first score.neighbours.sample_users of them
        plan: one that uses neighbours
    """
    key = subjects.columns[0]
    sample = subjects.orderBy(key).limit(plan.score.neighbours.sample_users)
    found, exact = (_items(sample, each) for each in (plan, plan.exact()))
    shares = [len(found[subject] & items) / len(items) for subject, items in exact.items() if items]
    return float(np.mean(shares)) if shares else 1.0


def _items(sample: DataFrame, plan: Plan) -> dict[str, set[str]]:
    """Subject to the items of its list."""
    subject = list(plan.schema)[1]
    table = scored(sample, plan).select(subject, "item_id").toArrow()
    lists: dict[str, set[str]] = {}
    for name, items in zip(*(column.to_pylist() for column in table.columns), strict=True):
        lists.setdefault(name, set()).update(items if isinstance(items, list) else [items])
    return lists
