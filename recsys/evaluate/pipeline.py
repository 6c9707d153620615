"""From the model and the test split to a report."""

from __future__ import annotations

import json
import logging
from typing import Any

import numpy as np
import numpy.typing as npt
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsys import command, files, manifest, tables, trained
from recsys.config import Config
from recsys.errors import DataError
from recsys.evaluate import references, report
from recsys.evaluate.figures import figures
from recsys.evaluate.histories import with_earlier
from recsys.evaluate.ranked import Lists, Model, ranked
from recsys.manifest import Manifest
from recsys.schemas import CASES, FIRST_ITEM, SEQUENCES, SPLITS, VOCABULARY
from recsys.trained import Trained

log = logging.getLogger(__name__)

# Rows of test that one task ranks, at most.
_TASK_ROWS = 4096


def run(spark: SparkSession, config: Config) -> str:
    """Ranks the test split with the model and the references, and publishes a report.

    Returns:
        the URL of the report's version: metrics.json, report.html, cases/, config.yaml

    Raises:
        DataError: no dataset or model, a model of another vocabulary, or no test cases
    """
    dataset = manifest.read(config.paths.dataset)
    model = trained.read(config.paths.model, dataset)
    version = files.new_version(config.paths.report)
    try:
        content = _evaluate(spark, config, dataset, model, version)
        content["model"] = {"version": model.model_version, "url": model.url}
        _write(config, dataset, content, version)
    except BaseException:
        if files.exists(version):
            files.remove(version)
        raise
    files.publish(version)
    log.info("%s\nreport: %s", report.summary(content), files.join(version, "report.html"))
    return version


def _evaluate(
    spark: SparkSession, config: Config, dataset: Manifest, model: Trained, version: str
) -> dict[str, Any]:
    """Writes the cases; the content of metrics.json."""
    where = files.join(version, "cases")
    tables.write(_cases(spark, config, dataset, model), where, CASES)
    cases = tables.read(spark, where, CASES).cache()
    check_cases(cases, dataset)
    vocabulary = tables.read(spark, files.join(dataset.url, "vocabulary.parquet"), VOCABULARY)
    train_counts_V = by_item(vocabulary, "train_count", dataset.vocabulary_size)
    content = figures(cases, train_counts_V, config, dataset)
    cases.unpersist()
    return content


def _write(config: Config, dataset: Manifest, content: dict[str, Any], version: str) -> None:
    settings = command.to_yaml(config)
    epochs = _json_lines(files.join(content["model"]["url"], "metrics.jsonl"))
    page = report.render(content, dataset, epochs, settings, config.ranking.exclude_history)
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


def _cases(spark: SparkSession, config: Config, dataset: Manifest, model: Trained) -> DataFrame:
    splits = {
        name: tables.read(spark, files.join(dataset.url, "sequences", f"split={name}"), SEQUENCES)
        for name in SPLITS
    }
    everything = splits["train"].unionByName(splits["valid"]).unionByName(splits["test"])
    rows = with_earlier(splits["test"].where("weight > 0"), everything)
    facts = references.Facts(
        bought=bought(splits["train"], dataset.vocabulary_size),
        target_types=_target_types(dataset),
        half_life_days=config.evaluate.half_life_days,
    )
    systems = [
        Model(model.export),
        *references.fit(config.evaluate.references, facts),
    ]
    lists = Lists(
        length=max(config.evaluate.at),
        exclude_history=config.ranking.exclude_history,
        batch_rows=config.evaluate.batch_rows,
        threads=int(spark.conf.get("spark.task.cpus", "1") or 1),
    )
    # More parts than cores, as rows differ in length; each worker process loads the model once.
    cores = spark.sparkContext.defaultParallelism
    parts = max(2 * cores, dataset.splits["test"].rows // _TASK_ROWS)
    return ranked(rows.repartition(parts), systems, lists)


def bought(train: DataFrame, vocabulary_size: int) -> npt.NDArray[np.int64]:
    """How often each item is a target of train [V]."""
    event = F.explode(F.arrays_zip("item", "target")).alias("event")
    counts = (
        train.where("weight > 0")
        .select(event)
        .where((F.col("event.target") == 1) & (F.col("event.item") >= FIRST_ITEM))
        .groupBy(F.col("event.item").alias("item_index"))
        .count()
    )
    return by_item(counts, "count", vocabulary_size)


def by_item(frame: DataFrame, column: str, vocabulary_size: int) -> npt.NDArray[np.int64]:
    """A column by item_index [V], 0 where the table has no row."""
    table = frame.select("item_index", column).toArrow()
    values_V = np.zeros(vocabulary_size, np.int64)
    values_V[table.column("item_index").to_numpy()] = table.column(column).to_numpy()
    return values_V


def _target_types(dataset: Manifest) -> tuple[int, ...]:
    wanted = dataset.config["prepare"]["target_event_types"]
    return tuple(
        index for index, name in enumerate(dataset.event_types, FIRST_ITEM) if name in wanted
    )


def _json_lines(url: str) -> list[dict[str, float]]:
    return [json.loads(line) for line in files.read_bytes(url).splitlines() if line.strip()]
