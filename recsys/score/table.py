"""Lists as the table that is written.

Shapes: B subjects, K length of a list, R recommendations.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.schemas import FIRST_ITEM, SOURCES, SUBJECTS
from recsys.score.arrange import Lists
from recsys.score.plan import Plan

Ints = npt.NDArray[np.int32]


def to_table(
    plan: Plan, subject: pa.StringArray, lists: Lists, reason_BK: Ints | None
) -> pa.RecordBatch:
    """One row a subject, or one a recommendation, as the plan's layout says.

    Args:
        plan: what the lists are
        subject: whom each is for [B]
        lists: [B, K]
        reason_BK: index of the item of an event; below FIRST_ITEM is none
    """
    is_there_BK = np.arange(lists.length) < lists.size[:, None]
    names = plan.catalogue.item_id
    columns: dict[str, pa.Array] = {
        "item_id": names.take(pa.array(lists.item[is_there_BK])),
        "score": pa.array(lists.score[is_there_BK]),
        "source": pa.array(SOURCES).take(pa.array(lists.source[is_there_BK])),
    }
    if reason_BK is not None:
        reason_R = reason_BK[: len(lists.size)][is_there_BK]
        columns["reason"] = names.take(pa.array(reason_R, mask=reason_R < FIRST_ITEM))
    if plan.score.layout == "rows":
        subject = subject.take(pa.array(np.repeat(np.arange(len(subject)), lists.size)))
        rank_K = np.arange(1, lists.length + 1, dtype=np.int32)
        columns["rank"] = pa.array(np.broadcast_to(rank_K, is_there_BK.shape)[is_there_BK])
    else:
        ends = np.concatenate([[0], np.cumsum(lists.size)]).astype(np.int32)
        columns = {
            name: pa.ListArray.from_arrays(pa.array(ends), values)
            for name, values in columns.items()
        }
    columns[SUBJECTS[plan.kind]] = subject
    columns["list"] = pa.array([plan.kind]).take(pa.array(np.zeros(len(subject), np.int32)))
    return pa.RecordBatch.from_arrays([columns[name] for name in plan.schema], list(plan.schema))
