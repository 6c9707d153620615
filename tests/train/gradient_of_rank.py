"""Run under horovodrun: the gradients that ranks with unequal parts of a batch agree on.

At the end rank 1 stands still, and rank 0 waits for it.
"""

import os
import signal
import sys
from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf

from recsys.config import Train
from recsys.manifest import read
from recsys.schemas import BOUGHT
from recsys.train import batches, exchange, ranks, rollcall
from recsys.train.batch import Batch, joined
from recsys.train.batches import Shard
from recsys.train.model import Recommender
from recsys.train.objective import batch_loss
from recsys.train.tower import Catalogue
from recsys.train.watch import Watch

TRAIN = Train(embedding_size=8, cpu_threads=1, purchase_weight=0.7)


def build(dataset_place: str) -> tuple[Recommender, Batch]:
    """A model and all rows of the first row groups as one batch."""
    dataset = read(dataset_place)
    size = dataset.vocabulary_size
    catalogue = Catalogue(size, dataset.event_type_size, np.arange(size), {}, {})
    model = Recommender(TRAIN, catalogue, seed=1)
    with batches.open_epoch(dataset, ("train",), Shard(0, 1), 1000, None) as epoch:
        batch = joined(list(epoch))
    # One item in five has no label.
    label_BL = tf.minimum(batch["item"] % 5, BOUGHT)
    return model, {**batch, "purchase": batch["target"] * label_BL}


def main(dataset_place: str, folder: Path, powers: list[float]) -> None:
    shard = ranks.start(TRAIN)
    model, batch = build(dataset_place)
    # Rank 0 takes a quarter of the rows, the last rank what is left.
    edges = [0, 8] if shard.rank == 0 else [8, 32]
    mine = {name: values[edges[0] : edges[1]] for name, values in batch.items()}
    total = partial(ranks.sum_tensor, name="labels")
    for power in powers:
        with tf.GradientTape() as tape:
            loss_sum, weight_sum = batch_loss(
                model, mine, "cross_entropy", power, None, None, total
            )
        own = tape.gradient(loss_sum, model.trainable_variables)
        gradients = exchange.mean_gradients(own, weight_sum, shard.ranks)
        # Rank 0 has nothing, the others do.
        gathered = ranks.gathered(np.arange(3 * shard.rank, dtype=np.float32), "own")
        if shard.rank == 0:
            arrays = [tf.convert_to_tensor(gradient).numpy() for gradient in gradients]
            np.savez(folder / f"{power}.npz", *arrays, gathered=gathered)
    if shard.rank == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
    with Watch(1.0).waiting("rank 0: expected both", lambda: rollcall.found(shard, "the-end")):
        ranks.sum_tensor(tf.constant(1.0), "the-end")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), [float(power) for power in sys.argv[3:]])
