"""Every subject's history becomes lists: plan → parts → manifest → pointer."""

from __future__ import annotations

import datetime
import logging
from dataclasses import asdict
from typing import Any

from pyspark.sql import DataFrame, SparkSession

import recsys
from recsys import command, files, hashing, lock, manifest, tables, trained
from recsys.config import Config
from recsys.errors import DataError
from recsys.manifest import Manifest
from recsys.score import counting, export, planning
from recsys.score.ignored import without_effect
from recsys.score.parts import Run, total
from recsys.score.plan import VECTORS, Plan
from recsys.score.recall import recall
from recsys.score.sources import pieces
from recsys.trained import Trained

log = logging.getLogger(__name__)


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
    if config.score.subjects.path or "pairs" in config.score.lists:
        hashing.key_for(config.events, dataset.user_key)
    model = trained.read(config.paths.model, dataset)
    with lock.held(config.paths.recommendations, by="jobs/score.py") as held:
        plan = planning.plan(spark, config, dataset, model)
        about = _about(spark, config, dataset, plan)
        date = datetime.datetime.fromtimestamp(about["as_of"], datetime.UTC).date().isoformat()
        work = Run.open(config.paths.recommendations, about, date, held)
        kinds = [*config.score.lists, *([VECTORS] if config.score.user_vectors else [])]
        found = {kind: _score(spark, work, plan.of(kind), config, dataset) for kind in kinds}
        for kind in kinds:
            work.verify(spark, plan.of(kind))
            if "json_lines" in found[kind]:
                export.verify(spark, work.version, kind, found[kind]["json_lines"])
        content = {
            **_manifest(work, plan, dataset, model),
            VECTORS: found.pop(VECTORS, None), "lists": found,
            "started_at": started, "finished_at": _now(),
        }  # fmt: skip
        files.write_json(files.join(work.version, files.MANIFEST), content)
        files.write_bytes(files.join(work.version, "config.yaml"), command.to_yaml(config).encode())
        held.check()
        files.publish(work.version)
        work.finish()
    subjects = sum(part.subjects for part in work.done if part.kind != VECTORS)
    log.info("%d lists written to %s", subjects, work.version)
    return work.version


def _about(spark: SparkSession, config: Config, dataset: Manifest, plan: Plan) -> dict[str, Any]:
    """All that decides what a run writes, so that only the same run goes on with its parts."""
    chosen, pairs = config.score.subjects.path, "pairs" in config.score.lists
    return {
        "code_version": recsys.__version__,
        "dataset": dataset.url,
        "plan": plan.fingerprint,
        "lists": list(config.score.lists),
        "as_of": planning.as_of(config, dataset),
        "subjects": _content(planning.subjects(spark, config), "subjects") if chosen else None,
        **({"pairs": _content(planning.pairs(spark, config), "pairs")} if pairs else {}),
    }


def _content(frame: DataFrame, section: str) -> list[int]:
    counts = frame.agg(*counting.rows_and_content(*sorted(frame.columns)))
    with tables.reading(f"score.{section}"):
        row = counts.collect()[0]
    return [row["rows"], int(row["content"] or 0)]


def _score(
    spark: SparkSession, work: Run, plan: Plan, config: Config, dataset: Manifest
) -> dict[str, Any]:
    """Scores the subjects of a kind of list; what the manifest says of it."""
    found: dict[str, Any] = {}
    if without := without_effect(plan.kind, plan.score.rules):
        found["without_effect"] = without
    work.begin(spark, plan)
    everybody = list(pieces(spark, work, plan, config, dataset))
    parts = [
        work.write(piece.frame, plan, piece.number, piece.rows, piece.input) for piece in everybody
    ]
    work.drop_others(plan)
    if not any(part.subjects for part in parts):
        since = config.score.active_since
        raise DataError(
            f"{dataset.url}: expected somebody with an event"
            f"{f' since {since} (score.active_since)' if since else ''}, found nobody"
        )
    if plan.uses_neighbours and everybody:
        subjects = sum(part.subjects for part in parts)
        found |= recall([piece.frame for piece in everybody], subjects, plan)
    if plan.score.json_lines and plan.kind != VECTORS:
        found["json_lines"] = export.export(spark, work.version, plan)
    if plan.kind == "pairs":
        found["given"] = work.about["pairs"][0]
    return {**found, **total(parts)}


def _manifest(work: Run, plan: Plan, dataset: Manifest, model: Trained) -> dict[str, Any]:
    return {
        "code_version": recsys.__version__,
        "model_version": model.model_version,
        "model": model.url,
        "dataset": dataset.url,
        "date": work.date,
        "items": {"known": dataset.items, "allowed": len(plan.catalogue.allowed)},
        "ignored": plan.catalogue.ignored,
        "list_length": plan.list_length,
        "parts": [asdict(part) for part in work.done],
    }


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
