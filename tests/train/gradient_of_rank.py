"""Run under horovodrun: the gradient that the ranks agree on for a batch that is split unequally."""

import sys

import numpy as np
import tensorflow as tf

from recsys.config import Train
from recsys.manifest import read
from recsys.train import batches, ranks
from recsys.train.batches import Shard
from recsys.train.loop import batch_loss
from recsys.train.model import Batch, Catalogue, Recommender


def build(dataset_place: str) -> tuple[Recommender, Batch]:
    """A model and all rows of the first row groups as one batch."""
    dataset = read(dataset_place)
    size = dataset.vocabulary_size
    catalogue = Catalogue(size, dataset.event_type_size, np.arange(size), {}, {})
    model = Recommender(Train(embedding_size=8, dropout=0.0), catalogue, seed=1)
    with batches.open_epoch(dataset, "train", Shard(0, 1), 8, None) as epoch:
        parts = list(epoch)
    return model, {name: tf.concat([part[name] for part in parts], 0) for name in parts[0]}


def main(dataset_place: str, output: str, power: float) -> None:
    shard = ranks.start(cpu_threads=1)
    model, batch = build(dataset_place)
    # Rank 0 takes a quarter of the rows, the last rank what is left.
    edges = [0, 8] if shard.rank == 0 else [8, 32]
    mine = (
        batch if shard.ranks == 1 else {name: v[edges[0] : edges[1]] for name, v in batch.items()}
    )
    with tf.GradientTape() as tape:
        loss_sum, weight_sum = batch_loss(model, mine, power, training=True)
    gradients = ranks.sum_gradients(tape, loss_sum, weight_sum, model.trainable_variables)
    if shard.rank == 0:
        np.savez(output, *[gradient.numpy() for gradient in gradients])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
