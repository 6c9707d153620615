from pathlib import Path

import pytest

from recsys.errors import DataError
from recsys.manifest import Manifest
from recsys.train import shards
from recsys.train.pipeline import build
from recsys.train.plan import _memory, plan
from recsys.train.shards import Shard
from tests.data import configuration


@pytest.mark.parametrize("is_tied", [True, False])
def test_a_plan_says_what_every_rank_would_do(
    dataset: Manifest, dataset_place: Path, is_tied: bool
) -> None:
    config = configuration(
        "--paths.dataset", str(dataset_place), "--train.batch_targets_per_rank", "20",
        "--train.embedding_size", "8", "--train.negatives", "10", "--train.repeat", "false",
        "--train.epochs", "7", "--train.refit", "true", "--train.ensemble_seeds", "[2, 3]",
        "--train.tied_output", str(is_tied).lower(), "--train.max_minutes", "90",
    )  # fmt: skip
    told = plan(config)
    rows = [line.split() for line in told.splitlines()]
    of_time = "at most 7 epochs (fewer where 90 minutes are short), of which recall@20 chooses one"
    assert f"{of_time}; then as many as are chosen" in told
    assert "this for each of 3 seeds" in told
    for ranks in (1, 2, 4):
        steps = shards.steps_per_epoch(dataset, ("train",), ranks, 20)
        both = shards.steps_per_epoch(dataset, ("train", "valid"), ranks, 20)
        groups, most = str(4 // ranks), 3 * 7 * (steps + both)
        assert [str(ranks), groups, str(32 // ranks), str(steps), groups, f"{most:,}"] in rows
    assert not [row for row in rows if row[:1] == ["3"]]  # 4 row groups are not for 3 ranks
    # Items, event types and biases; a GRU of 10 inputs and 8 units has 2 x 24 biases.
    of_items = 42 * (8 if is_tied else 16) + 42
    weights = of_items + 3 * 8 + 24 * (10 + 8) + 48
    told_weights = ["model:", f"{weights:,}", "weights,", str(of_items), "of", "them"]
    assert told_weights in [row[:6] for row in rows]


def test_lanes_hold_the_gradients_of_a_whole_catalogue_apart(
    dataset: Manifest, dataset_place: Path
) -> None:
    def gradients(*more: str) -> int:
        config = configuration("--paths.dataset", str(dataset_place), *more)
        trainer = build(config, dataset, Shard(0, 1), ("train",), 1)
        size = _memory(config, dataset, trainer)["gradients"]
        rows = [line.split() for line in plan(config).splitlines()]
        assert ["gradients", f"{size / 2**20:,.1f}"] in rows
        return size

    one = gradients("--train.embedding_size", "512", "--train.negatives", "0")
    two = gradients("--train.embedding_size", "512", "--train.negatives", "0", "--train.lanes", "2")
    assert two == 2 * one
    sampled = ("--train.embedding_size", "512", "--train.negatives", "10", "--train.lanes", "2")
    assert gradients(*sampled) == one


def test_a_plan_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a version published by"):
        plan(configuration("--paths.dataset", str(tmp_path)))
