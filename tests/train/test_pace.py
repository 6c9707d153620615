import re
from dataclasses import replace
from pathlib import Path

import horovod.tensorflow as hvd
import pytest

from recsys.config import Train
from recsys.manifest import Manifest
from recsys.train import pipeline, shards
from recsys.train.pace import Pace, Work, work_of
from recsys.train.shards import Shard
from tests.data import configuration

STAGE = Work(epochs=3, steps=5, is_validated=True)


class _Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _steps(pace: Pace, clock: _Clock, seconds: list[float], events: int = 100) -> None:
    for passed in seconds:
        clock.now += passed
        pace.step(events)


def test_the_pace_is_of_all_ranks_and_all_epochs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    clock = _Clock()
    pace = Pace(replace(STAGE, is_validated=False), ranks=2, clock=clock)
    pace.begin(epoch=2, done=1)
    _steps(pace, clock, [10], events=900)
    _steps(pace, clock, [2], events=60)
    _steps(pace, clock, [29], events=250)
    # 310 events of either rank in 31 seconds behind the first step; 6 steps of 15.5 s to go.
    expected = "epoch 2 of 3, step 4 of 5: 20 events/s, at most about 0:01:33 left"
    assert caplog.messages == [expected]


def test_short_epochs_are_told_of_as_often_as_long_ones(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    clock = _Clock()
    pace = Pace(replace(STAGE, epochs=20), ranks=1, clock=clock)
    for epoch in range(1, 21):
        pace.begin(epoch, done=0)
        _steps(pace, clock, [1, 1, 1, 1, 1])
        clock.now += 2
        pace.validated(2)
        pace.close()
    # 140 seconds; a line comes at the first step after every 30.
    told = [
        re.match(r"epoch (\d+) of 20, step (\d) of 5: 100 ev", line) for line in caplog.messages
    ]
    assert [tuple(map(int, own.groups())) for own in told] == [(5, 2), (9, 4), (14, 1), (18, 3)]
    # Of the last: 12 steps of 1 s, and 3 validations of 2 s.
    assert caplog.messages[-1].endswith("events/s, at most about 0:00:18 left with validation")


def test_what_is_left_names_what_it_covers_and_holds_at_an_epochs_end() -> None:
    clock = _Clock()
    later = replace(STAGE, later_steps=30, later_validations=4, later=("refit", "2 more seeds"))
    paces = [Pace(work, ranks=1, clock=clock) for work in (STAGE, later)]
    for pace in paces:
        assert pace.left() == ""
        pace.begin(1, done=0)
    for _ in range(5):
        clock.now += 2
        for pace in paces:
            pace.step(100)
    assert paces[0].left() == "at most about 0:00:20 left, without validation"
    covered = "refit and 2 more seeds"
    assert paces[1].left() == f"at most about 0:01:20 left with {covered}, without validation"
    clock.now += 7
    for pace in paces:
        pace.validated(7)
    assert paces[0].left() == "at most about 0:00:34 left with validation"
    # 10 and 30 steps of 2 s; 2 and 4 validations of 7 s.
    assert paces[1].left() == f"at most about 0:02:02 left with validation and {covered}"
    paces[0].begin(3, done=0)
    _steps(paces[0], clock, [2] * 5)
    paces[0].validated(7)
    assert paces[0].left() == ""  # all is done


def test_work_has_the_stages_to_come(dataset: Manifest) -> None:
    one, both = (
        shards.steps_per_epoch(dataset, splits, 2, 20)
        for splits in (("train",), ("train", "valid"))
    )
    assert both > one

    def work(train: Train, *splits: str, epochs: int) -> Work:
        return work_of(dataset, replace(train, batch_targets_per_rank=20), 2, splits, epochs)

    alone = Train(epochs=7)
    assert work(alone, "train", epochs=7) == Work(7, one, is_validated=True)
    train = Train(
        epochs=7, refit=True, ensemble_seeds=(3, 4), average_checkpoints=2, keep_checkpoints=2
    )
    seeds = 2 * (7 * one + 7 * both)
    assert work(train, "train", epochs=7) == Work(
        7, one, True, 7 * both + seeds, 1 + 2 * 8, ("refit", "2 more seeds")
    )
    last = replace(train, ensemble_seeds=(4,))
    assert work(last, "train", "valid", epochs=3) == Work(
        3, both, False, 7 * one + 7 * both, 8, ("1 more seed",)
    )


@pytest.fixture
def _one_rank() -> None:
    hvd.init()


@pytest.mark.usefixtures("_one_rank")
def test_every_epoch_ends_with_the_time_that_is_left(
    dataset: Manifest, dataset_place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    config = configuration(
        "--paths.dataset", str(dataset_place), "--paths.model", str(tmp_path / "model"),
        "--train.batch_targets_per_rank", "20", "--train.epochs", "2", "--train.negatives", "10",
        "--train.embedding_size", "8", "--train.refit", "true",
        "--train.early_stopping_metric", "ndcg@10",
    )  # fmt: skip
    pipeline._train(config, dataset, Shard(0, 1), pipeline.Run(config, dataset))
    [first, second] = [line for line in caplog.messages if line.startswith("epoch ")]
    covered = r"at most about 0:\d\d:\d\d left with"
    assert re.search(rf" \(best\); {covered} validation and refit$", first)
    assert re.search(rf"; {covered} refit$", second)
    assert [line for line in caplog.messages if line.startswith("refit: ")]
