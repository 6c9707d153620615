from __future__ import annotations

import dataclasses
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from jsonargparse import Namespace
from pyspark.sql import SparkSession

from recsys import command, files, purchases
from recsys.config import Config, Evaluate
from recsys.config.floors import (
    LESS_IS_BETTER,
    METRICS,
    PURCHASE_METRICS,
    PURCHASE_REFERENCES,
    SLICE_METRICS,
    VALUES,
    parse,
)
from recsys.errors import ConfigError, FloorError
from recsys.evaluate import layout, metrics, pipeline, purchase_rate, slices, summary, words
from recsys.evaluate.aggregate import Estimate
from recsys.evaluate.floors import Measurable, check, missed
from recsys.evaluate.slice_figures import slice_figures
from recsys.evaluate.slices import Slicing
from recsys.manifest import Manifest
from recsys.schemas import FIRST_ITEM
from tests.evaluate import dataset

FIGURES = {
    "systems": {
        "model": {"recall@20": 0.3, "mrr@5": 0.2, "gini@20": 0.9, "popularity_bias@20": 7.0},
        "popular": {"recall@20": 0.1, "gini@20": 0.99, "popularity_bias@20": 5.0},
    },
    "slices": [
        {
            "slice": "users", "value": "new",
            "systems": {"model": {"recall@20": 0.04}, "popular": {"recall@20": 0.05}},
        }
    ],
    "purchase": {
        "figures": {"auc": 0.8, "precision": None, "log_loss": 0.3},
        "references": {"purchase_rate": {"figures": {"auc": 0.7, "log_loss": 0.4}}},
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("floor", "least", "line"),
    [
        ("recall@20", 0.3, None),
        ("recall@20", 0.31, "evaluate.floors.recall@20: expected at least 0.31, found 0.3"),
        ("recall@20 over popular", 0.2, None),
        ("recall@20 over popular", 0.25, "expected at least 0.25, found 0.2"),
        ("recall@20 in users=new", 0.05, "expected at least 0.05, found 0.04"),
        ("recall@20 in users=new", 0.03, None),
        ("recall@20 over popular in users=new", 0, "expected at least 0, found -0.01"),
        ("purchase auc", 0.8, None),
        ("purchase auc", 0.81, "evaluate.floors.purchase auc: expected at least 0.81, found 0.8"),
        ("purchase auc over purchase_rate", 0.1, None),
        ("purchase auc over purchase_rate", 0.11, "expected at least 0.11, found 0.1"),
        ("purchase precision", 0.1, "expected at least 0.1, found none"),
        # Less is better: what is given is the most.
        ("gini@20", 0.95, None),
        ("gini@20", 0.9, None),
        ("gini@20", 0.85, "evaluate.floors.gini@20: expected at most 0.85, found 0.9"),
        ("popularity_bias@20", 6.5, "expected at most 6.5, found 7"),
        ("gini@20 over popular", 0.09, None),
        ("gini@20 over popular", 0.1, "expected at least 0.1, found 0.09"),
        ("popularity_bias@20 over popular", 0, "expected at least 0, found -2"),
        ("purchase log_loss", 0.3, None),
        ("purchase log_loss", 0.29, "expected at most 0.29, found 0.3"),
        ("purchase log_loss over purchase_rate", 0.1, None),
        ("purchase log_loss over purchase_rate", 0.11, "expected at least 0.11, found 0.1"),
        ("recall@20 in category=toys", 0.1, "found none; the report has no cases in"),
        ("recall@20 in users=returning", 0.1, "found none; the report has new in users"),
    ],
)
def test_a_figure_beyond_its_bound_is_a_line(floor: str, least: float, line: str | None) -> None:
    lines = missed(FIGURES, Evaluate(references=("popular",), floors={floor: least}))
    assert len(lines) == (0 if line is None else 1)
    assert line is None or line in lines[0]


def test_nan_reaches_no_floor_and_is_none() -> None:
    figures = {**FIGURES, "systems": {"model": {"recall@20": math.nan, "gini@20": math.nan}}}
    assert len(missed(figures, Evaluate(floors={"recall@20": 0.0, "gini@20": 1.0}))) == 2
    with pytest.raises(ConfigError, match=r"evaluate.floors.recall@20: expected a number"):
        Evaluate(floors={"recall@20": math.nan})


def test_each_missed_floor_has_its_line() -> None:
    floors = {"recall@20": 0.5, "mrr@5": 0.1, "recall@20 over popular": 0.5}
    lines = missed(FIGURES, Evaluate(references=("popular",), floors=floors))
    assert [line.split(":")[0] for line in lines] == [
        "evaluate.floors.recall@20", "evaluate.floors.recall@20 over popular",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("floor", "message"),
    [
        ("recal@20", "expected a metric (recall, precision,"),
        ("recall", "expected METRIC@K"),
        ("recall@020", "expected METRIC@K"),
        ("recall@30", "expected a list length of evaluate.at (5, 10, 20), found 30"),
        ("recal@20", "vector_diversity; the nearest is recall), found 'recal'"),
        ("recall@20 over populer", "(popular; the nearest is popular), found 'populer'"),
        ("recall@20 in user=new", "day; the nearest is users), found 'user'"),
        ("purchase ndcg", "expected a figure of the purchase head (auc, accuracy, precision,"),
        ("purchase acuracy", "log_loss; the nearest is accuracy), found 'acuracy'"),
        ("purchase auc over popular", "reference of the purchase head (purchase_rate), found"),
        ("purchase", "or 'purchase METRIC', as needed with ' over purchase_rate', found"),
        ("recall@20 over nothing", "expected one of evaluate.references (popular), found"),
        ("recall@20 in nowhere=1", "expected a slice (users,"),
        ("recall@20 in users=old", "a value of the slice users (returning, new), found 'old'"),
        ("recall@20 in history=6-20", "over 100; the nearest is 6–20), found '6-20'"),
        ("recall@5 in users=new", "expected a metric of slices (recall, ndcg, mrr) at 20"),
        ("novelty@20 in users=new", "expected a metric of slices (recall, ndcg, mrr) at 20"),
    ],
)
def test_a_floor_of_nothing_is_a_wrong_configuration(floor: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Evaluate(references=("popular",), floors={floor: 0.1})
    assert f"evaluate.floors.{floor}: " in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("floor", "message"),
    [
        ("recall@20 in platform=web", None),
        ("recall@20 in platform=wep", "slice platform (app, web; the nearest is web), found 'wep'"),
        ("recall@20 in category=toys", "value of the slice category (none here), found 'toys'"),
        ("recall@20 in items=head", None),
        ("recall@20 in users=new", "expected a dataset that is split by time, found another"),
        ("gini@20", None),
        ("category_diversity@20", "expected a metric that model and items allow (recall, gini), f"),
        ("purchase auc", "expected a model with a purchase head (train.purchase_weight) and lab"),
    ],
)
def test_what_the_data_cannot_give_is_refused_before_anything_is_ranked(
    floor: str, message: str | None
) -> None:
    settings = Evaluate(references=("popular",), floors={floor: 0.1})
    values = {"platform": ["app", "web"], "category": [], "event_type": [], "day": []}
    can = Measurable(("recall", "gini"), values, new_users=False, purchases=False)
    if message is None:
        check(settings, can)
        return
    with pytest.raises(ConfigError) as caught:
        check(settings, can)
    assert f"evaluate.floors.{floor}: " in str(caught.value)
    assert message in str(caught.value)


def test_a_floor_of_a_slice_that_the_dataset_lacks_ends_the_job_at_once(
    spark: SparkSession, place: Path, manifest: Manifest, model: str
) -> None:
    floors = {"recall@5 in platform=wap": 0.1}
    config = dataset.config(place, references=("popular",), floors=floors)
    elsewhere = dataclasses.replace(config.paths, report=str(place / "none"))
    with pytest.raises(ConfigError, match=r"slice platform \(unknown, web, app; the nearest is"):
        pipeline.run(spark, dataclasses.replace(config, paths=elsewhere))
    assert not (place / "none").exists()


def test_slices_have_the_values_that_floors_know(report: Path) -> None:
    assert VALUES["history"] == tuple(slices.history_names())
    found = files.read_json(files.as_url(str(report / "metrics.json")))["slices"]
    assert found
    for part in found:
        assert part["value"] in VALUES.get(part["slice"], [part["value"]])


def test_a_slice_in_which_all_cases_are_alike_has_a_floor_and_no_table() -> None:
    users = {("users", "returning"): 4, ("items", "head"): 4, ("items", "tail"): 2}
    found = {
        (system, name, value, metric, 20): Estimate(np.full(3, figure), 5)
        for system, figure in (("model", 0.3), ("popular", 0.4))
        for name, value in (("all", ""), *users)
        for metric in SLICE_METRICS
    }
    parts = slice_figures(found, users, ["model", "popular"], 20)
    figures = {"at": [20], "systems": {"model": {}, "popular": {}}, "slices": parts}
    for least, lines in ((0.3, 0), (0.31, 1)):
        floors = Evaluate(references=("popular",), floors={"recall@20 in users=returning": least})
        assert len(missed(figures, floors)) == lines
    [table] = layout.of_slices(figures, "popular")
    assert table["slice"] == "items"
    assert [line.split(",")[0] for line in summary.behind(figures)] == [
        "Items bought: head", "Items bought: tail",
    ]  # fmt: skip


def test_the_data_name_the_values_of_slices() -> None:
    day = 86_400
    short = Slicing(
        test_start=0, seconds=2 * day, last=3 * day, event_types=("view", "buy"),
        category=np.zeros(3, np.int32),
        category_names={FIRST_ITEM + place: f"c{place}" for place in range(14)},
    )  # fmt: skip
    assert short.values() == {
        "event_type": ["view", "buy"],
        "platform": [],
        "category": [*(f"c{place}" for place in range(12)), "others"],
        "day": ["1970-01-02", "1970-01-03", "1970-01-04"],
    }
    months = Slicing(seconds=40 * day, last=60 * day, event_types=("view",)).values()
    assert months["day"] == ["1970-01", "1970-02", "1970-03"]
    assert months["event_type"] == months["category"] == []


def test_every_metric_can_have_a_floor_and_has_a_name_and_a_meaning() -> None:
    assert set(METRICS) == {*metrics.PER_CASE, "coverage", "gini"}
    assert set(METRICS) == set(words.METRICS) == set(words.MEANINGS)
    assert parse("map@10", (10,), ()).figure == "map@10"
    assert set(PURCHASE_METRICS) == set(purchases.METRICS)
    assert set(LESS_IS_BETTER) <= {*METRICS, *PURCHASE_METRICS}
    assert not set(LESS_IS_BETTER) & set(words.QUALITY), "of these the table marks the highest"
    assert {"model", *PURCHASE_REFERENCES} == set(words.PURCHASE_SYSTEMS)
    assert PURCHASE_REFERENCES == (purchase_rate.NAME,)


def test_a_report_below_its_floor_is_published_and_says_so(other_report: Path) -> None:
    page = (other_report / "report.html").read_text()
    assert "Floors that are missed" in page
    assert "<code>evaluate.references</code> lacks <code>popular</code>" in page
    for name in ("recall@5", "purchase auc"):
        assert f"evaluate.floors.{name}: expected at least 1.5" in page
    assert "evaluate.floors.purchase accuracy" not in page, "it holds"


def test_a_missed_floor_exits_4(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(config: Config, options: Namespace) -> None:
        raise FloorError("\n".join(missed(FIGURES, Evaluate(floors={"recall@20": 0.5}))))

    monkeypatch.setattr(sys, "argv", ["evaluate.py"])
    with pytest.raises(SystemExit) as ended:
        command.run("evaluate", "Purpose.", work)
    assert ended.value.code == 4
    said = "evaluate: evaluate.floors.recall@20: expected at least 0.5, found 0.3"
    assert capsys.readouterr().err.strip() == said
