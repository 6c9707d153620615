"""What a run would do, said without training."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import tensorflow as tf

from recsys import files, manifest
from recsys.config import Config, Train
from recsys.manifest import Manifest
from recsys.schemas import SEQUENCE_ARRAYS
from recsys.texts import table
from recsys.train import shards, tracking
from recsys.train.cross_entropy import CASES_AT_ONCE
from recsys.train.pipeline import build
from recsys.train.shards import Shard
from recsys.train.trainer import Trainer
from recsys.train.validation import SCORES_AT_ONCE
from recsys.train.warm import ITEM_TABLES, WarmStart, names

log = logging.getLogger(__name__)

# Scores are held with what the loss makes of them and with their gradients.
_COPIES_OF_SCORES = 3
_FLOAT_BYTES = 4
# What a rank holds all the time.
_ALWAYS = ("weights", "features of items", "optimizer", "row groups")


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
    shards.check_shards(dataset, 1)
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
    yield table([*_of_ranks(dataset, config.train)])
    yield f"trains: {_stages(config)}"
    weights = sum(variable.shape.num_elements() for variable in trainer.variables)
    of_items = sum(
        variable.shape.num_elements()
        for name, variable in zip(names(trainer.variables), trainer.variables, strict=True)
        if name in ITEM_TABLES
    )
    yield f"model: {weights:,} weights, {of_items:,} of them of {dataset.items:,} items"
    memory = _memory(config, dataset, trainer)
    rows = [("memory of a rank, besides TensorFlow's own", "MiB")]
    rows += [(name, f"{size / 2**20:,.1f}") for name, size in memory.items()]
    always = sum(memory[name] for name in _ALWAYS)
    most = always + max(
        memory["gradients"] + memory["scores of a training step"],
        memory["scores of a validation step"],
        memory["a checkpoint, of rank 0"],
    )
    yield table([*rows, ("at most at once, about", f"{most / 2**20:,.1f}")])
    yield f"writes: {files.join(files.as_url(config.paths.model), 'versions', '<new>')}/"


def _stages(config: Config) -> str:
    """What is trained one after the other."""
    train, seeds = config.train, len(config.train.ensemble_seeds) + 1
    fewer = f" (fewer where {train.max_minutes:g} minutes are short)" if train.max_minutes else ""
    stages = f"at most {train.epochs} epochs{fewer}, of which {train.early_stopping_metric} "
    stages += "chooses one"
    if train.average_checkpoints:
        stages += f", or the mean of the last {train.average_checkpoints} checkpoints"
    if train.refit:
        stages += "; then as many as are chosen, from the start, on train and validation"
    return f"{stages}; this for each of {seeds} seeds" if seeds > 1 else stages


def _of_ranks(dataset: Manifest, train: Train) -> Iterator[Sequence[object]]:
    """Every number of ranks that shares the row groups equally, and what one of them does."""
    yield (
        "ranks", "groups a rank", "rows a rank", "steps an epoch", "valid groups a rank",
        "steps at most",
    )  # fmt: skip
    batch_targets = train.batch_targets_per_rank
    stages = [("train",), ("train", "valid")][: 1 + train.refit]
    groups, valid = (dataset.splits[name].files for name in ("train", "valid"))
    for ranks in range(1, min(len(groups), len(valid)) + 1):
        if len(groups) % ranks or len(valid) % ranks:
            continue
        rows = sum(file.rows for file in groups[::ranks])
        steps = shards.steps_per_epoch(dataset, ("train",), ranks, batch_targets)
        valid_groups = len(valid) // ranks
        most = (
            (1 + len(train.ensemble_seeds))
            * train.epochs
            * sum(
                shards.steps_per_epoch(dataset, splits, ranks, batch_targets) for splits in stages
            )
        )
        groups_of_rank = len(groups) // ranks
        yield (ranks, groups_of_rank, f"{rows:,}", f"{steps:,}", valid_groups, f"{most:,}")


def _memory(config: Config, dataset: Manifest, trainer: Trainer) -> dict[str, int]:
    """Bytes of what is large; what a network of such a width holds of a batch is not."""
    train, targets = config.train, config.train.batch_targets_per_rank
    candidates = dataset.vocabulary_size
    if trainer.sampler is not None:
        candidates = train.negatives + targets * train.negatives_from_batch
    weights = _bytes(trainer.variables)
    # Of the whole catalogue each lane has gradients of its own before they are added.
    dense = train.lanes if trainer.sampler is None else 1
    at_once = targets
    if train.loss == "cross_entropy":
        at_once = min(targets, train.lanes * CASES_AT_ONCE)
    scores = _COPIES_OF_SCORES * _FLOAT_BYTES * at_once
    largest = max(file.rows for file in dataset.splits["train"].files)
    row = dataset.sequence_length * len(SEQUENCE_ARRAYS) * _FLOAT_BYTES
    return {
        "weights": weights,
        "features of items": _bytes(trainer.model.features),
        "optimizer": _bytes(trainer.optimizer.state()),
        "gradients": weights * dense,
        "scores of a training step": scores * min(candidates, dataset.vocabulary_size),
        "scores of a validation step": _COPIES_OF_SCORES
        * _FLOAT_BYTES
        * max(min(targets * dataset.vocabulary_size, SCORES_AT_ONCE), dataset.vocabulary_size),
        # The arrays, and the file that is made of them.
        "a checkpoint, of rank 0": 2 * (weights + _bytes(trainer.optimizer.state())),
        # The one that is read, the one that is cut, and the batches made of it.
        "row groups": 3 * largest * row,
    }


def _bytes(variables: Sequence[tf.Variable]) -> int:
    return sum(variable.shape.num_elements() * variable.dtype.size for variable in variables)
