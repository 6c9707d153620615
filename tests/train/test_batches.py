import dataclasses
import re

import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from recsys import files
from recsys.errors import DataError
from recsys.manifest import GroupFile, Manifest
from recsys.train import batches
from recsys.train.batches import Shard


def _read(dataset: Manifest, shard: Shard, seed: int | None, batch_rows: int = 3) -> list[tuple]:
    with batches.open_epoch(dataset, "train", shard, batch_rows, seed) as epoch:
        return [tuple(row) for batch in epoch for row in batch["item"].numpy()]


def _written(dataset: Manifest) -> list[tuple]:
    tables = [pq.read_table(files.local_copy(url)) for url in dataset.file_urls("train")]
    return [tuple(row) for table in tables for row in table["item"].to_pylist()]


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_ranks_read_every_row_once_and_equally_many(dataset: Manifest, ranks: int) -> None:
    parts = [_read(dataset, Shard(rank, ranks), seed=5) for rank in range(ranks)]
    assert {len(part) for part in parts} == {32 // ranks}
    assert sorted(row for part in parts for row in part) == sorted(_written(dataset))


def test_an_epoch_has_the_steps_that_were_announced(dataset: Manifest) -> None:
    shard = Shard(1, 2)
    with batches.open_epoch(dataset, "train", shard, 3, seed=1) as epoch:
        sizes = [len(batch["item"]) for batch in epoch]
    assert sizes == [3, 3, 2] * 2
    assert len(sizes) == batches.steps_per_epoch(dataset, "train", shard, 3)


def test_the_order_follows_the_seed(dataset: Manifest) -> None:
    shard = Shard(0, 1)
    first, again, other = (_read(dataset, shard, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert sorted(first) == sorted(other)
    assert _read(dataset, shard, seed=None) == _written(dataset)


def test_columns_are_arrays_of_the_rows(dataset: Manifest) -> None:
    with batches.open_epoch(dataset, "valid", Shard(0, 1), 8, None) as epoch:
        batch = next(iter(epoch))
    assert batch.keys() == set(batches.COLUMNS)
    assert {values.shape for values in batch.values()} == {(8, dataset.sequence_length)}
    assert {values.dtype for values in batch.values()} == {tf.int32}


def test_ranks_that_do_not_divide_the_row_groups_are_refused(dataset: Manifest) -> None:
    with pytest.raises(DataError, match="multiple of 3 ranks, found 4"):
        batches.check_shards(dataset, 3)
    with pytest.raises(DataError, match="multiple of 8 ranks, found 4"):
        batches.check_shards(dataset, 8)


def test_a_split_without_targets_is_refused(dataset: Manifest) -> None:
    empty = dataclasses.replace(dataset.splits["valid"], steps=0)
    without = dataclasses.replace(dataset, splits={**dataset.splits, "valid": empty})
    with pytest.raises(DataError, match="expected target steps in split valid, found none"):
        batches.check_shards(without, 1)


def test_rows_that_the_manifest_does_not_know_are_noticed(dataset: Manifest) -> None:
    train = dataset.splits["train"]
    more = dataclasses.replace(train, files=(*train.files[:-1], GroupFile("x.parquet", 9)))
    lying = dataclasses.replace(dataset, splits={**dataset.splits, "train": more})
    with pytest.raises(DataError, match=re.escape("expected 33 rows of split train")):
        batches.check_rows(lying, "train", rows_read=32)
    batches.check_rows(dataset, "train", rows_read=32)
