from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import horovod.tensorflow as hvd
import numpy as np
import pytest
import tensorflow as tf

from recsys import files
from recsys.manifest import Manifest
from recsys.train import batches, checkpoints, pipeline
from recsys.train.batch import joined
from recsys.train.ensemble import Ensemble
from recsys.train.objective import batch_loss
from recsys.train.schedule import learning_rate
from recsys.train.shards import Shard
from recsys.train.trainer import Trainer
from tests.processes import ROOT, horovod_command, horovodrun, run
from tests.train.gradient_of_rank import build, together, uneven

POWERS = (0.0, 1.0)


@dataclass
class Ended:
    """A job of two ranks.

    Args:
        folder: with what rank 0 wrote
        said: by all of them
    """

    folder: Path
    said: str


@pytest.fixture(scope="module")
def ended(
    dataset: Manifest, dataset_place: Path, tmp_path_factory: pytest.TempPathFactory
) -> Ended:
    """On two hosts, as far as the launcher can tell."""
    folder = tmp_path_factory.mktemp("ranks")
    script = str(ROOT / "tests" / "train" / "gradient_of_rank.py")
    hosts = ("-np", "2", "-H", "localhost:1,127.0.0.1:1")
    arguments = [str(dataset_place), str(folder), *map(str, POWERS)]
    job = run(horovod_command(hosts, script, *arguments))
    assert job.returncode == 0, job.stderr[-3000:]
    return Ended(folder, job.stdout + job.stderr)


@pytest.mark.parametrize("power", POWERS)
def test_two_ranks_with_unequal_targets_give_the_gradient_of_one_process(
    dataset_place: Path, ended: Ended, power: float
) -> None:
    model, batch = build(str(dataset_place))
    parts = [
        {name: values[rows] for name, values in batch.items()} for rows in (slice(8), slice(8, 32))
    ]
    targets = [int(tf.reduce_sum(part["target"])) for part in parts]
    assert targets[1] > 2 * targets[0]  # else the test shows nothing
    with tf.GradientTape() as tape:
        loss_sum, weight_sum = batch_loss(model, batch, "cross_entropy", power, None, None)
        mean = loss_sum / weight_sum
    expected = tape.gradient(mean, model.trainable_variables)

    assert (ended.folder / f"{power}.npz").exists(), ended.said[-2000:]
    found = np.load(ended.folder / f"{power}.npz")
    names = [name for name in found.files if name != "gathered"]
    assert found["gathered"].tolist() == [0, 1, 2]
    assert len(names) == len(expected)
    for name, gradient in zip(names, expected, strict=True):
        np.testing.assert_allclose(found[name], tf.convert_to_tensor(gradient), atol=1e-5)


@pytest.fixture
def eager() -> Iterator[None]:
    """One rank, whose graphs would take longer than the steps."""
    hvd.init()
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.usefixtures("eager")
def test_ranks_with_unequal_row_groups_learn_what_one_process_does(
    dataset_place: Path, ended: Ended
) -> None:
    trainer = uneven(str(dataset_place), Shard(0, 1))
    shards = [Shard(rank, 2) for rank in range(2)]
    seed, train = trainer.config.seed * 1000 + 1, trainer.config.train
    with ExitStack() as files_of:
        epochs = [
            files_of.enter_context(
                batches.open_epoch(trainer.manifest, ("train",), shard, 20, seed, trainer.columns)
            )
            for shard in shards
        ]
        steps = [list(both) for both in zip(*epochs, strict=True)]
    assert not any(len(batch["item"]) for _, batch in steps[-1:])  # rank 1 has nothing left
    for done, both in enumerate(steps):
        rate = learning_rate(train, done, train.epochs * len(steps), 2)
        trainer.train_batch(joined(both), tf.constant(rate, tf.float32))
    for rank in range(2):
        _assert_weights(np.load(ended.folder / f"uneven-{rank}.npz"), trainer)


def test_all_ranks_name_the_one_whose_loss_is_no_number(ended: Ended) -> None:
    told = [(ended.folder / f"fault-{rank}.txt").read_text() for rank in range(2)]
    assert told[0] == told[1]
    expected = "epoch 1, step 5, rank 1: expected a finite loss, found nan; the batch's first row"
    assert told[0].startswith(expected)
    assert "rank 0" not in told[0]


@pytest.mark.usefixtures("eager")
def test_two_ranks_make_and_judge_an_ensemble_as_one_process_does(
    dataset: Manifest, dataset_place: Path, ended: Ended
) -> None:
    config, alone = together(str(dataset_place), ended.folder), Shard(0, 1)
    [version] = (ended.folder / "model" / "versions").iterdir()
    members = [pipeline.build(config, dataset, alone, ("train",), 1) for _ in range(2)]
    for folder, member in zip((version, version / "seed-2"), members, strict=True):
        state = [*member.variables, *member.optimizer.state()]
        checkpoints.restore(files.as_url(str(folder / "best")), "best", state)
    both = replace(members[0], model=Ensemble([member.model for member in members]))
    recall = both.validate()["recall@20"]
    for rank in range(2):
        found = np.load(ended.folder / f"ensemble-{rank}.npz")
        assert float(found["recall"]) == pytest.approx(recall, abs=1e-9)
        _assert_weights(found, both)


def _assert_weights(found: Mapping[str, np.ndarray], trainer: Trainer) -> None:
    for place, variable in enumerate(trainer.variables):
        np.testing.assert_allclose(found[f"arr_{place}"], variable.numpy(), atol=1e-5)


def test_more_than_two_ranks_agree_on_the_sum_of_their_gradients() -> None:
    job = horovodrun(3, str(ROOT / "tests" / "train" / "exchange_of_rank.py"))
    assert job.returncode == 0, job.stderr[-2000:]
    assert all(f"rank {rank} agrees" in job.stdout for rank in range(3))
