"""What a run would do, said without training."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import tensorflow as tf

from recsys import files, manifest
from recsys.config import Config
from recsys.manifest import Manifest
from recsys.schemas import SEQUENCE_ARRAYS
from recsys.texts import table
from recsys.train import batches, tracking
from recsys.train.batches import Shard
from recsys.train.loop import Trainer
from recsys.train.pipeline import build
from recsys.train.warm import WarmStart

log = logging.getLogger(__name__)

# Scores are held with what the loss makes of them and with their gradients.
_COPIES_OF_SCORES = 3
_FLOAT_BYTES = 4


def plan(config: Config) -> str:
    """Logs what a run would do, and raises what a user should read before the ranks start.

    Returns:
        it, as text

    Raises:
        ConfigError: the configuration names what the dataset, a model to start from or the
            environment does not have
        DataError: there is no dataset, or nothing in it to train on or to choose by
    """
    dataset = manifest.read(config.paths.dataset)
    batches.check_shards(dataset, 1)
    if config.train.warm_start:
        WarmStart(config, dataset)
    tracking.check(config)
    trainer = build(config, dataset, Shard(0, 1), ("train",), config.train.epochs)
    text = "\n\n".join(_lines(config, dataset, trainer))
    log.info("%s", text)
    return text


def _lines(config: Config, dataset: Manifest, trainer: Trainer) -> Iterator[str]:
    yield f"reads: {dataset.url}"
    splits: list[Sequence[object]] = [("split", "rows", "target steps", "targets")]
    splits += [
        (name, f"{split.rows:,}", f"{split.steps:,}", f"{split.targets:,}")
        for name, split in dataset.splits.items()
        if name != "test"
    ]
    yield table(splits)
    yield table([*_of_ranks(dataset, config.train.batch_targets_per_rank)])
    weights = sum(variable.shape.num_elements() for variable in trainer.variables)
    names = ("item_embedding", "item_bias")
    of_items = sum(
        v.shape.num_elements() for v in trainer.variables if v.name.split(":")[0] in names
    )
    yield f"model: {weights:,} weights, {of_items:,} of them of {dataset.items:,} items"
    memory = _memory(config, dataset, trainer)
    rows = [("memory of a rank, besides TensorFlow's own", "MiB")]
    rows += [(name, f"{size / 2**20:,.1f}") for name, size in memory.items()]
    total = memory["weights"] + memory["optimizer"] + memory["gradients"] + memory["row groups"]
    most = total + max(memory["scores of a training step"], memory["scores of a validation step"])
    yield table([*rows, ("at most at once, about", f"{most / 2**20:,.1f}")])
    yield f"writes: {files.join(files.as_url(config.paths.model), 'versions', '<new>')}/"


def _of_ranks(dataset: Manifest, batch_targets: int) -> Iterator[Sequence[object]]:
    """Every number of ranks that shares the row groups equally, and what one of them does."""
    yield ("ranks", "groups a rank", "rows a rank", "steps an epoch", "valid groups a rank")
    train, valid = (dataset.splits[name].files for name in ("train", "valid"))
    for ranks in range(1, min(len(train), len(valid)) + 1):
        if len(train) % ranks or len(valid) % ranks:
            continue
        rows = sum(file.rows for file in train[::ranks])
        steps = batches.steps_per_epoch(dataset, ("train",), ranks, batch_targets)
        valid_groups = len(valid) // ranks
        yield (ranks, len(train) // ranks, f"{rows:,}", f"{steps:,}", valid_groups)


def _memory(config: Config, dataset: Manifest, trainer: Trainer) -> dict[str, int]:
    """Bytes of what is large; what a network of such a width holds of a batch is not."""
    train, targets = config.train, config.train.batch_targets_per_rank
    candidates = dataset.vocabulary_size
    if train.negatives:
        candidates = train.negatives + targets * train.negatives_from_batch
    weights = _bytes(trainer.variables)
    scores = _COPIES_OF_SCORES * _FLOAT_BYTES * targets
    largest = max(file.rows for file in dataset.splits["train"].files)
    row = dataset.sequence_length * len(SEQUENCE_ARRAYS) * _FLOAT_BYTES
    return {
        "weights": weights,
        "optimizer": _bytes(trainer.optimizer.state()),
        "gradients": weights,
        "scores of a training step": scores * min(candidates, dataset.vocabulary_size),
        "scores of a validation step": scores * dataset.vocabulary_size,
        # The one that is read, the one that is cut, and the batches made of it.
        "row groups": 3 * largest * row,
    }


def _bytes(variables: Sequence[tf.Variable]) -> int:
    return sum(variable.shape.num_elements() * variable.dtype.size for variable in variables)
