"""The ranks of validation's targets, in parts of any size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import horovod.tensorflow as hvd
import numpy as np
import pytest
import tensorflow as tf

from recsys.manifest import Manifest
from recsys.train import pipeline
from recsys.train.batch import spec, target_cases
from recsys.train.model import Recommender
from recsys.train.progress import METRICS
from recsys.train.shards import Shard
from recsys.train.validation import TargetRanks
from tests.data import configuration


@pytest.fixture
def eager() -> Iterator[None]:
    hvd.init()
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(("at_once", "lanes"), [(1, 1), (100, 1), (10**6, 1), (10**6, 3)])
def test_ranks_are_the_same_however_many_scores_are_made_at_once(
    dataset: Manifest,
    dataset_place: Path,
    at_once: int,
    lanes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = configuration(
        "--paths.dataset", str(dataset_place), "--train.embedding_size", "4",
        "--ranking.exclude_history", "true",
    )  # fmt: skip
    trainer = pipeline.build(config, dataset, Shard(0, 1), ("train",), 1)
    rng = np.random.default_rng(5)
    for variable in trainer.variables:
        variable.assign(rng.normal(size=variable.shape))
    batch = {name: spec(name) for name in trainer.columns}
    trainer.ranks_of = TargetRanks(trainer.model, True, batch, at_once, lanes)
    scored: list[int] = []
    scores_of = Recommender.scores_of

    def noted(model: Recommender, *given: tf.Tensor) -> tf.Tensor:
        found = scores_of(model, *given)
        scored.append(int(tf.size(found)))
        return found

    monkeypatch.setattr(Recommender, "scores_of", noted)
    found = trainer.validate()
    assert max(scored) <= max(at_once, dataset.vocabulary_size)
    if at_once == 10**6:  # else they are in parts in any case
        assert len(scored) == lanes * len(dataset.splits["valid"].files)
    expected = _by_hand(trainer)
    assert found["recall@20"] == pytest.approx(expected["recall@20"], abs=1e-9)
    assert found["mrr@10"] == pytest.approx(expected["mrr@10"], abs=1e-9)
    assert set(METRICS) <= set(found)


def _by_hand(trainer: pipeline.Trainer) -> dict[str, float]:
    """Two of the metrics, case by case from all scores."""
    recall, mrr = [], []
    with trainer._opened(("valid",), None) as epoch:
        for batch in epoch:
            row_C, step_C, case_P, item_P = (part.numpy() for part in target_cases(batch))
            scores_CV = trainer.model.scores(batch, row_C, step_C).numpy()
            scores_CV[:, :2] = -np.inf
            for case, (row, step) in enumerate(zip(row_C, step_C, strict=True)):
                seen = batch["item"].numpy()[row][batch["step"].numpy()[row] < step]
                scores_CV[case, seen] = -np.inf
                targets = item_P[case_P == case]
                scores = scores_CV[case]
                ranks = np.array([np.sum(scores >= scores[item]) for item in targets])
                ranks[np.isinf(scores[targets])] = 1000
                recall.append(np.mean(ranks <= 20))
                mrr.append(max(np.where(ranks <= 10, 1 / ranks, 0)))
    return {"recall@20": float(np.mean(recall)), "mrr@10": float(np.mean(mrr))}
