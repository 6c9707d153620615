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
from recsys.evaluate import comparison as comparing
from recsys.evaluate import two
from recsys.evaluate.two import Side
from tests.evaluate import dataset


@pytest.fixture(scope="module")
def sides(report: Path, other_report: Path) -> tuple[Side, Side]:
    return two.read(files.as_url(str(report))), two.read(files.as_url(str(other_report)))


def test_the_difference_is_that_of_the_same_cases(
    spark: SparkSession, place: Path, sides: tuple[Side, Side], report: Path, other_report: Path
) -> None:
    apart = comparing.paired(spark, dataset.config(place), *sides)
    assert apart is not None
    found = []
    for folder in (report, other_report):
        cases = pq.read_table(folder / "cases").to_pylist()
        own = sorted(
            (case["user_id"], case["step"], np.mean(np.array(case["ranks"]) > 0))
            for case in cases
            if case["system"] == "model"
        )
        found.append([recall for *_, recall in own])
    before, after = found
    assert before != after
    assert apart["recall@5"]["difference"] == pytest.approx(np.mean(after) - np.mean(before))
    assert apart["recall@5"]["low"] < apart["recall@5"]["difference"] < apart["recall@5"]["high"]


def test_the_page_has_both(comparison: Path, sides: tuple[Side, Side]) -> None:
    page = comparison.read_text()
    for side in sides:
        assert side.version in page
        assert f"{side.figures['systems']['model']['ndcg@5']:.4f}" in page
    assert re.search(r"exclude_history</code></th><td>False</td><td>True</td>", page)
    auc = sides[0].figures["purchase"]["figures"]["auc"]
    assert f"{auc:.4f}" in page[page.index("Whether it is bought") :]
    assert "user kNN" in page, "a system that only one of them has"


def test_other_cases_are_not_tested(
    spark: SparkSession, place: Path, sides: tuple[Side, Side]
) -> None:
    first, second = sides
    elsewhere = {**second.figures["dataset"], "content_fingerprint": "another"}
    other = dataclasses.replace(second, figures={**second.figures, "dataset": elsewhere})
    assert comparing.paired(spark, dataset.config(place), first, other) is None
    assert "They ranked different cases" in two.render(first, other, None)


def test_lists_of_other_lengths_cannot_be_compared(sides: tuple[Side, Side]) -> None:
    first, second = sides
    longer = dataclasses.replace(second, figures={**second.figures, "at": [30]})
    with pytest.raises(DataError, match=r"expected a list length .* \[2, 5\], found \[30\]"):
        two.lengths(first, longer)


def test_without_an_earlier_version_one_has_to_be_named(
    spark: SparkSession, place: Path, other_report: Path
) -> None:
    config = dataset.config(place)
    paths = dataclasses.replace(config.paths, report=str(place / "other"))
    with pytest.raises(DataError, match=r"expected a version before .*, found none"):
        comparing.run(spark, dataclasses.replace(config, paths=paths), None, None, None)
