"""What the report's page says, against the cases and the dataset that it tells of."""

from __future__ import annotations

import html
import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from recsys import files, pages, saved_model
from recsys.encoding import INPUTS
from recsys.evaluate import bootstrap, words
from recsys.evaluate.layout import TESTED
from recsys.schemas import FIRST_ITEM
from tests.evaluate import dataset
from tests.evaluate.dataset import SETTINGS
from tests.evaluate.rows import DAY, LENGTH
from tests.evaluate.test_metrics import Case, by_hand, catalogue

K = max(SETTINGS.at)
SYSTEMS = ("model", *SETTINGS.references)
KNOWN = catalogue([0] * (FIRST_ITEM + dataset.ITEMS))
REASONS = 3  # named of an item, at most

Event = dict[str, int]


@pytest.fixture(scope="module")
def figures(report: Path) -> dict[str, Any]:
    return files.read_json(files.as_url(str(report / "metrics.json")))


@pytest.fixture(scope="module")
def page(report: Path) -> str:
    return html.unescape((report / "report.html").read_text())


def between(text: str, first: str, last: str) -> str:
    start = text.index(first)
    return text[start : text.index(last, start)]


def test_each_system_is_tested_against_the_next_weaker_one_on_the_same_users(
    spark: SparkSession, report: Path, figures: dict[str, Any], page: str
) -> None:
    cases = pq.read_table(report / "cases").to_pylist()
    users = spark.createDataFrame([(user,) for user in dataset.histories()], "user_id string")
    weights = {
        row.user_id: bootstrap.weights(np.array([row.hash]), SETTINGS.resamples, bootstrap.SEED)[0]
        for row in users.select("user_id", F.xxhash64("user_id").alias("hash")).collect()
    }
    means = {}
    for system, metric in itertools.product(SYSTEMS, TESTED):
        own = [case for case in cases if case["system"] == system]
        counted = np.array([weights[case["user_id"]] for case in own])
        found = [
            by_hand(metric, Case(case["ranks"], case["targets"], [], []), KNOWN, K) for case in own
        ]
        means[system, metric] = np.array(found) @ counted / counted.sum(axis=0)

    steps = figures["steps"]
    rising = [steps[0]["over"], *(step["system"] for step in steps)]
    assert sorted(rising) == sorted(SYSTEMS)
    recalls = [means[system, "recall"][0] for system in rising]
    assert all(np.diff(recalls) > -1e-12)
    assert recalls[0] < recalls[-1]
    table = between(page, "What each step from a method", "What the lists are like")
    for before, step in zip(rising, steps, strict=False):
        assert step["over"] == before
        for metric in TESTED:
            apart = means[step["system"], metric] - means[before, metric]
            one = step["differences"][f"{metric}@{K}"]
            low, high = np.percentile(apart[1:], (2.5, 97.5))
            assert [one["difference"], one["low"], one["high"]] == pytest.approx(
                [apart[0], low, high], abs=1e-9
            )
            # Rounding may put a draw without a difference on either side.
            drawn = apart[1:].round(12)
            least, most = (
                min(1, 2 * (min(sides) + 1) / (SETTINGS.resamples + 1))
                for sides in (
                    ((drawn < 0).sum(), (drawn > 0).sum()),
                    ((drawn <= 0).sum(), (drawn >= 0).sum()),
                )
            )
            assert least - 1e-9 <= one["p"] <= most + 1e-9
            small = f"<small>{pages.figure(one['low'])} – {pages.figure(one['high'])}</small>"
            assert f"{one['difference']:+.4f}{small}<small>p {one['p']:.3f}</small>" in table
    labels = re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td>', table)
    assert labels == [
        (words.SYSTEMS[step["system"]], words.SYSTEMS[step["over"]]) for step in reversed(steps)
    ]


def test_slices_behind_what_is_popular_are_named_above_the_table(
    figures: dict[str, Any], page: str
) -> None:
    recall = f"recall@{K}"
    behind, ahead = [], []
    for part in figures["slices"]:
        own = part["systems"]
        is_behind = own["model"][recall] < own["popular"][recall]
        name = f"{words.SLICES[part['slice']]}: {part['value']}, {part['cases']} cases"
        (behind if is_behind else ahead).append(name)
    assert behind, "an untrained model is behind somewhere"
    assert ahead
    alarm = between(page, "Where the most popular items would find more", "<h2>The figures</h2>")
    named = re.findall("<li>(.*? cases) of", alarm)
    assert named == behind


def test_sections_of_configuration_and_quarantine_hold_what_was_written(
    report: Path, page: str
) -> None:
    configuration = between(page, "<h2>The configuration</h2>", "<footer>")
    written = (report / "config.yaml").read_text()
    assert "name: Three dozen users" in written
    assert between(configuration, "<pre>", "</pre>") == f"<pre>{written}"
    quarantine = between(page, "<h3>Quarantine</h3>", "<h3>Splits</h3>")
    assert '<td>price: negative</td><td class="n">10</td>' in quarantine


def test_references_are_said_to_count_all_of_the_splits_that_they_learn_from(page: str) -> None:
    glossary = between(page, "What the metrics and the systems are", "</details>")
    assert "count all that was done in the time of the splits" in glossary
    assert "All systems learnt from train." in page
    assert "the model and the references learn from train" in page


def test_examples_show_what_came_before_their_targets(
    report: Path, figures: dict[str, Any], page: str
) -> None:
    lists = {
        (case["user_id"], case["step"]): case["recommended"]
        for case in pq.read_table(report / "cases").to_pylist()
        if case["system"] == "model"
    }
    assert len(figures["examples"]) == SETTINGS.examples
    for example in figures["examples"]:
        steps = dataset.histories()[example["user_id"]]
        last = len(steps) - 1
        events = events_before(steps, last)
        assert example["timestamp"] == DAY * last
        assert example["history"] == [event["item"] for event in events]
        assert max(example["history_times"]) < example["timestamp"]
        assert example["events"] == sum(len(step) for step in steps[:last])
        assert sorted(example["targets"]) == sorted(steps[last])
        assert example["recommended"] == lists[example["user_id"], last]
        shown = between(page, f"<h3>{example['user_id']}, 1970-01-0{last + 1}</h3>", "</ol>")
        before, came, recommended = shown.split("<b>")[1:]
        assert before.startswith(f"{example['events']} events before")
        days = [f"1970-01-0{1 + seconds // DAY}" for seconds in example["history_times"]]
        listed = zip(map(title, example["history"]), days, strict=True)
        assert re.findall("<li>(.*?) <small>purchase, (.*?)</small>", before) == [*listed][::-1]
        assert re.findall("<li>(.*?)</li>", came) == [title(item) for item in example["targets"]]
        assert re.findall("<li>([^ <]*)", recommended) == [
            title(item) for item in example["recommended"]
        ]


def test_reasons_are_the_events_without_which_the_model_scores_lowest(
    figures: dict[str, Any], page: str, model: str
) -> None:
    ranker = saved_model.load(files.join(model, "export"))
    reasons = 0
    for example in figures["examples"]:
        steps = dataset.histories()[example["user_id"]]
        events = events_before(steps, len(steps) - 1)
        whole = scores(ranker, events)
        fewer = [scores(ranker, without(events, place)) for place in range(len(events))]
        named = []
        for item, found in zip(example["recommended"], example["reasons"], strict=True):
            lowered = [
                (own[item], event["item"])
                for own, event in zip(fewer, events, strict=True)
                if own[item] < whole[item] - 1e-6
            ]
            expected = [reason for _, reason in sorted(lowered, key=lambda own: own[0])][:REASONS]
            assert [reason for reason in found if reason] == expected, (example, item)
            reasons += len(expected)
            if expected:
                named.append("; ".join(dict.fromkeys(map(title, expected))))
        shown = between(page, f"<h3>{example['user_id']}, ", "</ol>")
        assert re.findall("because of (.*?)</small>", shown) == named
    assert reasons > 0


def title(item: int) -> str:
    return f"item-{item}" if item >= FIRST_ITEM else "an item too rare to be known"


def events_before(steps: list[list[int]], last: int) -> list[Event]:
    """What the row of test holds before its last step, as a model reads it."""
    first, *_ = dataset.PARTS["test"]
    return [
        {
            "item": item, "event_type": FIRST_ITEM, "gap_seconds": DAY,
            "session_start": int(step % 2 == 0), "step": step - first,
        }
        for step in range(first, last) for item in steps[step]
    ]  # fmt: skip


def without(events: list[Event], place: int) -> list[Event]:
    """The history as if one event had not happened: a step that has no other goes with it."""
    lost = events[place]
    kept = [dict(event) for number, event in enumerate(events) if number != place]
    if all(event["step"] != lost["step"] for event in kept):
        for event in kept:
            if event["step"] == lost["step"] + 1:
                event["gap_seconds"] += lost["gap_seconds"]
                event["session_start"] = max(event["session_start"], lost["session_start"])
            event["step"] -= event["step"] > lost["step"]
    return kept


def scores(ranker: saved_model.Ranker, events: list[Event]) -> np.ndarray:
    empty = dict.fromkeys(INPUTS, 0) | {"step": -1}
    filled = [*events, *[empty] * (LENGTH - len(events))]
    rows = {name: np.array([[event[name] for event in filled]], np.int32) for name in INPUTS}
    return np.asarray(ranker.scores(rows))[0]
