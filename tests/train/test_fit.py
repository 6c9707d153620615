"""How many epochs a run has, on one rank within this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import horovod.tensorflow as hvd
import pytest

from recsys import files
from recsys.config import Config
from recsys.manifest import Manifest
from recsys.train import pipeline
from recsys.train.fit import epochs_within, fit, time_left
from recsys.train.pace import Work
from recsys.train.progress import Progress
from recsys.train.shards import Shard
from recsys.train.trainer import Trainer
from tests.data import configuration

ALONE = Shard(0, 1)


@pytest.fixture(autouse=True)
def _one_rank() -> None:
    hvd.init()


@pytest.fixture
def config(dataset: Manifest, dataset_place: Path, tmp_path: Path) -> Config:
    return configuration(
        "--paths.dataset", str(dataset_place), "--paths.model", str(tmp_path / "model"),
        "--train.batch_targets_per_rank", "20", "--train.embedding_size", "8",
        "--train.epochs", "4", "--train.patience_epochs", "4", "--train.decay", "linear",
        "--train.warmup_steps", "0", "--train.refit", "true", "--train.max_minutes", "0.0001",
    )  # fmt: skip


def _lines(config: Config, name: str) -> list[dict]:
    version = Path(files.local_copy(files.current(config.paths.model, "")))
    return [json.loads(line) for line in (version / name).read_text().splitlines()]


def test_a_run_has_as_many_epochs_as_there_is_time_for(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    pipeline.train(config, ALONE)
    told = "train.max_minutes: 0.0001 minutes allow 1 epochs in place of 4"
    assert told in caplog.messages
    assert [line["epoch"] for line in _lines(config, "metrics.jsonl")] == [1]
    assert [line["epoch"] for line in _lines(config, "refit.jsonl")] == [1]


def test_every_stage_and_seed_has_the_time_that_those_before_it_left(
    config: Config, dataset: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = replace(config.train, max_minutes=100.0, ensemble_seeds=(2, 3))
    stages: list[tuple[int, tuple[str, ...], int, float, int]] = []

    def fitted(trainer: Trainer, progress: Progress, save: Callable) -> Progress:
        own = trainer.config.train
        stages.append(
            (trainer.config.seed, trainer.splits, trainer.epochs, own.max_minutes, own.epochs)
        )
        if "valid" in trainer.splits:
            return Progress(epoch=3, history=[{"train_seconds": 300.0}] * 2)
        trainer.plan(trainer.epochs - 1)
        done = {"train_seconds": 200.0, "valid_seconds": 100.0}
        return Progress(epoch=4, history=[
            {"epoch": epoch, **done, "recall@20": value}
            for epoch, value in ((1, 0.1), (2, 0.3), (3, 0.2))
        ])  # fmt: skip

    monkeypatch.setattr(pipeline, "fit", fitted)
    first, chosen = pipeline._train(replace(config, train=train), dataset, ALONE, None)
    pipeline._with_others(first, chosen, None)
    both = ("train", "valid")
    assert [stage[:3] for stage in stages] == [
        (1, ("train",), 4), (1, both, 2), (2, ("train",), 3), (2, both, 2), (3, ("train",), 2),
        (3, both, 2),
    ]  # fmt: skip
    # 15 minutes of three epochs, then 10 of two, and so on.
    assert [stage[3] for stage in stages] == pytest.approx([100, 85, 75, 60, 50, 35])
    assert [stage[4] for stage in stages] == [4, 3, 3, 2, 2, 1]


def test_epochs_that_are_done_stay_where_others_would_have_had_no_time_for_them() -> None:
    of_two, of_three = (Work(1, 4, is_validated=True, later_steps=later) for later in (5, 7))
    history = [{"train_seconds": 60.0, "valid_seconds": 5.0}] * 7
    assert epochs_within(16.5, 9, history, of_two) == 7
    assert epochs_within(16.5, 9, history[:1], of_three) == 5
    assert epochs_within(16.5, 9, history, of_three) == 7


def test_the_last_epoch_decays_whatever_it_takes() -> None:
    once = Work(1, 4, is_validated=False)
    history = [{"train_seconds": own} for own in (60.0, 60.0, 61.0, 62.0, 62.0, 62.0, 62.0)]
    found = [epochs_within(8.25, 12, history[:done], once) for done in range(8)]
    assert found == [12, 8, 8, 8, 8, 8, 8, 8]  # eight of 62 s do not fit


def test_the_rate_decays_over_the_epochs_that_there_is_time_for(
    config: Config, dataset: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = pipeline.build(config, dataset, ALONE, ("train",), 4)
    rates: list[float] = []
    step = trainer.train_step
    monkeypatch.setattr(
        trainer, "train_step", lambda batch, rate: (rates.append(float(rate)), step(batch, rate))[1]
    )
    steps = trainer.steps_per_epoch
    # One epoch with its refit has taken a little less than half of the 6 ms.
    seconds = 0.0029 * steps / (steps + _refit(config, dataset).steps_per_epoch)
    done = {"epoch": 1, "train_seconds": seconds, "valid_seconds": 0.0, "recall@20": 0.0}
    reached = fit(trainer, Progress(epoch=2, history=[done]), lambda _: None)
    assert reached.epoch == 3
    assert len(rates) == steps
    whole = config.train.learning_rate
    assert rates == pytest.approx([whole * (1 - (steps + k) / (2 * steps)) for k in range(steps)])


def test_a_refit_has_the_epochs_that_there_is_time_for_when_it_comes(
    config: Config, dataset: Manifest
) -> None:
    config = replace(config, train=replace(config.train, max_minutes=10.0))
    done = {"train_seconds": 60.0, "valid_seconds": 30.0}
    later = time_left(config, [done] * 4)
    assert later == replace(config, train=replace(config.train, max_minutes=4.0))
    refit = pipeline.build(later, dataset, ALONE, ("train", "valid"), 4)
    # Into four minutes fit two epochs of about two.
    history = [{"train_seconds": 119.0 + place} for place in range(2)]
    reached = fit(refit, Progress(epoch=3, history=history), lambda _: None)
    assert (reached.epoch, refit.epochs) == (3, 2)


def test_time_that_is_over_is_a_limit_and_without_a_limit_there_is_none(config: Config) -> None:
    done = [{"train_seconds": 60.0, "valid_seconds": 30.0}]
    assert 0 < time_left(config, done).train.max_minutes < 1e-6
    without = replace(config, train=replace(config.train, max_minutes=0.0))
    assert time_left(without, done) == without


def test_what_is_left_is_of_the_epochs_that_there_is_time_for(
    config: Config, dataset: Manifest
) -> None:
    trainer = pipeline.build(config, dataset, ALONE, ("train",), 4)
    trainer.plan(3)
    assert trainer.pace._work == trainer._work()
    assert (trainer.pace._work.epochs, trainer.epochs, trainer.config.train.epochs) == (3, 3, 3)
    assert trainer.pace._work.later_steps == 3 * _refit(config, dataset).steps_per_epoch


def _refit(config: Config, dataset: Manifest) -> Trainer:
    return pipeline.build(config, dataset, ALONE, ("train", "valid"), 1)
