"""Two reports side by side: what changed from one run to the next, and whether it is chance."""

from __future__ import annotations

import logging

import numpy as np

from recsys import files
from recsys.config import Config
from recsys.errors import DataError
from recsys.evaluate import resamples
from recsys.evaluate.bootstrap import difference
from recsys.evaluate.two import Apart, Side, read, render

log = logging.getLogger(__name__)

_BY = "jobs/evaluate.py"


def run(config: Config, first: str | None, second: str | None, page: str | None) -> str:
    """Compares two reports and writes a page.

    Args:
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
    files.write_bytes(where, render(*sides, *paired(*sides)).encode())
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


def paired(first: Side, second: Side) -> tuple[Apart, str | None]:
    """How far the second model is ahead of the first, in every figure that both reports kept.

    Returns:
        figure (as of resamples) to difference, and low, high and p where there are users enough;
        and why there are none
    """
    if why := _untestable(first, second):
        return {}, why
    before, after = resamples.read(first.url), resamples.read(second.url)
    if not before or not after:
        old = second if before else first
        return {}, f"{old.version} was written before reports kept their resamples"
    names = [name for name in before if name in after]
    if first.figures["category"] != second.figures["category"]:
        names = [name for name in names if "category" not in name]
    # What is new, or too rare to be known, depends on what the models were fitted to.
    for key, of_slices in (("learnt_from", " in new_items="), ("known_size", " in items=")):
        if first.figures.get(key) != second.figures.get(key):
            names = [name for name in names if of_slices not in name]
    found = {}
    for name in names:
        # Resamples are numbered: the first of many are those of few.
        common = min(len(before[name]), len(after[name]))
        if not np.isnan(after[name][0] - before[name][0]):
            found[name] = difference(after[name][:common], before[name][:common])
    return found, None


def _untestable(first: Side, second: Side) -> str | None:
    """Why they cannot be compared case by case; none where both ranked the same cases."""
    keys = ("content_fingerprint", "vocabulary_fingerprint")
    same = all(first.figures["dataset"][key] == second.figures["dataset"][key] for key in keys)
    same = same and all(
        first.figures[key] == second.figures[key]
        for key in ("cases", "measured_cases", "users", "unknown_as")
    )
    return None if same else "they ranked different cases"
