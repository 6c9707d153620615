"""What benchmarks/evaluate.py ranks: cases that all slices can part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks import synthetic
from recsys import files, manifest
from recsys.manifest import Manifest
from recsys.schemas import FIRST_ITEM

ITEMS, CASES = 200, 400
DAY = 86_400


def columns(described: Manifest, split: str) -> tuple[np.ndarray, ...]:
    """Item, timestamp, step and target of all rows [B, L]."""
    rows = pq.read_table(Path(files.local_copy(described.url)) / "sequences" / f"split={split}")
    names = ("item", "timestamp", "step", "target")
    return tuple(np.array(rows.column(name).to_pylist()) for name in names)


def test_cases_are_of_new_and_returning_users_new_items_and_several_days(tmp_path: Path) -> None:
    synthetic.write_cases(tmp_path / "dataset", CASES, ITEMS)
    described = manifest.read(str(tmp_path / "dataset"))
    first, start, last = (
        instant // 1_000_000
        for instant in (described.first_event, described.test_start, described.last_event)
    )
    item, timestamp, step, target = columns(described, "test")
    assert (step[:, 0] == 0).all(), "no earlier events have to be joined"
    assert (target.sum(axis=1) == 1).all()
    at = timestamp[target == 1]
    assert start <= at.min() <= at.max() <= last
    assert np.bincount((at - start) // DAY).min() > CASES / 8
    assert 0.1 < (timestamp[:, 0] < start).mean() < 0.5, "users that were there before"

    train, trained_at, step, _ = columns(described, "train")
    is_event = step >= 0
    assert first <= trained_at[is_event].min() <= trained_at[is_event].max() < start
    is_early = is_event & (trained_at < start - (start - first) / 10)
    older = set(train[is_early].tolist())
    assert min(older) >= FIRST_ITEM
    assert set(train[is_event].tolist()) - older, "some come up in the last tenth"
    assert 0 < (~np.isin(item[target == 1], list(older))).sum() < CASES / 10
