"""Which row groups a rank reads, and in how many batches: by the manifest alone."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys import files
from recsys.errors import DataError
from recsys.manifest import GroupFile, Manifest

log = logging.getLogger(__name__)


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
    groups = files_of(manifest, splits)
    shards = [Shard(rank, ranks) for rank in range(ranks)]
    return max(sum(_batch_counts(groups, shard, batch_targets)) for shard in shards)


def files_of(manifest: Manifest, splits: Sequence[str]) -> list[GroupFile]:
    """In the order of their paths, in which the ranks take turns."""
    return [file for split in sorted(splits) for file in manifest.splits[split].files]


def own_files(manifest: Manifest, splits: Sequence[str], shard: Shard) -> list[GroupFile]:
    """The row groups that a rank reads."""
    return files_of(manifest, splits)[shard.rank :: shard.ranks]


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


def counts_in_order(
    manifest: Manifest, splits: Sequence[str], shard: Shard, batch_targets: int, seed: int | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The places of a rank's groups in the order in which they are read, and their batches."""
    counts = np.array(_batch_counts(files_of(manifest, splits), shard, batch_targets))
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
    order, counts = counts_in_order(manifest, splits, shard, batch_targets, reader_seed(seed))
    place = int(np.searchsorted(np.cumsum(counts), step, side="right"))
    if place == len(order):
        return None
    return files.join(manifest.url, own_files(manifest, splits, shard)[order[place]].path)


def reader_seed(seed: int | None) -> int | None:
    """As Petastorm takes it, to which 0 is no seed."""
    return None if seed is None else seed + 1


def check_rows(manifest: Manifest, splits: Sequence[str], rows_read: int) -> None:
    """Compares the rows that all ranks read in an epoch with the manifest.

    Raises:
        DataError: they differ
    """
    expected = sum(file.rows for file in files_of(manifest, splits))
    if rows_read != expected:
        raise DataError(
            f"{manifest.url}: expected {expected} rows of split {' and '.join(splits)} in the "
            f"epoch, found {rows_read}"
        )
