"""Blocks of histories."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from recsys.score import histories


def batch_of(rows: list[tuple[str, list[int]]]) -> pa.RecordBatch:
    users, steps = zip(*rows, strict=True)
    columns = [pa.array(users), pa.array(steps, pa.list_(pa.int32()))]
    return pa.RecordBatch.from_arrays(columns, ["user_id", "step"])


def _room(steps: list[int]) -> int:
    return 8 if len(steps) <= 8 else 16


def test_neither_arrival_nor_padding_changes_the_order() -> None:
    rows = [(f"user-{number}", list(range(number % 12))) for number in range(40)]
    # Up to 8 events are encoded together, and more.
    expected = [name for name, _ in sorted(rows, key=lambda row: (_room(row[1]), row[0]))]
    assert {_room(steps) for _, steps in rows} == {8, 16}
    for seed in range(3):
        shuffled = [rows[place] for place in np.random.default_rng(seed).permutation(len(rows))]
        padded = [(name, [*steps, *[-1] * (11 - len(steps))]) for name, steps in shuffled]
        for come in (shuffled, padded):
            found = histories.by_length(batch_of(come))
            assert found.column("user_id").to_pylist() == expected
