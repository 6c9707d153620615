"""A row group that cannot be read is named; the readers' own errors seldom say which it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tensorflow as tf

from recsys import files
from recsys.arrays import EVEN, is_even
from recsys.errors import DataError
from recsys.manifest import GroupFile, Manifest

T = TypeVar("T")


@contextmanager
def named(
    manifest: Manifest, groups: Sequence[GroupFile], columns: Sequence[str]
) -> Iterator[None]:
    """Inside, row groups are read.

    Args:
        manifest: of the dataset
        groups: that are read
        columns: of them

    Raises:
        DataError: one of the groups could not be read; names the file and what is wrong with it
    """
    try:
        yield
    except (OSError, pa.ArrowException, tf.errors.OpError) as error:
        for group in groups:
            _name(manifest, group, columns, error)
        raise


def named_in(
    epoch: Iterable[T], manifest: Manifest, groups: Sequence[GroupFile], columns: Sequence[str]
) -> Iterator[T]:
    """What an epoch gives, in which a file may go, or become another, after it was opened."""
    with named(manifest, groups, columns):
        yield from epoch


def check(url: str, group: GroupFile, rows: int, targets: int) -> None:
    """Makes sure that a row group is as the manifest has it.

    Raises:
        DataError: it has another number of rows or of targets
    """
    expected = f"{url}: expected a row group of {group.rows} rows"
    if rows != group.rows:
        raise DataError(f"{expected}, found {rows}")
    if targets != group.targets:
        raise DataError(f"{expected} and {group.targets} targets, found {targets} targets")


def _name(manifest: Manifest, group: GroupFile, columns: Sequence[str], error: Exception) -> None:
    """Reads a row group once more, and raises what is wrong with it, if anything is."""
    url = files.join(manifest.url, group.path)
    fs, path = files.filesystem(url)
    try:
        table = pq.read_table(path, columns=list(columns), filesystem=fs)
    except (OSError, pa.ArrowException) as why:
        expected = f"{url}: expected a row group of {group.rows} rows"
        raise DataError(f"{expected}, found {type(why).__name__}: {why}") from error
    for name in columns:  # before targets, which lists of other lengths lack, too
        if not is_even(table[name].combine_chunks()):
            raise DataError(f"{url}: {name}: {EVEN}, found others") from error
    targets = pc.sum(pc.list_flatten(table["target"])).as_py()
    check(url, group, table.num_rows, targets or 0)
