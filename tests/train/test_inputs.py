import datetime

import numpy as np
import pytest
import tensorflow as tf

from recsys.config import Config, Train
from recsys.errors import ConfigError
from recsys.manifest import Manifest
from recsys.train.catalogue import read_catalogue
from recsys.train.inputs import EventInputs, again, columns


def test_numbers_of_a_step() -> None:
    gap, starts = np.array([0.0, 90.0, 7200.0], np.float32), np.array([1.0, 0.0, 1.0], np.float32)
    batch = {
        "gap_seconds": tf.constant(gap[None].astype(np.int32)),
        "session_start": tf.constant(starts[None].astype(np.int32)),
        "step": tf.constant([[0, 1, 2]]),
    }
    inputs = EventInputs(("dwell", "gap"), 4, {}, width=3)
    found = [number_BT[0] for number_BT in inputs.step_numbers(batch)]
    # With the second step comes how long the first was looked at; with the third, which starts a
    # session, nobody knows how long the second was.
    np.testing.assert_allclose(found[1], [0, np.log1p(1.5), 0], atol=1e-6)
    np.testing.assert_allclose(found[0], np.log1p(gap / 86400), atol=1e-6)
    assert EventInputs(("hour",), 4, {}, width=3).step_numbers(batch) == []


def test_what_came_in_an_earlier_step_comes_again() -> None:
    batch = {
        "item": tf.constant([[5, 6, 6, 5, 7, 0], [1, 1, 5, 5, 0, 0]]),
        "step": tf.constant([[0, 1, 1, 2, 2, -1], [0, 1, 2, 3, -1, -1]]),
    }
    expected = [[0, 0, 0, 1, 0, 0], [0, 0, 0, 1, 0, 0]]  # nobody knows of what is unknown
    np.testing.assert_array_equal(again(batch), expected)
    inputs = EventInputs(("again", "gap"), 4, {}, width=3)
    batch["gap_seconds"] = tf.constant([[0, 9, 9, 5, 5, 0], [0, 1, 2, 3, 0, 0]])
    assert inputs.numbers == 2
    again_BT = inputs.step_numbers(batch)[1]
    np.testing.assert_array_equal(again_BT, [[0, 0, 1, 0], [0, 0, 0, 1]])


def test_hour_and_weekday_are_those_of_utc() -> None:
    inputs = EventInputs(("hour", "weekday"), 4, {}, width=1)
    inputs.tables["hour"].assign(100.0 * tf.range(24, dtype=tf.float32)[:, None])
    inputs.tables["weekday"].assign(tf.range(7, dtype=tf.float32)[:, None])
    # Beyond what 32 bits hold.
    times = [0, 1_700_000_000, 1_700_090_000, 2**31 + 12_345, 4_000_000_000]
    batch = {"timestamp": tf.constant([times], tf.int64)}
    found = inputs.add_vectors(tf.zeros([1, len(times), 1]), batch).numpy()[0, :, 0]
    expected = [datetime.datetime.fromtimestamp(time, datetime.UTC) for time in times]
    assert found.tolist() == [100 * when.hour + when.weekday() for when in expected]


def test_a_number_of_an_event_moves_that_event_alone() -> None:
    inputs = EventInputs(("price", "quantity"), 4, {"price": 0, "quantity": 0}, width=2)
    assert (inputs.numbers, inputs.columns[5:]) == (0, ("price", "quantity"))
    inputs.tables["price"].assign([1.0, -2.0])
    inputs.tables["quantity"].assign([10.0, 0.0])
    batch = {"price": tf.constant([[0.5, -1.0, 0.0]]), "quantity": tf.constant([[0.0, 3.0, 0.0]])}
    found = inputs.add_vectors(tf.ones([1, 3, 2]), batch).numpy()
    np.testing.assert_allclose(found, [[[1.5, 0.0], [30.0, 3.0], [1.0, 1.0]]])


def test_only_what_is_asked_for_is_read() -> None:
    assert columns(Train().event_inputs, {"platform": 4}) == (
        "item", "event_type", "gap_seconds", "session_start", "step"
    )  # fmt: skip
    found = columns(("platform", "weekday", "hour"), {"platform": 4})
    assert found[5:] == ("timestamp", "platform")


def test_words_of_a_search_add_their_vectors_and_missing_ones_nothing() -> None:
    inputs = EventInputs(("query",), 3, {"query_1": 9, "query_2": 9}, 4)
    table = inputs.tables["query"]
    table.assign(np.random.default_rng(1).normal(size=table.shape))
    word_2BL = np.array([[[5, 7, 0]], [[8, 0, 0]]], np.int32)
    batch = {f"query_{number + 1}": tf.constant(own) for number, own in enumerate(word_2BL)}
    found = inputs.add_vectors(tf.ones([1, 3, 4]), batch).numpy()
    rows = table.numpy()
    expected = [1 + rows[5] + rows[8], 1 + rows[7], np.ones(4)]
    np.testing.assert_allclose(found[0], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (Train(event_inputs=("platform",)), r"train\.event_inputs: expected platform only where"),
        (Train(event_inputs=("price",)), r"expected price only .*\(prepare\.event_numbers\.price"),
        (Train(event_type_weights={"buy": 2}), "event_type_weights: expected one of view; found"),
    ],
)
def test_what_the_dataset_lacks_is_named(dataset: Manifest, train: Train, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_catalogue(dataset, Config(train=train), ("train",))
