import dataclasses
import re

import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from recsys import files
from recsys.errors import DataError
from recsys.manifest import GroupFile, Manifest
from recsys.schemas import VALUE_WEIGHT
from recsys.train import batches, shards
from recsys.train.shards import Shard
from tests.datasets import LENGTH


def _read(
    dataset: Manifest, shard: Shard, seed: int | None, batch_targets: int = 20
) -> list[tuple]:
    with batches.open_epoch(dataset, ("train",), shard, batch_targets, seed) as epoch:
        return [tuple(row) for batch in epoch for row in batch["item"].numpy()]


def _written(dataset: Manifest, split: str = "train") -> list[tuple]:
    tables = [pq.read_table(files.local_copy(url)) for url in dataset.file_urls(split)]
    return [tuple(row) for table in tables for row in table["item"].to_pylist()]


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_ranks_read_every_row_once_and_equally_many(dataset: Manifest, ranks: int) -> None:
    parts = [_read(dataset, Shard(rank, ranks), seed=5) for rank in range(ranks)]
    assert {len(part) for part in parts} == {32 // ranks}
    assert sorted(row for part in parts for row in part) == sorted(_written(dataset))


@pytest.mark.parametrize("ranks", [1, 2])
def test_batches_hold_about_as_many_targets_and_all_ranks_as_many_batches(
    dataset: Manifest, ranks: int
) -> None:
    for rank in range(ranks):
        with batches.open_epoch(dataset, ("train",), Shard(rank, ranks), 20, seed=1) as epoch:
            targets = [int(batch["target"].numpy().sum()) for batch in epoch]
        own = dataset.splits["train"].files[rank::ranks]
        assert sum(targets) == sum(file.targets for file in own)
        assert max(targets) <= 20 + LENGTH
        assert len(targets) == shards.steps_per_epoch(dataset, ("train",), ranks, 20)


def test_a_rank_with_fewer_batches_gets_some_without_rows(dataset: Manifest) -> None:
    train = dataset.splits["train"]
    fewer = dataclasses.replace(train, files=train.files[:3])
    uneven = dataclasses.replace(dataset, splits={**dataset.splits, "train": fewer})
    steps = shards.steps_per_epoch(uneven, ("train",), 2, 20)
    rows = []
    for rank in range(2):
        with batches.open_epoch(uneven, ("train",), Shard(rank, 2), 20, seed=1) as epoch:
            sizes = [len(batch["item"]) for batch in epoch]
        assert len(sizes) == steps
        rows.append(sum(sizes))
    assert rows == [16, 8]
    assert sizes[-1] == 0


def test_ranks_read_neighbours_at_the_same_time_and_cut_them_alike(dataset: Manifest) -> None:
    alone = [-(-group.targets // 5) for group in dataset.splits["train"].files]
    assert alone[0] != alone[1]
    assert alone[2] != alone[3]
    own = _written(dataset)
    groups = [set(own[start : start + 8]) for start in range(0, 32, 8)]
    for seed in (0, 1, 2):
        read = []
        for rank in range(2):
            with batches.open_epoch(dataset, ("train",), Shard(rank, 2), 5, seed) as epoch:
                rows = [list(map(tuple, batch["item"].numpy())) for batch in epoch]
            found = [
                {number for number, group in enumerate(groups) if {*own} & group} for own in rows
            ]
            read.append([{number // 2 for number in numbers} for numbers in found])
        assert len(read[0]) == len(read[1])
        # A batch may be empty where a group has few rows.
        both = [(one, other) for one, other in zip(*read, strict=True) if one and other]
        assert len(both) > len(groups) / 2
        assert all(one == other for one, other in both)


@pytest.mark.parametrize("splits", [("train",), ("train", "valid")])
@pytest.mark.parametrize(("ranks", "seed"), [(1, 0), (2, 5), (3, 1), (1, None)])
def test_the_file_of_a_batch_is_known(
    dataset: Manifest, splits: tuple[str, ...], ranks: int, seed: int | None
) -> None:
    urls = [url for split in splits for url in dataset.file_urls(split)]
    rows_of = {
        url: set(map(tuple, pq.read_table(files.local_copy(url))["item"].to_pylist()))
        for url in urls
    }
    seen = set()
    for rank in range(ranks):
        shard = Shard(rank, ranks)
        with batches.open_epoch(dataset, splits, shard, 20, seed) as epoch:
            for step, batch in enumerate(epoch):
                url = shards.file_of(dataset, splits, shard, 20, seed, step)
                rows = {tuple(row) for row in batch["item"].numpy().tolist()}
                assert rows <= rows_of.get(url, set())
                seen |= {url} if rows else set()
    assert seen == set(urls)


def test_the_order_follows_the_seed(dataset: Manifest) -> None:
    shard = Shard(0, 1)
    first, again, other = (_read(dataset, shard, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert sorted(first) == sorted(other)
    assert _read(dataset, shard, seed=None) == _written(dataset)


def test_columns_are_arrays_of_the_rows(dataset: Manifest) -> None:
    with batches.open_epoch(dataset, ("valid",), Shard(0, 1), 1000, None) as epoch:
        batch = next(iter(epoch))
    assert batch.keys() == set(batches.COLUMNS)
    longest = max(map(len, _written(dataset, "valid")))
    assert {tuple(values.shape) for values in batch.values()} == {(8, longest)}
    assert {values.dtype for values in batch.values()} == {tf.int32}


def test_weights_by_value_are_read_as_they_were_written(dataset: Manifest) -> None:
    names = (*batches.COLUMNS, VALUE_WEIGHT)
    with batches.open_epoch(dataset, ("valid",), Shard(0, 1), 1000, None, names) as epoch:
        found = [row for batch in epoch for row in batch[VALUE_WEIGHT].numpy().tolist()]
    files_of = [pq.read_table(files.local_copy(url)) for url in dataset.file_urls("valid")]
    assert found == [row for table in files_of for row in table[VALUE_WEIGHT].to_pylist()]
    assert {weight for row in found for weight in row} == {0, 0.5, 1, 1.5}


@pytest.mark.parametrize("ranks", [1, 2])
def test_train_and_valid_are_read_together(dataset: Manifest, ranks: int) -> None:
    both, parts = ("train", "valid"), []
    for rank in range(ranks):
        with batches.open_epoch(dataset, both, Shard(rank, ranks), 20, seed=1) as epoch:
            read = list(epoch)
        assert len(read) == shards.steps_per_epoch(dataset, both, ranks, 20)
        parts += [tuple(row) for batch in read for row in batch["item"].numpy()]
    assert sorted(parts) == sorted(_written(dataset) + _written(dataset, "valid"))
    shards.check_rows(dataset, both, len(parts))


def test_fewer_row_groups_than_ranks_are_refused_and_others_that_are_uneven_named(
    dataset: Manifest, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(DataError, match="a row group of split train for each of 5 ranks, found 4"):
        shards.check_shards(dataset, 5)
    shards.check_shards(dataset, 4)
    assert caplog.messages == []
    shards.check_shards(dataset, 3)
    for name, message in zip(("train", "valid"), caplog.messages, strict=True):
        assert f"the 4 row groups of split {name} are no multiple of 3 ranks" in message


def test_ranks_that_come_where_there_are_no_groups_left_wait(
    dataset: Manifest, caplog: pytest.LogCaptureFixture
) -> None:
    shards.check_shards(dataset, 5, is_elastic=True)
    assert "a row group of split train for each of 5 ranks, found 4" in caplog.messages[0]
    parts = [_read(dataset, Shard(rank, 5), seed=5) for rank in range(5)]
    assert [len(part) for part in parts] == [8, 8, 8, 8, 0]
    with batches.open_epoch(dataset, ("train",), Shard(4, 5), 20, seed=5) as epoch:
        assert len(list(epoch)) == shards.steps_per_epoch(dataset, ("train",), 5, 20)


def test_a_split_without_targets_is_refused(dataset: Manifest) -> None:
    empty = dataclasses.replace(dataset.splits["valid"], steps=0)
    without = dataclasses.replace(dataset, splits={**dataset.splits, "valid": empty})
    with pytest.raises(DataError, match="expected target steps in split valid, found none"):
        shards.check_shards(without, 1)


def test_rows_that_the_manifest_does_not_know_are_noticed(dataset: Manifest) -> None:
    train = dataset.splits["train"]
    more = dataclasses.replace(train, files=(*train.files[:-1], GroupFile("x.parquet", 9, 9)))
    lying = dataclasses.replace(dataset, splits={**dataset.splits, "train": more})
    with pytest.raises(DataError, match=re.escape("expected 33 rows of split train")):
        shards.check_rows(lying, ("train",), rows_read=32)
    shards.check_rows(dataset, ("train",), rows_read=32)
