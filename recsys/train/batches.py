"""From the dataset's row groups to batches: Petastorm reads, each rank its own shard."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice, pairwise, repeat
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import tensorflow as tf

from recsys import files
from recsys.arrays import matrix, pad
from recsys.encoding import INPUTS
from recsys.errors import DataError
from recsys.manifest import GroupFile, Manifest
from recsys.train import unreadable
from recsys.train.batch import spec

log = logging.getLogger(__name__)

# Petastorm uses long deprecated parts of pyarrow, which is pinned for that reason.
warnings.filterwarnings("ignore", category=FutureWarning, module="petastorm")

# What a model of the default inputs reads of a row; what a model does not read stays on disk.
COLUMNS = (*INPUTS, "target")
# What its second head learns from, too.
LABEL = "purchase"

_PREFETCHED = 4  # batches, at least

Columns = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Shard:
    """Which of the ranks reads, and how many there are."""

    rank: int
    ranks: int


def check_shards(manifest: Manifest, ranks: int, is_elastic: bool = False) -> None:
    """Makes sure that every rank has something to do, and warns where some wait for the others.

    Args:
        manifest: of the dataset
        ranks: that train together
        is_elastic: ranks that come while others train may be too many; they wait

    Raises:
        DataError: nothing to train on or to choose by; or not a row group of each split for every
            rank
    """
    for name in ("train", "valid"):
        if manifest.splits[name].steps == 0:
            raise DataError(
                f"{manifest.url}: expected target steps in split {name}, found none; "
                "prepare.valid_start and test_start, or valid_days and test_days, set it"
            )
        groups = len(manifest.splits[name].files)
        if groups < ranks:
            message = (
                f"{manifest.url}: expected a row group of split {name} for each of {ranks} ranks, "
                f"found {groups}; lower prepare.rows_per_group, or train with fewer"
            )
            if not is_elastic:
                raise DataError(message)
            log.warning("%s", message)
        if groups % ranks:
            log.warning(
                "%s: the %d row groups of split %s are no multiple of %d ranks, some of which wait "
                "for the others in every epoch; prepare.groups_multiple_of sets it",
                manifest.url, groups, name, ranks,
            )  # fmt: skip


def steps_per_epoch(
    manifest: Manifest, splits: Sequence[str], ranks: int, batch_targets: int
) -> int:
    """Batches that each rank reads in one epoch: as many as the rank that has the most."""
    groups = _files(manifest, splits)
    shards = [Shard(rank, ranks) for rank in range(ranks)]
    return max(sum(_batch_counts(groups, shard, batch_targets)) for shard in shards)


def _files(manifest: Manifest, splits: Sequence[str]) -> list[GroupFile]:
    """In the order of their paths, in which the ranks take turns."""
    return [file for split in sorted(splits) for file in manifest.splits[split].files]


def own_files(manifest: Manifest, splits: Sequence[str], shard: Shard) -> list[GroupFile]:
    """The row groups that a rank reads."""
    return _files(manifest, splits)[shard.rank :: shard.ranks]


def _batch_counts(groups: Sequence[GroupFile], shard: Shard, batch_targets: int) -> list[int]:
    """Into how many batches a rank cuts each of its groups.

    Ranks that read neighbours cut them into as many batches as the one with the most targets needs:
    else one rank would soon be ahead, at rows of another length, and every step would wait for the
    longest.
    """
    counts = []
    for start in range(0, len(groups), shard.ranks):
        neighbours = groups[start : start + shard.ranks]
        if shard.rank < len(neighbours):
            most = max(group.targets for group in neighbours)
            counts.append(max(1, -(-most // batch_targets)))
    return counts


def _order(groups: int, seed: int | None) -> npt.NDArray[np.int64]:
    """The places of a reader's groups in the order in which Petastorm hands them on."""
    # As its ConcurrentVentilator draws it.
    return np.arange(groups) if seed is None else np.random.default_rng(seed).permutation(groups)


def _counts_in_order(
    manifest: Manifest, splits: Sequence[str], shard: Shard, batch_targets: int, seed: int | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The places of a rank's groups in the order in which they are read, and their batches."""
    counts = np.array(_batch_counts(_files(manifest, splits), shard, batch_targets))
    order = _order(len(counts), seed)
    return order, counts[order]


def file_of(
    manifest: Manifest,
    splits: Sequence[str],
    shard: Shard,
    batch_targets: int,
    seed: int | None,
    step: int,
) -> str | None:
    """URL of the row group that a batch of open_epoch() is of.

    Args:
        manifest: as of open_epoch(), and so are splits, shard, batch_targets and seed
        splits: that are read
        shard: of the rank
        batch_targets: targets of a batch
        seed: of the order of groups and rows
        step: number of the batch in the epoch, from 0

    Returns:
        None for a batch behind those of the rank's own groups, which has no rows
    """
    order, counts = _counts_in_order(manifest, splits, shard, batch_targets, _reader_seed(seed))
    place = int(np.searchsorted(np.cumsum(counts), step, side="right"))
    if place == len(order):
        return None
    return files.join(manifest.url, own_files(manifest, splits, shard)[order[place]].path)


def _reader_seed(seed: int | None) -> int | None:
    """As Petastorm takes it, to which 0 is no seed."""
    return None if seed is None else seed + 1


@contextmanager
def open_epoch(
    manifest: Manifest,
    splits: Sequence[str],
    shard: Shard,
    batch_targets: int,
    seed: int | None,
    names: Sequence[str] = COLUMNS,
) -> Iterator[tf.data.Dataset]:
    """The batches of one epoch on one rank: column to its values [B, L] (batch.spec).

    All ranks draw the same order of their row groups, so that they read neighbours at the same
    time, which hold rows of like length. A row group is cut into batches of about equally many
    targets, so that every step costs about the same and moves the weights by about the same;
    batches never span row groups. All ranks get the same number of batches, whatever the files
    hold: a rank that has fewer gets some without rows.

    Args:
        manifest: of the dataset; its file list is what is read, nothing is discovered
        splits: train, valid, or both
        shard: of this rank
        batch_targets: targets of a batch, at most, unless a single row has more
        seed: of the order of groups and rows, another one each epoch; None keeps the order
        names: the columns to read
    """
    seed = _reader_seed(seed)
    own = own_files(manifest, splits, shard)
    reader = _reader(manifest, own, seed, names) if own else None
    order, counts = _counts_in_order(manifest, splits, shard, batch_targets, seed)
    groups = [own[place] for place in order]
    steps = steps_per_epoch(manifest, splits, shard.ranks, batch_targets)
    signature = {name: spec(name) for name in names}
    nothing = {name: np.zeros([0, manifest.sequence_length], _dtype(name)) for name in names}

    def read() -> Iterator[Columns]:
        found = _cut(reader, groups, counts, seed, names) if own else ()
        return islice(chain(found, repeat(nothing)), steps)

    # Cut by NumPy: what tf.data cuts is traced anew for every epoch.
    epoch = tf.data.Dataset.from_generator(read, output_signature=signature)
    # While the batches of one group are trained on, the next group is read.
    epoch = epoch.prefetch(max(_PREFETCHED, int(counts.max(initial=0))))
    try:
        yield epoch.with_options(_untuned())
    finally:
        if reader is not None:
            reader.stop()
            reader.join()


def _untuned() -> tf.data.Options:
    """Without tf.data's tuning, for which there is nothing here to tune.

    Its thread sleeps for 10 ms, and then for twice as long each time, and the end of an epoch may
    wait for it to wake: one of 12 s took 20.5 s.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return options


def _reader(
    manifest: Manifest, groups: Sequence[GroupFile], seed: int | None, names: Sequence[str]
) -> Any:
    """Petastorm's, of the given row groups; its own sharding would draw another order a rank."""
    from recsys.train.reader import read_groups  # loads Petastorm, which only reading needs

    urls = [files.join(manifest.url, group.path) for group in groups]
    with unreadable.named(manifest, groups, names):
        return read_groups(urls, names, seed)


def _dtype(name: str) -> npt.DTypeLike:
    return np.dtype(spec(name).dtype.as_numpy_dtype)


def _cut(
    reader: Any,
    groups: Sequence[GroupFile],
    counts: npt.NDArray[np.int64],
    seed: int | None,
    names: Sequence[str],
) -> Iterator[Columns]:
    """The batches of a reader's groups, as many of each as counts says.

    Raises:
        ValueError: a group is not as the manifest has it; unreadable.named says which, and how
    """
    for number, (read, group) in enumerate(zip(reader, groups, strict=False)):
        draw = None if seed is None else np.random.default_rng([seed, number])
        columns = {name: getattr(read, name).astype(_dtype(name), copy=False) for name in names}
        found = len(columns["target"]), int(columns["target"].sum(dtype=np.int64))
        if found != (group.rows, group.targets):
            raise ValueError(f"{group.path}: found {found[0]} rows, {found[1]} targets")
        yield from _batches(columns, int(counts[number]), draw)


def _batches(columns: Columns, count: int, draw: np.random.Generator | None) -> Iterator[Columns]:
    """The rows of a group in so many batches of about equally many targets, some without rows.

    Args:
        columns: [B, L]
        count: of the batches
        draw: gives the order of the rows; none keeps it
    """
    if draw is not None:
        order = draw.permutation(len(columns["item"]))
        columns = {name: values[order] for name, values in columns.items()}
    targets_B = columns["target"].sum(axis=1, dtype=np.int64)
    # A row is in the batch in which its first target falls, if all batches had equally many.
    place_B = (np.cumsum(targets_B) - targets_B) * count // max(1, targets_B.sum())
    borders = np.searchsorted(np.minimum(place_B, count - 1), np.arange(count + 1))
    for begin, end in pairwise(borders):
        yield {name: values[begin:end] for name, values in columns.items()}


def read_rows(
    manifest: Manifest, split: str, rows: int, names: Sequence[str] = COLUMNS
) -> dict[str, npt.NDArray[Any]]:
    """The first rows of a split, at most those of its first file: column to its values [B, L].

    These are int32, or float32. L is the manifest's sequence_length, whatever the rows need.
    """
    fs, path = files.filesystem(manifest.file_urls(split)[0])
    table = pq.read_table(path, columns=list(names), filesystem=fs).slice(0, rows)
    found = {}
    for name in names:
        values = matrix(table[name].combine_chunks(), name)
        values = values.astype(np.float32 if spec(name).dtype.is_floating else np.int32)
        fill = ((0, 0), (0, manifest.sequence_length - values.shape[1]))
        found[name] = np.pad(values, fill, constant_values=pad(name))
    return found


def check_rows(manifest: Manifest, splits: Sequence[str], rows_read: int) -> None:
    """Compares the rows that all ranks read in an epoch with the manifest.

    Raises:
        DataError: they differ
    """
    expected = sum(file.rows for file in _files(manifest, splits))
    if rows_read != expected:
        raise DataError(
            f"{manifest.url}: expected {expected} rows of split {' and '.join(splits)} in the "
            f"epoch, found {rows_read}"
        )
