from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from recsys import files
from recsys.errors import DataError
from recsys.evaluate import bootstrap, resamples, two
from recsys.evaluate import comparison as comparing
from recsys.evaluate.two import Side
from recsys.schemas import FIRST_ITEM
from tests.evaluate import dataset
from tests.evaluate.dataset import SETTINGS


@pytest.fixture(scope="module")
def sides(report: Path, other_report: Path) -> tuple[Side, Side]:
    return two.read(files.as_url(str(report))), two.read(files.as_url(str(other_report)))


def users_recall(folder: Path, platform: int | None = None) -> dict[str, list[float]]:
    """Of each user the model's recall of every case, with the targets on a platform alone."""
    found: dict[str, list[float]] = {}
    for case in pq.read_table(folder / "cases").to_pylist():
        own = [platform in (None, place) for place in case["target_platforms"]]
        if case["system"] == "model" and any(own):
            recall = np.mean(np.array(case["ranks"])[own] > 0)
            found.setdefault(case["user_id"], []).append(float(recall))
    return found


@pytest.mark.parametrize(
    ("figure", "platform"), [("recall@5", None), ("recall@5 in platform=app", FIRST_ITEM + 1)]
)
def test_the_difference_is_that_of_the_same_users(
    spark: SparkSession,
    sides: tuple[Side, Side],
    report: Path,
    other_report: Path,
    figure: str,
    platform: int | None,
) -> None:
    apart, why = comparing.paired(*sides)
    assert why is None
    before, after = (users_recall(folder, platform) for folder in (report, other_report))
    assert before != after
    assert before.keys() == after.keys()
    frame = spark.createDataFrame([(user,) for user in before], "user string")
    hashes = [row.hash for row in frame.selectExpr("xxhash64(user) as hash").collect()]
    weights = bootstrap.weights(np.array(hashes), SETTINGS.resamples, bootstrap.SEED)
    of_user, cases = np.array(
        [[sum(after[user]) - sum(before[user]), len(before[user])] for user in before]
    ).T
    drawn = (of_user @ weights) / (cases @ weights)
    low, high = bootstrap.interval(drawn)
    p = bootstrap.p_value(drawn)
    expected = {"difference": drawn[0], "low": low, "high": high, "p": p}
    assert apart[figure] == pytest.approx(expected)


def test_every_figure_of_both_is_tested(sides: tuple[Side, Side]) -> None:
    apart, _ = comparing.paired(*sides)
    for name, value in sides[0].figures["systems"]["model"].items():
        after = sides[1].figures["systems"]["model"][name]
        assert apart[name]["difference"] == pytest.approx(after - value), name
    # The same head on the same targets.
    auc = {"difference": 0.0, "low": 0.0, "high": 0.0, "p": 1.0}
    assert apart["purchase auc"] == auc
    for part in sides[0].figures["slices"]:
        assert f"recall@5 in {part['slice']}={part['value']}" in apart


@pytest.mark.parametrize(
    ("key", "other", "slice_of"),
    [("known_size", 1, " in items="), ("learnt_from", ["train", "valid"], " in new_items=")],
)
def test_slices_that_hold_other_cases_are_not_tested(
    sides: tuple[Side, Side], key: str, other: object, slice_of: str
) -> None:
    first, second = sides
    apart, _ = comparing.paired(first, second)
    assert any(slice_of in name for name in apart)
    refitted = dataclasses.replace(second, figures={**second.figures, key: other})
    found, why = comparing.paired(first, refitted)
    assert why is None
    assert {*apart} - {*found} == {name for name in apart if slice_of in name}


def test_the_first_of_many_resamples_are_those_of_few(
    sides: tuple[Side, Side], tmp_path: Path
) -> None:
    first, second = sides
    whole = resamples.read(second.url)
    resamples.write(files.as_url(str(tmp_path)), {name: own[:6] for name, own in whole.items()})
    fewer = dataclasses.replace(second, url=files.as_url(str(tmp_path)))
    apart, _ = comparing.paired(first, fewer)
    before = resamples.read(first.url)["ndcg@5"]
    assert apart["ndcg@5"] == bootstrap.difference(whole["ndcg@5"][:6], before[:6])


def test_a_report_of_before_is_not_tested(sides: tuple[Side, Side], tmp_path: Path) -> None:
    first, second = sides
    old = dataclasses.replace(first, url=files.as_url(str(tmp_path / "of-before")))
    apart, why = comparing.paired(old, second)
    assert apart == {}
    assert why == "of-before was written before reports kept their resamples"
    assert f"not tested: {why}" in two.render(old, second, apart, why)


def test_the_page_has_both(comparison: Path, sides: tuple[Side, Side]) -> None:
    page = comparison.read_text()
    for side in sides:
        assert side.version in page
        assert f"{side.figures['systems']['model']['ndcg@5']:.4f}" in page
    assert re.search(r"exclude_history</code></th><td>False</td><td>True</td>", page)
    auc = sides[0].figures["purchase"]["figures"]["auc"]
    assert f"{auc:.4f}" in page[page.index("Whether it is bought") :]
    assert "<small>p 1.000</small>" in page[page.index("Whether it is bought") :]
    assert "user kNN" in page, "a system that only one of them has"


def test_other_cases_are_not_tested(sides: tuple[Side, Side]) -> None:
    first, second = sides
    elsewhere = {**second.figures["dataset"], "content_fingerprint": "another"}
    other = dataclasses.replace(second, figures={**second.figures, "dataset": elsewhere})
    apart, why = comparing.paired(first, other)
    assert (apart, why) == ({}, "they ranked different cases")
    assert "The difference is not tested: they ranked" in two.render(first, other, apart, why)


def test_lists_of_other_lengths_cannot_be_compared(sides: tuple[Side, Side]) -> None:
    first, second = sides
    longer = dataclasses.replace(second, figures={**second.figures, "at": [30]})
    with pytest.raises(DataError, match=r"expected a list length .* \[2, 5\], found \[30\]"):
        two.lengths(first, longer)


def test_without_an_earlier_version_one_has_to_be_named(place: Path, other_report: Path) -> None:
    config = dataset.config(place)
    paths = dataclasses.replace(config.paths, report=str(place / "other"))
    with pytest.raises(DataError, match=r"expected a version before .*, found none"):
        comparing.run(dataclasses.replace(config, paths=paths), None, None, None)
