"""How benchmarks/references.py --tune chooses the settings of the references."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from unittest import mock

import numpy as np
import pytest

from benchmarks import tuning
from benchmarks.references import SETTINGS, arguments
from recsys.config import Config
from recsys.evaluate.references.neighbours import Neighbours
from recsys.evaluate.references.system import Training
from tests.evaluate import dataset


def test_each_grid_goes_on_with_the_best_of_those_before(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tried: list[list[tuple[int, int]]] = []
    learnt_from = mock.Mock()

    def fit(_: object, training: Training) -> list[Neighbours]:
        assert training.histories is learnt_from.cache()
        settings = training.settings.session_knn
        numbers = settings.neighbours, settings.candidates
        return [Neighbours("session_knn", mock.Mock(), np.zeros(0), *numbers)]

    def found(_: object, systems: Sequence[Neighbours], *__: object) -> dict[str, float]:
        own = [(system.neighbours, system.candidates) for system in systems]
        tried.append(own)
        return {
            system.name: 1 / (abs(number - 3) + abs(candidates - 7))
            for system, (number, candidates) in zip(systems, own, strict=True)
        }

    monkeypatch.setattr(tuning.references, "fit", fit)
    monkeypatch.setattr(tuning, "_found", found)
    evaluation = mock.Mock(config=Config(evaluate=dataset.SETTINGS))
    evaluation.histories = lambda splits: learnt_from if splits == ("train",) else None
    evaluation.training = lambda histories: Training(histories, 8, dataset.SETTINGS)
    grids = {"session_knn": ({"neighbours": (2, 3, 9)}, {"candidates": (1, 6)})}
    chosen = tuning.tuned(evaluation, grids, "recall", 2, 10)
    assert tried == [[(2, 5), (3, 5), (9, 5)], [(3, 1), (3, 6)]]
    assert (chosen.session_knn.neighbours, chosen.session_knn.candidates) == (3, 6)
    assert chosen.session_knn.vote_fading == "harmonic", "what no grid names stays"
    assert capsys.readouterr().out.splitlines()[3:] == [
        "session_knn: recall@2 1.0000 {'candidates': 6}",
        "session_knn: recall@2 0.1667 {'candidates': 1}",
        "session_knn: candidates is best at the edge of (1, 6)",
    ]


def test_what_is_best_where_a_setting_ends_is_not_at_an_edge() -> None:
    grid = {"decay": (0.0, 0.5), "regularisation": (0, 9), "within": ("session", "sequence")}
    assert tuning.at_edge(grid, {"decay": 0.0, "regularisation": 0, "within": "session"}) == []
    best = {"decay": 0.5, "regularisation": 9, "within": "sequence"}
    assert tuning.at_edge(grid, best) == ["decay", "regularisation"]


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_that_was_chosen_could_be_within_what_is_tried(name: str) -> None:
    settings = SETTINGS[name]
    assert set(tuning.GRIDS).intersection(settings.references)
    for reference in set(tuning.GRIDS).intersection(settings.references):
        own = vars(getattr(settings, reference))
        for grid in tuning.GRIDS[reference]:
            assert all(own[key] in values for key, values in grid.items()), (reference, own)
            assert tuning.at_edge(grid, own) == [], (reference, own)


def test_public_sets_need_a_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["references.py", "--sets", "demo", "beauty"])
    with pytest.raises(SystemExit) as ended:
        arguments()
    assert ended.value.code == 2
    assert "--data: expected the folder of beauty, found none" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["references.py", "--sets", "demo", "--tune"])
    assert arguments().data is None, "its data are what --work has"
