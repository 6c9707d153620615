"""Run under horovodrun: ranks agree on sparse and dense gradients; rank 1 has no slices."""

import horovod.tensorflow as hvd
import numpy as np
import tensorflow as tf

from recsys.train.exchange import mean_gradients

ROWS = (9, 20)


def own(rank: int) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """The rows and slices of two tables, with duplicates, and a dense gradient."""
    rng, slices = np.random.default_rng(rank), 0 if rank == 1 else 5
    named = [rng.integers(0, rows, slices) for rows in ROWS]
    values = [rng.random((slices, 3), np.float32), rng.random(slices, np.float32)]
    return named, values, rng.random((4, 2), np.float32)


def main() -> None:
    hvd.init()
    (first, second), values, dense = own(hvd.rank())
    gradients = [
        tf.IndexedSlices(values[0], tf.constant(first, tf.int32), tf.constant([ROWS[0], 3])),
        tf.constant(dense),
        tf.IndexedSlices(values[1], tf.constant(second, tf.int64), tf.constant([ROWS[1]])),
    ]
    weight = tf.constant(float(hvd.rank() + 1))
    summed = tf.function(lambda: mean_gradients(gradients, weight, hvd.size()), autograph=False)()
    expected = [np.zeros((ROWS[0], 3)), np.zeros((4, 2)), np.zeros(ROWS[1])]
    for rank in range(hvd.size()):
        named, values, dense = own(rank)
        np.add.at(expected[0], named[0], values[0])
        np.add.at(expected[2], named[1], values[1])
        expected[1] += dense
    weights = hvd.size() * (hvd.size() + 1) / 2
    for found, total in zip(summed, expected, strict=True):
        np.testing.assert_allclose(tf.convert_to_tensor(found), total / weights, atol=1e-6)
    print(f"rank {hvd.rank()} agrees")


if __name__ == "__main__":
    main()
