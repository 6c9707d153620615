"""From the dataset's row groups to batches: Petastorm reads, each rank its own shard."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice, pairwise, repeat
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import tensorflow as tf

from recsys import files
from recsys.arrays import matrix, pad
from recsys.encoding import INPUTS
from recsys.manifest import GroupFile, Manifest
from recsys.train import unreadable
from recsys.train.batch import spec
from recsys.train.shards import Shard, counts_in_order, own_files, reader_seed, steps_per_epoch

# Petastorm uses long deprecated parts of pyarrow, which is pinned for that reason.
warnings.filterwarnings("ignore", category=FutureWarning, module="petastorm")

# What a model of the default inputs reads of a row; what a model does not read stays on disk.
COLUMNS = (*INPUTS, "target")

_PREFETCHED = 4  # batches, at least

Columns = dict[str, npt.NDArray[Any]]


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
    seed = reader_seed(seed)
    own = own_files(manifest, splits, shard)
    reader = _reader(manifest, own, seed, names) if own else None
    order, counts = counts_in_order(manifest, splits, shard, batch_targets, seed)
    groups = [own[place] for place in order]
    steps = steps_per_epoch(manifest, splits, shard.ranks, batch_targets)
    signature = {name: spec(name) for name in names}
    nothing = {name: np.zeros([0, manifest.sequence_length], _dtype(name)) for name in names}

    def read() -> Iterator[Columns]:
        found = _cut(reader, manifest, groups, counts, seed, names) if own else ()
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
    manifest: Manifest,
    groups: Sequence[GroupFile],
    counts: npt.NDArray[np.int64],
    seed: int | None,
    names: Sequence[str],
) -> Iterator[Columns]:
    """The batches of a reader's groups, as many of each as counts says.

    Raises:
        DataError: a group is not as the manifest has it; what comes out of a tf.data.Dataset is an
            OpError, of which unreadable.named_in makes a DataError again
    """
    for number, (read, group) in enumerate(zip(reader, groups, strict=False)):
        draw = None if seed is None else np.random.default_rng([seed, number])
        columns = {name: getattr(read, name).astype(_dtype(name), copy=False) for name in names}
        target_BL = columns["target"]
        url = files.join(manifest.url, group.path)
        unreadable.check(url, group, len(target_BL), int(target_BL.sum(dtype=np.int64)))
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
