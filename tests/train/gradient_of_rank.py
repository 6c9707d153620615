"""Run under horovodrun: what ranks with unequal parts of the rows agree on."""

import math
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf

from recsys import manifest
from recsys.config import Config, Paths, Train
from recsys.errors import DataError
from recsys.schemas import BOUGHT
from recsys.train import batches, exchange, pipeline, ranks
from recsys.train.batch import Batch, joined
from recsys.train.model import Recommender
from recsys.train.objective import batch_loss
from recsys.train.progress import Progress
from recsys.train.run import Run
from recsys.train.shards import Shard
from recsys.train.tower import Catalogue
from recsys.train.trainer import Trainer

TRAIN = Train(embedding_size=8, cpu_threads=1, purchase_weight=0.7)
# Without what each rank draws on its own.
ALIKE = replace(
    TRAIN, purchase_weight=0.0, input_dropout=0.0, state_dropout=0.0, negatives=10,
    batch_targets_per_rank=20, warmup_steps=1, learning_rate=0.05,
)  # fmt: skip
ENSEMBLE = replace(ALIKE, epochs=2, average_checkpoints=2, ensemble_seeds=(2,))


def build(dataset_place: str) -> tuple[Recommender, Batch]:
    """A model and all rows of the first row groups as one batch."""
    dataset = manifest.read(dataset_place)
    size = dataset.vocabulary_size
    catalogue = Catalogue(size, dataset.event_type_size, np.arange(size), {}, {})
    model = Recommender(TRAIN, catalogue, seed=1)
    with batches.open_epoch(dataset, ("train",), Shard(0, 1), 1000, None) as epoch:
        batch = joined(list(epoch))
    # One item in five has no label.
    label_BL = tf.minimum(batch["item"] % 5, BOUGHT)
    return model, {**batch, "purchase": batch["target"] * label_BL}


def uneven(dataset_place: str, shard: Shard) -> Trainer:
    """On three row groups: of two ranks the second has one, and batches without rows after it."""
    dataset = manifest.read(dataset_place)
    train = dataset.splits["train"]
    splits = {**dataset.splits, "train": replace(train, files=train.files[:3])}
    config = Config(paths=Paths(dataset=dataset_place), train=ALIKE)
    return pipeline.build(config, replace(dataset, splits=splits), shard, ("train",), 1)


def together(dataset_place: str, folder: Path) -> Config:
    """Of an ensemble, each of whose members may be the mean of its checkpoints."""
    paths = Paths(dataset=dataset_place, model=str(folder / "model"))
    return Config(paths=paths, train=ENSEMBLE)


def main(dataset_place: str, folder: Path, powers: list[float]) -> None:
    shard = ranks.start(TRAIN)
    tf.config.run_functions_eagerly(True)  # the graphs would take longer than the steps
    _agree_on_gradients(dataset_place, folder, powers, shard)
    trainer = uneven(dataset_place, shard)
    trainer.train_epoch(Progress(), lambda _: None)
    _save(folder / f"uneven-{shard.rank}.npz", trainer)
    _fail(trainer, folder, shard)
    config = together(dataset_place, folder)
    dataset = manifest.read(dataset_place)
    own = Run(config, dataset) if shard.rank == 0 else None
    first, chosen = pipeline._train(config, dataset, shard, own)
    trainer, metrics = pipeline._with_others(first, chosen, own)
    _save(folder / f"ensemble-{shard.rank}.npz", trainer, recall=metrics["recall@20"])


def _fail(trainer: Trainer, folder: Path, shard: Shard) -> None:
    """A step whose loss is no number on the last rank."""
    with batches.open_epoch(trainer.manifest, ("train",), shard, 20, 1, trainer.columns) as epoch:
        batch = next(iter(epoch))
    loss = trainer.loss
    if shard.rank == shard.ranks - 1:
        trainer.loss = lambda *given: (math.nan * loss(*given)[0], loss(*given)[1])
    try:
        trainer._step(batch, Progress(step=5))
    except DataError as error:
        (folder / f"fault-{shard.rank}.txt").write_text(str(error))


def _save(path: Path, trainer: Trainer, **more: float) -> None:
    np.savez(path, *[variable.numpy() for variable in trainer.variables], **more)


def _agree_on_gradients(
    dataset_place: str, folder: Path, powers: list[float], shard: Shard
) -> None:
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


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), [float(power) for power in sys.argv[3:]])
