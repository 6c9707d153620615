"""Every subject's history becomes lists: plan → parts → manifest → pointer."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

import recsys
from recsys import command, files, lock, manifest, tables, trained
from recsys.config import Config
from recsys.errors import DataError
from recsys.manifest import Manifest
from recsys.schemas import HISTORIES, SEQUENCES, VOCABULARY
from recsys.score import planning, subjects
from recsys.score.parts import Part, Run
from recsys.score.plan import Plan
from recsys.trained import Trained

log = logging.getLogger(__name__)

# Bytes of histories that go to a Python worker at once, about.
_BATCH_BYTES = 32 << 20


def run(spark: SparkSession, config: Config) -> str:
    """Scores every subject and publishes the lists; after a failure those before are as they were.

    Returns:
        the URL of the version: a folder of tables for each kind of list, manifest.json, config.yaml

    Raises:
        ConfigError: a rule names what the dataset does not have
        DataError: no dataset or model, a model of another vocabulary, input that cannot be read,
            or another run to the same place
    """
    started = _now()
    dataset = manifest.read(config.paths.dataset)
    model = trained.read(config.paths.model, dataset)
    with lock.held(config.paths.recommendations, by="jobs/score.py"):
        plan = planning.plan(spark, config, dataset, model)
        about = _about(spark, config, dataset, plan)
        date = datetime.datetime.fromtimestamp(about["as_of"], datetime.UTC).date().isoformat()
        work = Run.open(config.paths.recommendations, about, date)
        for kind in config.score.lists:
            if kind == "similar":
                _score_items(spark, work, plan.of(kind), dataset)
            else:
                _score_histories(spark, work, plan.of(kind), config, dataset)
        times = {"started_at": started, "finished_at": _now()}
        files.write_json(
            files.join(work.version, files.MANIFEST), _manifest(work, plan, dataset, model, times)
        )
        files.write_bytes(files.join(work.version, "config.yaml"), command.to_yaml(config).encode())
        files.publish(work.version)
    log.info("%d lists written to %s", sum(part.subjects for part in work.done), work.version)
    return work.version


def _about(spark: SparkSession, config: Config, dataset: Manifest, plan: Plan) -> dict[str, Any]:
    """All that decides what a run writes, so that only the same run goes on with its parts."""
    return {
        "dataset": dataset.url,
        "plan": plan.fingerprint,
        "lists": list(config.score.lists),
        "as_of": planning.as_of(config, dataset),
        "subjects": _content(planning.subjects(spark, config)) if _is_chosen(config) else None,
    }


def _content(frame: DataFrame) -> list[int]:
    hashes = F.xxhash64(*sorted(frame.columns)).cast("decimal(38,0)")
    row = frame.agg(F.count(F.lit(1)).alias("rows"), F.sum(hashes).alias("hashes")).collect()[0]
    return [row["rows"], int(row["hashes"] or 0)]


def _is_chosen(config: Config) -> bool:
    return bool(config.score.subjects.path)


def _score_items(spark: SparkSession, work: Run, plan: Plan, dataset: Manifest) -> None:
    vocabulary = tables.read(spark, files.join(dataset.url, "vocabulary.parquet"), VOCABULARY)
    tasks = _tasks(spark, dataset.items, plan)
    work.write(vocabulary.select("item_index").repartition(tasks), plan, 0, dataset.items)


def _score_histories(
    spark: SparkSession, work: Run, plan: Plan, config: Config, dataset: Manifest
) -> None:
    """Part by part, each as many whole files of histories as hold enough subjects."""
    url = files.join(dataset.url, "histories")
    stored = tables.row_groups(url)
    if (found := sum(map(sum, stored.values()))) != dataset.users:
        raise DataError(f"{url}: expected the histories of {dataset.users}, found those of {found}")
    schema = dict(HISTORIES)
    if config.score.rules.leave_out or _is_chosen(config):
        url, schema = _stage(spark, work, config, dataset, url)
        stored = tables.row_groups(url)
    row_bytes = 4 * len(schema) * dataset.sequence_length
    in_batch = max(plan.score.batch_users, _BATCH_BYTES // row_bytes)
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", in_batch)
    for number, (paths, rows) in enumerate(_grouped(stored, plan.score.users_per_part)):
        frame = tables.read(spark, url, schema, paths)
        expected: int | None = rows
        if config.score.active_since is not None:
            since = planning.instant("score.active_since", config.score.active_since)
            frame, expected = subjects.active(frame, since), None
        work.write(_spread(frame, rows, plan), plan, number, expected)


def _grouped(stored: dict[str, list[int]], rows_per_part: int) -> Iterator[tuple[list[str], int]]:
    """Paths and rows of the files of each part."""
    paths: list[str] = []
    rows = 0
    for path, groups in sorted(stored.items()):
        paths.append(path)
        rows += sum(groups)
        if rows >= rows_per_part:
            yield paths, rows
            paths, rows = [], 0
    if rows:
        yield paths, rows


def _spread(frame: DataFrame, rows: int, plan: Plan) -> DataFrame:
    """The frame in enough pieces to keep every core at work."""
    narrow = subjects.inputs(frame)
    tasks = _tasks(frame.sparkSession, rows, plan)
    return narrow if frame.rdd.getNumPartitions() >= tasks else narrow.repartition(tasks, "user_id")


def _tasks(spark: SparkSession, rows: int, plan: Plan) -> int:
    """Twice the cores, as some take longer; fewer where that makes blocks that are not full."""
    return max(1, min(2 * spark.sparkContext.defaultParallelism, rows // plan.score.batch_users))


def _stage(
    spark: SparkSession, work: Run, config: Config, dataset: Manifest, url: str
) -> tuple[str, dict[str, str]]:
    """Joins the histories with what rules need, once for all parts."""
    frame = tables.read(spark, url, HISTORIES)
    schema = dict(HISTORIES)
    if _is_chosen(config):
        wanted = planning.subjects(spark, config)
        schema["group"] = "string"
        new = subjects.newcomers(frame, wanted, dataset.sequence_length)
        frame = subjects.chosen(frame, wanted).unionByName(new)
    if config.score.rules.leave_out:
        sequences = files.join(dataset.url, "sequences")
        rows = tables.read(spark, sequences, {**SEQUENCES, "split": "string"})
        since = planning.left_out_since(config, dataset)
        frame = subjects.with_left_out(frame, rows, since)
        schema["left_out"] = "array<int>"
    return work.staged(frame, schema, config.score.users_per_part), schema


def _manifest(
    work: Run, plan: Plan, dataset: Manifest, model: Trained, times: dict[str, str]
) -> dict[str, Any]:
    def of(kind: str) -> dict[str, Any]:
        parts = [part for part in work.done if part.kind == kind]
        return {
            "subjects": sum(part.subjects for part in parts),
            "rows": sum(part.rows for part in parts),
            "recommendations": sum(part.recommendations for part in parts),
            "fallbacks": sum(part.fallbacks for part in parts),
            "content": Part.content_of(parts),
        }

    return {
        "code_version": recsys.__version__,
        "model_version": model.model_version,
        "model": model.url,
        "dataset": dataset.url,
        "date": work.date,
        "items": {"known": dataset.items, "allowed": len(plan.catalogue.allowed)},
        "list_length": plan.list_length,
        "lists": {kind: of(kind) for kind in dict.fromkeys(part.kind for part in work.done)},
        "parts": [asdict(part) for part in work.done],
        **times,
    }


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
