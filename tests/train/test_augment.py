"""What augmentation may change, and what never: random rows, read back event by event."""

from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from recsys.config import Train
from recsys.config.augment import Augment
from recsys.errors import ConfigError
from recsys.schemas import FIRST_ITEM, UNKNOWN
from recsys.train.augment import Augmented, augmented
from recsys.train.batch import step_days, target_cases
from recsys.train.batches import COLUMNS
from recsys.train.model import Recommender
from recsys.train.noise import Noise
from recsys.train.objective import batch_loss
from recsys.train.tower import Catalogue
from tests.datasets import random_rows

ITEMS, ROWS = 30, 200
Rows = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def rows() -> Rows:
    rng = np.random.default_rng(3)
    arrays = random_rows(rng, ROWS, ITEMS, step_events=3)
    found = {name: arrays[name].astype(np.int32) for name in COLUMNS}
    # Each step its own gap, and every other one starts a session; 40 + the step is its event type.
    found["gap_seconds"] = np.where(found["step"] >= 0, 1000 + found["step"] ** 2, 0)
    found["session_start"] = np.where(found["step"] >= 0, 1 - found["step"] % 2, 0)
    found["timestamp"] = np.where(found["step"] >= 0, 2**40 + found["step"] * 1000, 0)
    found["event_type"] = np.where(found["step"] >= 0, 40 + found["step"], 0)
    found["price"] = np.float32(0.25) - found["item"].astype(np.float32)  # of each item its own
    found["price"][found["item"] == 0] = 0
    return found


def _augmented(rows: Rows, augment: Augment, seed: int = 1) -> tuple[Augmented, Rows, list]:
    """What became of the rows, its batch as arrays, and row, step and new step of asked cases."""
    batch = {name: tf.constant(values) for name, values in rows.items()}
    row, step, *_ = target_cases(batch)
    made = augmented(batch, row, step, augment, Noise(seed, tf.constant(5)).apart())
    asked = made.is_asked_C.numpy()
    cases = [values.numpy()[asked] for values in (row, step, made.step_C)]
    return (
        made,
        {name: values.numpy() for name, values in made.batch.items()},
        list(zip(*cases, strict=True)),
    )


def _steps(rows: Rows, row: int, until: int = 99) -> list[tuple[int, Counter]]:
    """Of a row's steps before the given one: the old number, and the items as a set."""
    found = []
    for step in range(min(until, rows["step"][row].max() + 1)):
        here = rows["step"][row] == step
        (old,) = set(rows["event_type"][row][here] - 40)  # all events of a step stay together
        found.append((int(old), Counter(rows["item"][row][here].tolist())))
    return found


def test_without_a_way_nothing_changes(rows: Rows) -> None:
    made, found, _ = _augmented(rows, Augment(rows=1.0, reorder=0.001))  # a stretch of no step
    for name in COLUMNS:
        if name != "target":
            np.testing.assert_array_equal(found[name], rows[name], err_msg=name)
    assert made.is_asked_C.numpy().all()


@pytest.mark.parametrize("augment", [Augment(1.0, crop=0.6), Augment(1.0, reorder=0.5)])
def test_a_number_stays_with_its_event(rows: Rows, augment: Augment) -> None:
    _, found, _ = _augmented(rows, augment)
    assert found["price"].dtype == np.float32
    assert not np.array_equal(found["item"], rows["item"])
    expected = np.where(found["item"] > 0, np.float32(0.25) - found["item"], 0)
    np.testing.assert_array_equal(found["price"], expected)


def test_a_cropped_row_has_lost_its_first_steps_alone(rows: Rows) -> None:
    _, found, cases = _augmented(rows, Augment(rows=1.0, crop=0.6))
    cuts = set()
    for row in range(ROWS):
        before, after = _steps(rows, row), _steps(found, row)
        cut = len(before) - len(after)
        assert after == before[cut:]
        assert cut <= 0.6 * len(before)
        assert len(after) >= min(2, len(before))
        cuts.add(cut)
        if before:
            first = found["step"][row] == 0
            assert set(found["gap_seconds"][row][first]) == {1000 + cut**2}
    assert len(cuts) > 2
    for row, step, new in cases:
        assert _steps(found, row, new) == _steps(rows, row, step)[-new:]


def test_masked_items_are_unknown_and_all_else_stays(rows: Rows) -> None:
    _, found, cases = _augmented(rows, Augment(rows=1.0, mask=0.3))
    changed = found["item"] != rows["item"]
    assert (found["item"][changed] == UNKNOWN).all()
    assert changed.sum() == pytest.approx(0.3 * (rows["item"] >= FIRST_ITEM).sum(), rel=0.15)
    for name in ("event_type", "gap_seconds", "session_start", "step"):
        np.testing.assert_array_equal(found[name], rows[name], err_msg=name)
    assert all(step == new for _, step, new in cases)


def test_a_mixed_stretch_hides_no_target_in_front_of_itself(rows: Rows) -> None:
    _, found, cases = _augmented(rows, Augment(rows=1.0, reorder=0.7))
    mixed = 0
    for row in range(ROWS):
        before, after = _steps(rows, row), _steps(found, row)
        assert sorted(before, key=lambda step: step[0]) == sorted(after, key=lambda step: step[0])
        mixed += before != after
        # Times stay at their places.
        np.testing.assert_array_equal(_times(found, row), _times(rows, row))
    assert mixed > ROWS / 4
    for row, step, new in cases:
        assert new == step
        assert {old for old, _ in _steps(found, row, new)} == set(range(step))


def _times(rows: Rows, row: int) -> list[tuple[int, ...]]:
    where = [
        np.flatnonzero(rows["step"][row] == step)[0] for step in range(rows["step"][row].max())
    ]
    return [
        tuple(rows[name][row][at] for name in ("gap_seconds", "session_start", "timestamp"))
        for at in where
    ]


def test_dropped_events_are_gone_and_their_time_is_not(rows: Rows) -> None:
    _, found, cases = _augmented(rows, Augment(rows=1.0, drop=0.4))
    events = (rows["step"] >= 0).sum()
    assert (found["step"] >= 0).sum() == pytest.approx(0.6 * events, rel=0.1)
    days = [
        step_days({name: tf.constant(values[name]) for name in values}) for values in (rows, found)
    ]
    for row in range(ROWS):
        before, after = dict(_steps(rows, row)), _steps(found, row)
        for new, (old, items) in enumerate(after):
            assert items <= before[old]
            at = np.flatnonzero(found["step"][row] == new)[0]
            was = np.flatnonzero(rows["step"][row] == old)[0]
            first_was = np.flatnonzero(rows["step"][row] == after[0][0])[0]
            elapsed = days[0][row, was] - days[0][row, first_was]
            np.testing.assert_allclose(days[1][row, at] - days[1][row, 0], elapsed, atol=1e-5)
    lost = 0
    for row, step, new in cases:
        history = _steps(found, row, new)
        assert history
        assert all(old < step for old, _ in history)
        assert not any(
            new <= place for place, (old, _) in enumerate(_steps(found, row)) if old < step
        )
        lost += new < step
    assert lost > 0
    # Padding is at the end, as the dataset has it.
    is_event = found["step"] >= 0
    assert (np.diff(is_event.astype(int), axis=1) <= 0).all()
    for name in ("item", "event_type", "gap_seconds", "session_start"):
        assert (found[name][~is_event] == 0).all(), name


def test_the_share_of_rows_is_changed_each_in_one_way(rows: Rows) -> None:
    _, found, _ = _augmented(rows, Augment(rows=0.5, crop=0.9, mask=0.9))
    masked = (found["item"] == UNKNOWN).any(axis=1)
    cropped = found["step"].max(axis=1) < rows["step"].max(axis=1)
    assert not (masked & cropped).any()
    possible = rows["step"].max(axis=1) >= 4
    assert (masked | cropped)[possible].mean() == pytest.approx(0.45, abs=0.12)


def test_draws_depend_on_seed_and_step_alone(rows: Rows) -> None:
    augment = Augment(rows=1.0, drop=0.3)
    again, other = (_augmented(rows, augment, seed)[1]["item"] for seed in (1, 2))
    np.testing.assert_array_equal(_augmented(rows, augment)[1]["item"], again)
    assert (again != other).any()


def _loss(train: Train, rows: Rows, seed: int) -> float:
    size = ITEMS + FIRST_ITEM
    model = Recommender(train, Catalogue(size, 60, np.arange(size)), seed=1)
    batch = {name: tf.constant(values) for name, values in rows.items()}
    noise = Noise(seed, tf.constant(1))
    return float(batch_loss(model, batch, "cross_entropy", 0.0, None, noise)[0])


def test_without_augmentation_the_other_draws_are_what_they_were(rows: Rows) -> None:
    # A stretch of no step changes nothing: the loss then is that without augmentation at all.
    off, on = (
        Train(embedding_size=8),
        Train(embedding_size=8, augment=Augment(rows=1.0, reorder=0.001)),
    )
    assert _loss(on, rows, seed=4) == pytest.approx(_loss(off, rows, seed=4), rel=1e-6)
    dropping = Train(embedding_size=8, augment=Augment(rows=1.0, drop=0.5))
    assert _loss(dropping, rows, seed=4) != pytest.approx(_loss(off, rows, seed=4), rel=1e-3)


def test_an_impossible_share_is_named() -> None:
    with pytest.raises(
        ConfigError, match=r"train\.augment\.mask: expected a share from 0 to below 1"
    ):
        Augment(mask=1.0)
