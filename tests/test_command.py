import os
import re
import sys
from pathlib import Path

import pytest
import yaml
from jsonargparse import Namespace

from recsys import command
from recsys.config import Config
from recsys.errors import ConfigError
from tests import default_yaml
from tests.processes import ROOT, run

_GOLDEN = ROOT / "tests" / "golden"


def _compare(path: Path, text: str) -> None:
    """`UPDATE_GOLDEN=1 make test` takes the present text over."""
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert path.read_text() == text


def _parse(*arguments: str) -> Config:
    return command.parse(command.parser("prepare", "Purpose."), arguments)[0]


def test_without_arguments_all_is_default() -> None:
    assert _parse() == Config()


def test_a_file_holds_differences_and_the_command_line_wins(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text("seed: 7\nprepare:\n  session_gap_minutes: 45\n  valid_days: 3\n")
    config = _parse("--config", str(file), "--prepare.session_gap_minutes", "20")
    assert (config.seed, config.prepare.valid_days, config.prepare.session_gap_minutes) == (
        7,
        3,
        20,
    )
    assert config.prepare.test_days == Config().prepare.test_days


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    config = _parse("--config", str(ROOT / "conf" / "demo.yaml"))
    saved = tmp_path / "config.yaml"
    saved.write_text(command.to_yaml(config))
    assert _parse("--config", str(saved)) == config


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "conf").glob("*.yaml")))
def test_every_configuration_is_valid(name: str) -> None:
    _parse("--config", str(ROOT / "conf" / name))


def test_default_yaml_documents_every_key_and_changes_none() -> None:
    path = ROOT / "conf" / "default.yaml"
    _compare(path, default_yaml.render())
    assert _parse("--config", str(path)) == Config()
    assert yaml.safe_load(path.read_text()) == yaml.safe_load(command.to_yaml(Config()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--prepare.sesion_gap_minutes", "5"],
            "prepare.sesion_gap_minutes: unknown key; "
            "the nearest known one is prepare.session_gap_minutes",
        ),
        (["--train.epochs", "many"], "train.epochs: expected int, found many"),
        (["--train.epochs=1.5"], "train.epochs: expected int, found 1.5"),
        (
            ["--train.input_dropout", "1"],
            "train.input_dropout: expected a share from 0 to below 1, found 1.0",
        ),
        (["--prepare.session_gap_minutes=-1"],
         "prepare.session_gap_minutes: expected a positive number, found -1"),
        (["--events.columns.user_id=null"],
         "events.columns: expected a user_id or a session_id, found None"),
        (["--items.attributes={colour: sound}"], "found sound"),
        (["--items.path=[x]", "--items.attributes={rows: category}"], "found 'rows'"),
        (["--items.path=[x]", "--items.attributes={a.b: category}"], "found 'a.b'"),
        (["--evaluate.at=[]"], "evaluate.at: expected positive list lengths, found ()"),
        (["--evaluate.references=[popular, item_knn, popular]"],
         "evaluate.references: expected each name once, found 'popular'"),
        (["--evaluate.hybrid.systems=[]"],
         "evaluate.hybrid.systems: expected a system or more, found ()"),
        (["--evaluate.hybrid.systems=[model, popular, model]"],
         "evaluate.hybrid.systems: expected each name once, found 'model'"),
        (["--train.epoch", "3"], "train.epoch: unknown key; the nearest known one is train.epochs"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
        (["--seed=-1"], "seed: expected 0 or more, found -1"),
        (["--train.ensemble_seeds=[-1]"], "train.ensemble_seeds: expected seeds of 0 or more"),
        (
            ["--train.early_stopping_metric=purchase_f1"],
            "train.early_stopping_metric: expected recall, ndcg or mrr where train.purchase_weight",
        ),
        (
            ["--evaluate.exclude_earlier=true"],
            "evaluate.exclude_earlier: expected false without ranking.exclude_history, found True",
        ),
        (["--train", "3"], "train: expected a section of keys, found '3'"),
        (["--events.latest", "soon"],
         "events.latest: expected a date or time in ISO 8601, found 'soon'"),
        (["--score.active_since", "soon"], "score.active_since: expected a date or time in"),
        (["--score.as_of", "soon"], "score.as_of: expected a date or time in ISO 8601"),
        (["--score.batch_users=256"], "score.batch_users: expected at most 216, found 256"),
        (["--events.event_types={view: ''}"], "events.event_types: expected names"),
    ],
)  # fmt: skip
def test_a_wrong_key_or_value_is_named(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=r".") as caught:
        _parse(*arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "prepare:\n  sesion_gap_minutes: 5\n",
            "the nearest known one is prepare.session_gap_minutes",
        ),
        ("prepar:\n  session_gap_minutes: 5\n", "prepar.session_gap_minutes: unknown key"),
        ("train:\n  epochs: many\n", "train.epochs: expected int, found many"),
        ("train: [\n", "parsing"),
        ("train: 3\n", "train: expected a section of keys, found 3"),
        ("events: 3\n", "events: expected a section of keys, found 3"),
        ("items:\n  attributes: {brand: category}\n", "items.attributes: expected none without"),
    ],
)  # fmt: skip
def test_a_wrong_key_in_a_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r".") as caught:
        _parse("--config", str(file))
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("job", ["prepare", "train", "evaluate", "score"])
def test_a_wrong_configuration_exits_2_at_once(job: str) -> None:
    ended = run([sys.executable, f"jobs/{job}.py", "--paths.dataste", "x"])
    assert ended.returncode == 2
    expected = f"{job}: paths.dataste: unknown key; the nearest known one is paths.dataset\n"
    assert ended.stderr == expected


def test_a_disk_that_is_full_exits_3_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["jobs/score.py"])

    def work(config: Config, options: Namespace) -> None:
        Path("/dev/full").write_text("more than there is room for")

    with pytest.raises(SystemExit) as ended:
        command.run("score", "Purpose.", work)
    assert ended.value.code == 3
    [line] = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"score: \S+: expected room to write, found a full disk", line)


@pytest.mark.parametrize("job", ["prepare", "train", "evaluate", "score"])
def test_help_is_as_it_was(job: str) -> None:
    ended = run(["env", "COLUMNS=100", sys.executable, f"jobs/{job}.py", "--help"])
    assert ended.returncode == 0, ended.stderr
    _compare(_GOLDEN / f"{job}_help.txt", ended.stdout)
