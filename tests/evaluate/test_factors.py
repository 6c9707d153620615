from __future__ import annotations

import numpy as np

from recsys.evaluate.ranked import read_batch
from recsys.evaluate.references.factors import Factors
from tests.evaluate.plain import folded_in
from tests.evaluate.rows import record_batch, row


def test_a_history_is_folded_in_as_als_would_have_it() -> None:
    rng = np.random.default_rng(1)
    vectors = np.concatenate([np.zeros((2, 3)), rng.normal(size=(6, 3))])
    factors = Factors(vectors, regularisation=0.1, confidence=5, popularity=np.zeros(8))
    steps = [[2, 3], [3, 5], [1], [4]]
    rows = record_batch([row("u", list(enumerate(steps)), 2)], [[]])
    scores = factors.scores(read_batch(rows))
    assert len(scores) == 2, "steps 2 and 3"
    for case, number in enumerate((2, 3)):
        expected = vectors @ folded_in(steps[:number], vectors, 0.1, 5)
        shifted = (expected - min(expected.min(), 0))[2:]
        levels = scores[case, 2:]
        np.testing.assert_allclose(levels / levels.max(), shifted / shifted.max(), atol=1e-8)
