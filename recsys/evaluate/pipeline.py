"""From the model and the test split to a report."""

from __future__ import annotations

import json
import logging
from typing import Any

import numpy as np
from pyspark.sql import DataFrame, SparkSession

from recsys import command, files, manifest, tables, trained
from recsys.config import Config
from recsys.errors import DataError, FloorError
from recsys.evaluate import bootstrap, exposure, floors, metrics, report, resamples
from recsys.evaluate.catalogue import read_catalogue
from recsys.evaluate.evaluation import Evaluation
from recsys.evaluate.figures import figures, known, slicing
from recsys.evaluate.purchase_figures import measured
from recsys.evaluate.purchases import predicted
from recsys.evaluate.references.hybrid import Hybrid
from recsys.evaluate.references.system import NEVER
from recsys.evaluate.story import story
from recsys.evaluate.summary import summary
from recsys.manifest import Manifest
from recsys.schemas import CASES, PURCHASES
from recsys.trained import Trained

log = logging.getLogger(__name__)


def run(spark: SparkSession, config: Config) -> str:
    """Ranks the test split with the model and the references, and publishes a report.

    Returns:
        the URL of the report's version: metrics.json, report.html, cases/, resamples.parquet,
        config.yaml, and, of a model with a purchase head, purchases/

    Raises:
        ConfigError: a floor asks for what the report cannot have, or a reference needs what is not
            there
        DataError: no dataset or model, a model of another vocabulary, or no test cases
        FloorError: the report is published, and misses a floor
    """
    dataset = manifest.read(config.paths.dataset)
    model = trained.read(config.paths.model, dataset)
    catalogue = read_catalogue(spark, config, dataset, model.known_items)
    # References learn from what the model learnt from, or one of them would know more.
    evaluation = Evaluation(
        spark, config, dataset, catalogue, model.export, learn_from=model.trained_on
    )
    evaluation.check()
    floors.check(config.evaluate, _measurable(model, evaluation))
    with files.drafted(config.paths.report) as version:
        content = _content(evaluation, files.join(version, "cases"))
        where = files.join(version, "purchases")
        content["purchase"] = _purchase(evaluation, where, model.purchase_threshold)
        content["model"] = {"version": model.model_version, "url": model.url}
        content["missed_floors"] = floors.missed(content, config.evaluate)
        _write(evaluation, content, version)
    log.info("%s\nreport: %s", summary(content), files.join(version, "report.html"))
    if content["missed_floors"]:
        raise FloorError("\n".join(content["missed_floors"]))
    return version


def _measurable(model: Trained, evaluation: Evaluation) -> floors.Measurable:
    dataset, items = evaluation.dataset, known(evaluation.catalogue)
    unseen_V = np.full(dataset.vocabulary_size, NEVER)
    return floors.Measurable(
        metrics=(*metrics.available(items, has_vectors=True), *exposure.METRICS),
        values=slicing(evaluation, unseen_V).values(),
        new_users=dataset.test_start is not None,
        purchases=model.purchase_threshold is not None and dataset.splits["test"].labels > 0,
    )


def _content(evaluation: Evaluation, where: str) -> dict[str, Any]:
    """Writes the cases; the content of metrics.json."""
    spark, dataset = evaluation.spark, evaluation.dataset
    systems, first_seen = evaluation.fitted()
    tables.write(evaluation.cases("test", systems), where, CASES)
    cases = tables.read(spark, where, CASES).cache()
    check_cases(cases, dataset)
    content = figures(cases, evaluation, first_seen)
    cases.unpersist()
    content["blend"] = {
        name: round(weight, 4)
        for system in systems
        if isinstance(system, Hybrid)
        for name, weight in system.weights.items()
    }
    content["story"] = story(evaluation.histories(), dataset)
    content["examples"] = evaluation.examples()
    return content


def _purchase(evaluation: Evaluation, where: str, threshold: float | None) -> dict[str, Any] | None:
    """Writes what the purchase head says, if the model has one and test has labels; its figures."""
    labels = evaluation.dataset.splits["test"].labels
    if threshold is None or evaluation.export is None or labels == 0:
        return None
    settings = evaluation.config.evaluate
    rows = evaluation.split("test").where("weight > 0")
    tables.write(predicted(rows, evaluation.export, evaluation.lists(1)), where, PURCHASES)
    predictions = tables.read(evaluation.spark, where, PURCHASES)
    rate = evaluation.purchase_rate()
    found = measured(predictions, threshold, settings.resamples, bootstrap.SEED, rate)
    if found["labels"] != labels:
        raise DataError(
            f"{evaluation.dataset.url}: expected {labels} labelled targets of split test, "
            f"found {found['labels']}"
        )
    return found


def _write(evaluation: Evaluation, content: dict[str, Any], version: str) -> None:
    config = evaluation.config
    head = content["purchase"] or {}
    resamples.write(version, {**content.pop("drawn"), **head.pop("drawn", {})})
    settings = command.to_yaml(config)
    epochs = _json_lines(files.join(content["model"]["url"], "metrics.jsonl"))
    left_out = "all" if config.evaluate.exclude_earlier else "latest"
    page = report.render(
        content, evaluation.dataset, evaluation.catalogue, epochs, settings,
        left_out if config.ranking.exclude_history else "",
    )  # fmt: skip
    files.write_json(files.join(version, "metrics.json"), content)
    files.write_bytes(files.join(version, "report.html"), page.encode())
    files.write_bytes(files.join(version, "config.yaml"), settings.encode())


def check_cases(cases: DataFrame, dataset: Manifest) -> None:
    """Makes sure that every target step of the manifest was ranked, once by each system.

    Raises:
        DataError: there is none, or a system has more or fewer
    """
    expected = dataset.splits["test"].steps
    if expected == 0:
        raise DataError(f"{dataset.url}: expected target steps in split test, found none")
    for row in cases.groupBy("system").count().collect():
        if row["count"] != expected:
            raise DataError(
                f"{dataset.url}: expected {expected} cases of split test for {row['system']}, "
                f"found {row['count']}"
            )


def _json_lines(url: str) -> list[dict[str, float]]:
    return [json.loads(line) for line in files.read_bytes(url).splitlines() if line.strip()]
