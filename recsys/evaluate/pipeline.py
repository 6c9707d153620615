"""From the model and the test split to a report."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsys import command, files, manifest, tables, trained
from recsys.config import Config
from recsys.errors import DataError
from recsys.evaluate import references, report
from recsys.evaluate.catalogue import Catalogue, read_catalogue
from recsys.evaluate.figures import figures
from recsys.evaluate.histories import whole, with_earlier
from recsys.evaluate.ranked import Lists, Model, ranked
from recsys.evaluate.references import hybrid
from recsys.evaluate.references.hybrid import Hybrid
from recsys.evaluate.references.system import Longs, System, Training
from recsys.manifest import Manifest
from recsys.schemas import CASES, FIRST_ITEM, SEQUENCES, SPLITS
from recsys.trained import Trained

log = logging.getLogger(__name__)

# Rows of a split that one task ranks, at most.
_TASK_ROWS = 4096
_MICROSECONDS_PER_SECOND = 1_000_000


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
    catalogue = read_catalogue(spark, config, dataset)
    evaluation = Evaluation(spark, config, dataset, catalogue, model.export)
    systems, first_seen = evaluation.fitted()
    where = files.join(version, "cases")
    tables.write(evaluation.cases("test", systems), where, CASES)
    cases = tables.read(spark, where, CASES).cache()
    check_cases(cases, dataset)
    content = figures(cases, catalogue, first_seen, config, dataset, model.export)
    content["blend"] = {
        name: round(weight, 4)
        for system in systems
        if isinstance(system, Hybrid)
        for name, weight in system.weights.items()
    }
    cases.unpersist()
    return content


@dataclass(frozen=True)
class Evaluation:
    """A dataset's splits, and the systems that rank them.

    Args:
        spark: the session
        config: the resolved configuration
        dataset: the manifest
        catalogue: what is known of the items
        export: URL of the model's SavedModel; none evaluates the references alone
    """

    spark: SparkSession
    config: Config
    dataset: Manifest
    catalogue: Catalogue
    export: str | None

    def split(self, name: str) -> DataFrame:
        """schemas.SEQUENCES of a split."""
        url = files.join(self.dataset.url, "sequences", f"split={name}")
        return tables.read(self.spark, url, SEQUENCES)

    def fitted(self) -> tuple[list[System | Hybrid], Longs]:
        """The model and the references of the configuration, and each item's first event [V]."""
        settings = self.config.evaluate
        train = whole(self.split("train")).cache()
        training = self.training(train)
        model: list[System] = [] if self.export is None else [Model(self.export)]
        systems: list[System | Hybrid] = [*model, *references.fit(settings.references, training)]
        if "hybrid" in settings.references:
            systems.append(self._hybrid(systems, training))
        first = training.events.groupBy("item").agg(F.min("timestamp").alias("first"))
        first_seen_V = training.by_item(first)
        train.unpersist()
        return systems, first_seen_V

    def training(self, histories: DataFrame) -> Training:
        """What references are fitted on."""
        names = {"target_types": self.dataset.config["prepare"]["target_event_types"]}
        return Training(
            histories=histories,
            vocabulary_size=self.dataset.vocabulary_size,
            valid_start=self.dataset.valid_start // _MICROSECONDS_PER_SECOND,
            settings=self.config.evaluate,
            target_types=tuple(
                index for index, name in enumerate(self.dataset.event_types, FIRST_ITEM)
                if name in names["target_types"]
            ),
            attributes=self.catalogue.attributes,
            attribute_sizes=self.dataset.categories,
            seed=self.config.seed,
        )  # fmt: skip

    def _hybrid(self, systems: list[System | Hybrid], training: Training) -> Hybrid:
        """The blend, with weights learnt from a part of validation."""
        settings = self.config.evaluate.hybrid
        asked = [system for system in systems if system.name in settings.systems]
        steps = self.dataset.splits["valid"].steps
        share = min(1.0, settings.most_cases / max(steps, 1))
        seen = self.cases("valid", asked, settings.length, share).select(
            "user_id", "step", "system", "targets", "recommended"
        )
        names = [system.name for system in asked]
        table = seen.toArrow()
        if table.num_rows == 0:
            raise DataError(f"{self.dataset.url}: expected cases of split valid, found none")
        weights = hybrid.learn(hybrid.choices(table, names, settings.length))
        blend = dict(zip(names, map(float, weights), strict=True))
        log.info("hybrid: %s", ", ".join(f"{name} {own:.3f}" for name, own in blend.items()))
        return Hybrid(blend, settings.length, training.popularity)

    def cases(
        self, split: str, systems: list[System | Hybrid], length: int = 0, share: float = 1.0
    ) -> DataFrame:
        """schemas.CASES of a split, or of a share of its users.

        Args:
            split: train, valid or test
            systems: a hybrid after those that it blends
            length: of the lists; 0 is the longest of the configuration
            share: of the users, drawn by their ids
        """
        everything = self.split("train")
        for name in SPLITS[1 : SPLITS.index(split) + 1]:
            everything = everything.unionByName(self.split(name))
        asked = self.split(split).where("weight > 0")
        if share < 1:
            draw = F.pmod(F.xxhash64("user_id", F.lit(self.config.seed)), F.lit(1_000_000))
            asked = asked.where(draw < F.lit(int(share * 1_000_000)))
        rows = with_earlier(asked, everything)
        lists = Lists(
            length=length or max(self.config.evaluate.at),
            exclude_history=self.config.ranking.exclude_history,
            batch_rows=self.config.evaluate.batch_rows,
            vocabulary_size=self.dataset.vocabulary_size,
            threads=int(self.spark.conf.get("spark.task.cpus", "1") or 1),
        )
        # More parts than cores, as rows differ in length; each worker loads the model once.
        cores = self.spark.sparkContext.defaultParallelism
        parts = max(2 * cores, self.dataset.splits[split].rows // _TASK_ROWS)
        return ranked(rows.repartition(parts), systems, lists)


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


def _json_lines(url: str) -> list[dict[str, float]]:
    return [json.loads(line) for line in files.read_bytes(url).splitlines() if line.strip()]
