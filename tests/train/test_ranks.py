from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from recsys.manifest import Manifest
from recsys.train.objective import batch_loss
from tests.processes import ROOT, horovodrun
from tests.train.gradient_of_rank import build


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_two_ranks_with_unequal_targets_give_the_gradient_of_one_process(
    dataset: Manifest, dataset_place: Path, tmp_path: Path, power: float
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

    output = tmp_path / "gradients.npz"
    script = ROOT / "tests" / "train" / "gradient_of_rank.py"
    ended = horovodrun(2, str(script), str(dataset_place), str(output), str(power))
    assert ended.returncode == 0, ended.stderr[-2000:]
    found = np.load(output)
    names = [name for name in found.files if name != "gathered"]
    assert found["gathered"].tolist() == [0, 1, 2]
    assert len(names) == len(expected)
    for name, gradient in zip(names, expected, strict=True):
        np.testing.assert_allclose(found[name], tf.convert_to_tensor(gradient), atol=1e-5)
