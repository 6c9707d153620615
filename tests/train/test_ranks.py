from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from recsys.manifest import Manifest
from recsys.train.objective import batch_loss
from tests.processes import ROOT, horovod_command, horovodrun, run
from tests.train.gradient_of_rank import build

POWERS = (0.0, 1.0)


@dataclass
class Ended:
    """A job of two ranks.

    Args:
        folder: with what rank 0 wrote
        code: its exit code
        said: by all of them
    """

    folder: Path
    code: int
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
    job = run(horovod_command(hosts, script, *arguments), seconds=120)
    return Ended(folder, job.returncode, job.stdout + job.stderr)


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


def test_a_rank_that_stands_still_is_named_and_the_job_stopped(ended: Ended) -> None:
    assert ended.code != 0
    assert "rank 0: expected both; found no rank 1 in 1 seconds" in ended.said


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_agree_on_the_sum_of_their_gradients(ranks: int) -> None:
    job = horovodrun(ranks, str(ROOT / "tests" / "train" / "exchange_of_rank.py"))
    assert job.returncode == 0, job.stderr[-2000:]
    assert all(f"rank {rank} agrees" in job.stdout for rank in range(ranks))
