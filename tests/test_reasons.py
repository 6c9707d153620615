"""The past events that counted most, where each counts by itself."""

from __future__ import annotations

import numpy as np

from recsys.encoding import INPUTS, Encoded, Pairs, Rows
from recsys.reasons import reasons
from recsys.schemas import PADDING

WEIGHTS = {5: 3.0, 7: 1.0, 9: 2.0, 11: -1.0}
HISTORIES = [[7, 11, 5, 9, 5], [11, 7, 0, 0, 0], [0, 0, 0, 0, 0]]


def encode(rows: Rows) -> Encoded:
    weight_V = np.zeros(12, np.float32)
    weight_V[list(WEIGHTS)] = list(WEIGHTS.values())
    none = np.zeros(0, np.int32)
    vectors = weight_V[rows["item"]].sum(axis=1, keepdims=True)
    return Encoded(vectors, Pairs(none, none, np.zeros(0, np.float32)))


def test_the_strongest_come_first_of_equals_the_older() -> None:
    rows = {name: np.zeros((3, 5), np.int32) for name in INPUTS}
    rows["item"] = np.array(HISTORIES, np.int32)
    rows["step"] = np.where(rows["item"] > 0, np.arange(5, dtype=np.int32), -1)
    item_BK = np.array([[2, 3]] * 3, np.int32)
    found = reasons(rows, item_BK, np.ones((3, 2, 1), np.float32), encode, most=4)
    assert found.tolist() == [
        [[5, 5, 9, 7]] * 2,
        [[7, PADDING, PADDING, PADDING]] * 2,
        [[PADDING] * 4] * 2,
    ]
    first = reasons(rows, item_BK, np.ones((3, 2, 1), np.float32), encode)
    assert first.tolist() == found[..., :1].tolist()
