"""Two reports side by side: what changed from one run to the next, and whether it is chance."""

from __future__ import annotations

import logging

import numpy as np
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsys import files, tables
from recsys.config import Config
from recsys.errors import DataError
from recsys.evaluate import aggregate, metrics
from recsys.evaluate.bootstrap import difference
from recsys.evaluate.two import FIRST, SECOND, Apart, Side, lengths, read, render
from recsys.schemas import CASES, FIRST_ITEM

log = logging.getLogger(__name__)

_BY = "jobs/evaluate.py"


def run(
    spark: SparkSession, config: Config, first: str | None, second: str | None, page: str | None
) -> str:
    """Compares two reports and writes a page.

    Args:
        spark: the session
        config: whose paths.report has the versions
        first: a version's id or another report's place; none is the version before the second
        second: the same; none is the current version
        page: URL to write to; none is comparison.html in paths.report

    Returns:
        the URL of the page

    Raises:
        DataError: there is no such report, or the two have no list length in common
    """
    place = config.paths.report
    after = _url(place, second) if second else files.current(place, _BY)
    before = _url(place, first) if first else _before(place, after)
    sides = read(before), read(after)
    where = files.as_url(page or files.join(place, "comparison.html"))
    files.write_bytes(where, render(*sides, paired(spark, config, *sides)).encode())
    log.info("comparison: %s", where)
    return where


def _url(place: str, name: str) -> str:
    if name in files.versions(place):
        return files.join(files.as_url(place), "versions", name)
    return files.current(name, _BY)


def _before(place: str, after: str) -> str:
    published = files.published(place)
    name = after.rsplit("/", 1)[-1]
    earlier = published[: published.index(name)] if name in published else []
    if not earlier:
        raise DataError(f"{place}: expected a version before {name}, found none; name one: --first")
    return files.join(files.as_url(place), "versions", earlier[-1])


def is_paired(first: Side, second: Side) -> bool:
    """Whether both ranked the same cases."""
    keys = ("content_fingerprint", "vocabulary_fingerprint")
    same = all(first.figures["dataset"][key] == second.figures["dataset"][key] for key in keys)
    return same and all(
        first.figures[key] == second.figures[key] for key in ("cases", "users", "unknown_as")
    )


def paired(spark: SparkSession, config: Config, first: Side, second: Side) -> Apart | None:
    """How far the second model is ahead of the first in what ranks alone say, on the same users.

    Returns:
        metric@k to difference, low, high and p; none where they did not rank the same cases
    """
    if not is_paired(first, second):
        return None
    columns = tuple((name, k) for name in metrics.OF_RANKS for k in lengths(first, second))
    cases = _models(spark, first, FIRST).unionByName(_models(spark, second, SECOND))
    measuring = aggregate.Measuring(
        metrics.Catalogue(np.zeros(FIRST_ITEM, np.int64)),  # these metrics ask for none
        columns,
        resamples=config.evaluate.resamples,
        seed=config.seed,
        drop_unknown=first.figures["unknown_as"] == "drop",
    )
    found = {(key[0], *key[3:]): own for key, own in aggregate.estimates(cases, measuring).items()}
    return {
        f"{name}@{k}": difference(found[SECOND, name, k].values, found[FIRST, name, k].values)
        for name, k in columns
    }


def _models(spark: SparkSession, side: Side, name: str) -> DataFrame:
    cases = tables.read(spark, files.join(side.url, "cases"), CASES)
    return cases.where("system = 'model'").withColumn("system", F.lit(name))
