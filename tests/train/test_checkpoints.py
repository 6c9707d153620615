import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from recsys import files
from recsys.errors import DataError
from recsys.train import checkpoints


def _variables(start: float) -> list[tf.Variable]:
    return [tf.Variable(tf.fill([3, 2], start)), tf.Variable(int(start), dtype=tf.int64)]


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    folder = files.as_url(str(tmp_path))
    checkpoints.save(folder, "epoch-0001", _variables(4.0), {"epoch": 1})
    restored = _variables(0.0)
    assert checkpoints.restore(folder, "epoch-0001", restored) == {"epoch": 1}
    np.testing.assert_array_equal(restored[0].numpy(), np.full((3, 2), 4.0))
    assert restored[1].numpy() == 4


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    folder = files.as_url(str(tmp_path))
    checkpoints.save(folder, "epoch-0001", _variables(4.0), {})
    path = tmp_path / "epoch-0001.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"epoch-0001\.npz: expected the content that was written"):
        checkpoints.restore(folder, "epoch-0001", _variables(0.0))


def test_every_flipped_bit_of_the_progress_is_noticed_and_the_one_before_taken(
    tmp_path: Path,
) -> None:
    folder = files.as_url(str(tmp_path))
    for epoch in (1, 2):
        checkpoints.save(folder, f"epoch-{epoch}", _variables(4.0), {"epoch": epoch, "loss": 2.5})
    path = tmp_path / "epoch-2.json"
    written = path.read_bytes()
    for bit in range(0, 8 * len(written), 5):
        content = bytearray(written)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(content))
        found = checkpoints.restore_last(folder, _variables(0.0))
        assert found == {"epoch": 1, "loss": 2.5}, content


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = files.as_url(str(tmp_path))
    checkpoints.save(folder, "epoch-0001", _variables(4.0), {})
    with pytest.raises(DataError, match="shapes"):
        checkpoints.restore(folder, "epoch-0001", [tf.Variable(tf.zeros([2, 2]))])


def test_the_mean_is_of_the_last_whole_checkpoints(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = files.as_url(str(tmp_path))
    for epoch in range(1, 5):
        checkpoints.save(folder, f"epoch-{epoch}", _variables(float(epoch)), {})
    weights, _ = _variables(0.0)
    assert checkpoints.restore_mean(folder, 3, [weights]) == 3
    np.testing.assert_array_equal(weights.numpy(), np.full((3, 2), (2 + 3 + 4) / 3))
    (tmp_path / "epoch-3.npz").write_bytes(b"")
    assert checkpoints.restore_mean(folder, 3, [weights]) == 2
    np.testing.assert_array_equal(weights.numpy(), np.full((3, 2), (2 + 4) / 2))
    assert "epoch-3.npz" in caplog.text
    with pytest.raises(DataError, match="to take the mean of, found none"):
        checkpoints.restore_mean(files.join(folder, "nothing"), 3, [weights])


def test_those_of_another_run_are_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = files.as_url(str(tmp_path))
    for epoch, run in enumerate(["this", "other", "this", "other"], start=1):
        checkpoints.save(folder, f"epoch-{epoch}", _variables(epoch), {"epoch": epoch}, run)
    restored = _variables(0.0)
    assert checkpoints.restore_last(folder, restored, run="this") == {"epoch": 3}
    assert restored[1].numpy() == 3
    expected = f"{folder}/epoch-4.json: expected a checkpoint of the run this, found one of other"
    assert caplog.messages == [f"{expected}; the checkpoint before it is tried"]
    assert checkpoints.restore_mean(folder, 4, restored[:1], "this") == 2
    np.testing.assert_array_equal(restored[0].numpy(), np.full((3, 2), 2.0))
    with pytest.raises(DataError, match="found one of other"):
        checkpoints.restore(folder, "epoch-2", restored, "this")
    with pytest.raises(DataError, match="whole checkpoint of this run, found 4 damaged or of oth"):
        checkpoints.restore_last(folder, restored, run="nobody's")


def test_one_from_before_checkpoints_named_their_run_is_read(tmp_path: Path) -> None:
    folder = files.as_url(str(tmp_path))
    checkpoints.save(folder, "best", _variables(4.0), {"epoch": 1})
    path = tmp_path / "best.json"
    about = json.loads(path.read_text())
    told = {name: about[name] for name in ("progress", "sha256")}
    told["about_sha256"] = files.fingerprint([json.dumps(told, sort_keys=True)])
    path.write_text(json.dumps(told))
    assert checkpoints.read(folder, "best")[1] == {"epoch": 1}
    with pytest.raises(DataError, match="of the run this, found one of None"):
        checkpoints.read(folder, "best", "this")


def test_one_that_lacks_its_arrays_is_passed_over_and_removed(tmp_path: Path) -> None:
    folder = files.as_url(str(tmp_path))
    for epoch in (1, 2):
        checkpoints.save(folder, f"epoch-{epoch}", _variables(float(epoch)), {"epoch": epoch})
    (tmp_path / "epoch-2.npz").unlink()
    assert checkpoints.restore_last(folder, _variables(0.0)) == {"epoch": 1}
    checkpoints.drop_behind(folder, "epoch-1")
    assert checkpoints.names(folder) == ["epoch-1"]


def test_the_last_few_stay(tmp_path: Path) -> None:
    folder = files.as_url(str(tmp_path))
    for epoch in range(5):
        checkpoints.save(folder, f"epoch-{epoch:04d}", _variables(epoch), {})
        checkpoints.keep_last(folder, 2)
    assert checkpoints.names(folder) == ["epoch-0003", "epoch-0004"]
    assert len(list(tmp_path.iterdir())) == 4
    checkpoints.drop_behind(folder, "epoch-0003")
    assert checkpoints.names(folder) == ["epoch-0003"]
    assert len(list(tmp_path.iterdir())) == 2
