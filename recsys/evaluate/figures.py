"""The content of metrics.json, from the cases."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import recsys
from recsys.config import Config
from recsys.config.floors import SLICE_METRICS
from recsys.errors import DataError
from recsys.evaluate import (
    aggregate,
    bootstrap,
    exposure,
    lists,
    metrics,
    resamples,
    slices,
    spread,
)
from recsys.evaluate.aggregate import Estimate, Estimates, Measuring
from recsys.evaluate.bootstrap import Floats
from recsys.evaluate.catalogue import Catalogue
from recsys.evaluate.evaluation import Evaluation
from recsys.evaluate.slice_figures import slice_figures
from recsys.evaluate.slices import Slicing
from recsys.manifest import Manifest
from recsys.schemas import FIRST_ITEM

# Drawn over the length of the list, in at most so many points.
CURVES = ("recall", "precision", "ndcg")
_CURVE_POINTS = 25
HYBRID = "hybrid"
_MICROSECONDS_PER_SECOND = 1_000_000
# Of the time that was learnt from: items first seen in its last part are new.
_NEW_SHARE = 0.1


def figures(
    cases: DataFrame, evaluation: Evaluation, first_seen_V: npt.NDArray[np.int64]
) -> dict[str, Any]:
    """The content of metrics.json, but for the model; and, as `drawn`, what resamples keeps.

    Args:
        cases: schemas.CASES
        evaluation: that they are from
        first_seen_V: Training.first_seen, seconds since the epoch

    Raises:
        DataError: unknown targets are dropped, and there are no others
    """
    config, dataset, catalogue = evaluation.config, evaluation.dataset, evaluation.catalogue
    at = sorted(set(config.evaluate.at))
    lengths = sorted({*at, *_curve_lengths(max(at))})
    measuring = measure(evaluation, first_seen_V)
    names = [row.system for row in cases.select("system").distinct().collect()]
    systems = [name for name in ("model", *config.evaluate.references) if name in names]
    found, users = _estimates(cases, measuring, systems[0])
    if not found:
        raise DataError(
            f"{dataset.url}: expected a target of split test that the model can know, as "
            "evaluate.unknown_targets is drop, found none"
        )
    measured = _measured(cases, catalogue.known_size) if measuring.drop_unknown else cases
    shown = dict.fromkeys((*(metric for metric, _ in measuring.columns), *exposure.METRICS))
    columns = [(metric, k) for metric in shown for k in at]
    whole = {(key[0], *key[3:]): own.values for key, own in found.items() if key[1] == "all"}
    whole |= exposure.exposure(
        measured, systems, at, dataset.vocabulary_size, measuring.resamples, measuring.seed
    )
    whole = {key: bootstrap.of_enough(own, users["all", ""]) for key, own in whole.items()}
    return {
        **_about(config, dataset),
        "at": at,
        "unknown_as": config.evaluate.unknown_targets,
        "category": catalogue.category,
        **_totals(cases, systems[0], catalogue.known_size),
        "known_size": catalogue.known_size,
        "learnt_from": [*evaluation.learn_from],
        "measured_cases": found[systems[0], "all", "", *columns[0]].cases,
        "measured_users": users["all", ""],
        "least_users": bootstrap.LEAST_USERS,
        **_compared(whole, systems, columns),
        **_of_systems(whole, systems, columns, lengths),
        "slices": slice_figures(found, users, systems, max(at)),
        "frequency": _frequency(measured, systems, max(at), known(catalogue)),
        "resamples": measuring.resamples,
        "drawn": resamples.of_system(systems[0], whole, columns, found),
    }  # fmt: skip


def _estimates(
    cases: DataFrame, measuring: Measuring, first: str
) -> tuple[Estimates, dict[tuple[str, str], int]]:
    """What is measured, with resamples where there are users enough; and how many there are."""
    users = aggregate.users(cases.where(F.col("system") == first), measuring)
    found = aggregate.estimates(cases, measuring)
    enough = {
        key: Estimate(bootstrap.of_enough(own.values, users[key[1], key[2]]), own.cases)
        for key, own in found.items()
    }
    return enough, users


def _measured(cases: DataFrame, known_size: int) -> DataFrame:
    """The cases that have a target which the model can know, with these targets alone."""
    known = F.filter("targets", lambda item: (item >= FIRST_ITEM) & (item < known_size))
    return cases.withColumn("targets", known).where(F.size("targets") > 0)


def _about(config: Config, dataset: Manifest) -> dict[str, Any]:
    """What the figures are of."""
    return {
        "name": config.name,
        "created_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "code_version": recsys.__version__,
        "dataset": {
            "version": dataset.url.rsplit("/", 1)[-1],
            "content_fingerprint": dataset.content_fingerprint,
            "vocabulary_fingerprint": dataset.vocabulary_fingerprint,
        },
        "split": "test",
    }


def _of_systems(
    whole: Mapping[tuple[str, str, int], Floats],
    systems: Sequence[str],
    columns: Sequence[tuple[str, int]],
    lengths: Sequence[int],
) -> dict[str, Any]:
    """Each system's figures, and curves of them over the length of the list."""
    return {
        "systems": {
            system: {f"{metric}@{k}": float(whole[system, metric, k][0]) for metric, k in columns}
            for system in systems
        },
        "curves": {
            "k": lengths,
            **{
                metric: {name: [float(whole[name, metric, k][0]) for k in lengths]
                         for name in systems}
                for metric in CURVES
            },
        },
    }  # fmt: skip


def _compared(
    whole: Mapping[tuple[str, str, int], Floats],
    systems: Sequence[str],
    columns: Sequence[tuple[str, int]],
) -> dict[str, Any]:
    """How sure each figure is, and how far systems are ahead of others.

    `differences` are of the first system, `hybrid_differences` of the hybrid; `steps` are of each
    system to the one before it, by rising recall of the longest list.
    """

    def apart(own: str, other: str) -> dict[str, Any]:
        return {
            f"{metric}@{k}": bootstrap.difference(whole[own, metric, k], whole[other, metric, k])
            for metric, k in columns
        }

    first, *others = systems
    references = [name for name in others if name != HYBRID]
    longest = max(k for _, k in columns)
    rising = sorted(systems[::-1], key=lambda name: whole[name, "recall", longest][0])
    return {
        "intervals": {
            system: {f"{metric}@{k}": bootstrap.interval(whole[system, metric, k])
                     for metric, k in columns}
            for system in systems
        },
        "differences": {system: apart(first, system) for system in others},
        "hybrid_differences": {
            system: apart(HYBRID, system) for system in references if HYBRID in others
        },
        "steps": [
            {"system": own, "over": before, "differences": apart(own, before)}
            for before, own in itertools.pairwise(rising)
        ],
    }  # fmt: skip


def measure(evaluation: Evaluation, first_seen_V: npt.NDArray[np.int64]) -> Measuring:
    """What is measured: every metric at every length, curves over the length, and slices."""
    settings, items = evaluation.config.evaluate, known(evaluation.catalogue)
    at = sorted(set(settings.at))
    shown = metrics.available(items, has_vectors=evaluation.export is not None)
    drawn = sorted({*at, *_curve_lengths(max(at))})
    columns = {(metric, k): None for metric in shown for k in at}
    columns |= {(metric, k): None for metric in CURVES for k in drawn}
    return Measuring(
        catalogue=items,
        columns=tuple(columns),
        slice_columns=tuple((metric, max(at)) for metric in SLICE_METRICS),
        slicing=slicing(evaluation, first_seen_V),
        resamples=settings.resamples,
        seed=bootstrap.SEED,
        drop_unknown=settings.unknown_targets == "drop",
        export=evaluation.export,
    )


def slicing(evaluation: Evaluation, first_seen_V: npt.NDArray[np.int64]) -> Slicing:
    """How cases are sliced."""
    dataset, catalogue = evaluation.dataset, evaluation.catalogue
    start, last = (
        instant // _MICROSECONDS_PER_SECOND for instant in (dataset.first_event, dataset.last_event)
    )
    # Where the split is not by time there is no such instant.
    test_start = dataset.test_start and dataset.test_start // _MICROSECONDS_PER_SECOND
    newest = evaluation.end - _NEW_SHARE * (evaluation.end - start)
    return Slicing(
        test_start=test_start,
        seconds=last - (test_start or start),
        last=last,
        is_tail_item=slices.is_tail_item(known(catalogue)),
        is_new_item=first_seen_V >= newest,
        event_types=dataset.event_types,
        platforms=dataset.platforms,
        category=catalogue.category_index,
        category_names={} if catalogue.category is None else catalogue.values[catalogue.category],
    )


def known(catalogue: Catalogue) -> lists.Catalogue:
    """What metrics know of the items."""
    return lists.Catalogue(
        catalogue.train_count, catalogue.category_index, known_size=catalogue.known_size
    )


def _curve_lengths(longest: int) -> list[int]:
    return [int(k) for k in np.unique(np.linspace(1, longest, _CURVE_POINTS).round())]


def _totals(cases: DataFrame, system: str, known_size: int) -> dict[str, int]:
    unknown = F.filter("targets", lambda item: (item < FIRST_ITEM) | (item >= known_size))
    only_unknown = F.size(unknown) == F.size("targets")
    row = (
        cases.where(F.col("system") == system)
        .agg(
            F.count("*").alias("cases"),
            F.countDistinct("user_id").alias("users"),
            F.sum(F.size("targets")).alias("targets"),
            F.sum(F.size(unknown)).alias("unknown_targets"),
            F.sum(only_unknown.cast("bigint")).alias("cases_of_unknown_alone"),
        )
        .collect()[0]
    )
    return {str(name): int(value) for name, value in row.asDict().items()}


def _frequency(
    cases: DataFrame, systems: Sequence[str], k: int, items: lists.Catalogue
) -> dict[str, Any]:
    """Shares of the bands of frequency in what was recommended and in what was bought."""
    names = spread.band_names()
    counts = {name: [0] * len(names) for name in ("bought", *systems)}
    for row in spread.bands(cases, k, systems[0], items).collect():
        counts[row.what][row.band] = row.events
    return {
        "bands": names,
        "shares": {
            name: [events / max(sum(own), 1) for events in own] for name, own in counts.items()
        },
    }
