"""The benchmarks' guard of the test split: without a choice written down nothing reads it."""

import argparse
import json
import sys
from pathlib import Path

import pytest

from benchmarks import protocol
from recsys import files
from recsys.command import parse, parser


def _options(work: Path, step: str, ranks: int = 1) -> argparse.Namespace:
    return argparse.Namespace(
        items=None, work=work, step=step, ranks=ranks, events=work / "none.parquet", more=[]
    )


def _publish_model(work: Path, model_version: str) -> None:
    version = files.new_version(str(work / "model"))
    files.write_json(files.join(version, "model.json"), {"model_version": model_version})
    files.publish(version)


def test_without_a_choice_test_is_not_read(tmp_path: Path) -> None:
    _publish_model(tmp_path, "first")
    with pytest.raises(SystemExit, match=r"choice.json: expected the choice by validation before "):
        protocol.run("yoochoose64", {"mrr@20": "mrr@20"}, _options(tmp_path, "test"))
    assert not (tmp_path / "report").exists()


def test_a_model_that_was_not_chosen_is_not_tested(tmp_path: Path) -> None:
    _publish_model(tmp_path, "second")
    (tmp_path / "choice.json").write_text(json.dumps({"model_version": "first"}))
    with pytest.raises(SystemExit, match="expected the choice of model second, found that of fir"):
        protocol.run("yoochoose64", {"mrr@20": "mrr@20"}, _options(tmp_path, "test"))
    assert not (tmp_path / "report").exists()


def test_what_was_chosen_with_other_settings_is_not_tested(tmp_path: Path) -> None:
    _publish_model(tmp_path, "first")
    options = _options(tmp_path, "test")
    chosen = {"model_version": "first", "settings": protocol._settings("beauty", options, tmp_path)}
    (tmp_path / "choice.json").write_text(json.dumps(chosen))
    with pytest.raises(SystemExit, match=r"choice.json: expected the settings .*yoochoose64.yaml"):
        protocol.run("yoochoose64", {"mrr@20": "mrr@20"}, options)
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("given", "catalogue"),
    [
        ([], "shop/items.parquet"),
        (["--events", "other.parquet"], None),
        (["--events", "other.parquet", "--items", "its.parquet"], "its.parquet"),
    ],
)
def test_a_log_has_its_own_catalogue_or_none(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: list[str],
    catalogue: str | None,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["beauty.py", *given])
    shop = tmp_path / "shop"
    options = protocol.arguments("", shop / "events.parquet", shop / "items.parquet")
    config, _ = parse(parser("train", ""), protocol._settings("beauty", options, tmp_path))
    assert config.items.path == (() if catalogue is None else (str(tmp_path / catalogue),))
    assert bool(config.train.item_features) == (catalogue is not None)
    assert config.events.path == (str(options.events),)
    assert options.events.is_absolute()


def test_another_way_to_write_a_path_is_no_other_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "argv", ["beauty.py", "--events", "../events.parquet"])
    items = tmp_path / "items.parquet"
    assert protocol.arguments("", tmp_path / "events.parquet", items).items == items


@pytest.mark.parametrize(("ranks", "targets"), [(1, 1024), (2, 512)])
def test_ranks_share_the_batch(tmp_path: Path, ranks: int, targets: int) -> None:
    settings = protocol._settings("yoochoose64", _options(tmp_path, "both", ranks), tmp_path)
    assert settings[-1] == f"--train.batch_targets_per_rank={targets}"
    assert settings[-2] == f"--train.lanes={2 // ranks}"
