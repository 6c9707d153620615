"""The content of metrics.json, from the cases."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import recsys
from recsys.config import Config
from recsys.evaluate import aggregate, metrics, report
from recsys.evaluate.references import Longs
from recsys.manifest import Manifest
from recsys.schemas import UNKNOWN

# Points of a curve over the length of the list, at most.
_CURVE_POINTS = 25


def figures(
    cases: DataFrame, train_counts_V: Longs, config: Config, dataset: Manifest
) -> dict[str, Any]:
    """The content of metrics.json, but for the model.

    Args:
        cases: schemas.CASES
        train_counts_V: events of train by item index
        config: the resolved configuration
        dataset: the manifest of what the cases are from
    """
    at = sorted(set(config.evaluate.at))
    lengths = sorted({*at, *_curve_lengths(max(at))})
    means = aggregate.means(cases, lengths, metrics.self_information(train_counts_V))
    means = means.unionByName(aggregate.coverage(cases, at, dataset.items))
    values = {(row.system, row.metric, row.k): row.value for row in means.collect()}
    systems = ["model", *config.evaluate.references]
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
        "at": at,
        **_totals(cases),
        "systems": {
            system: {
                f"{metric}@{k}": values[system, metric, k] for metric in report.METRICS for k in at
            }
            for system in systems
        },
        "curves": {
            "k": lengths,
            **{
                metric: {name: [values[name, metric, k] for k in lengths] for name in systems}
                for metric in report.CURVES
            },
        },
        "popularity": _popularity(cases, systems, max(at)),
    }


def _curve_lengths(longest: int) -> list[int]:
    return [int(k) for k in np.unique(np.linspace(1, longest, _CURVE_POINTS).round())]


def _totals(cases: DataFrame) -> dict[str, int]:
    unknown = F.filter("targets", lambda item: item == UNKNOWN)
    row = (
        cases.where(F.col("system") == "model")
        .agg(
            F.count("*").alias("cases"),
            F.countDistinct("user_id").alias("users"),
            F.sum(F.size("targets")).alias("targets"),
            F.sum(F.size(unknown)).alias("unknown_targets"),
        )
        .collect()[0]
    )
    return {str(name): int(value) for name, value in row.asDict().items()}


def _popularity(cases: DataFrame, systems: Sequence[str], k: int) -> dict[str, Any]:
    """Shares of the bands of popularity in what was recommended and in what was bought."""
    names = aggregate.band_names()
    counts = {name: [0] * len(names) for name in ("bought", *systems)}
    for row in aggregate.bands(cases, k, model="model").collect():
        counts[row.what][row.band] = row.events
    return {
        "bands": names,
        "shares": {
            name: [events / max(sum(own), 1) for events in own] for name, own in counts.items()
        },
    }
