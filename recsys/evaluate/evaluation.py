"""A dataset's splits, and the systems that rank them."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsys import files, tables
from recsys.config import Config
from recsys.errors import DataError
from recsys.evaluate import purchase_rate, references
from recsys.evaluate.catalogue import Catalogue, is_described, read_vectors
from recsys.evaluate.drawn import drawn
from recsys.evaluate.examples import examples
from recsys.evaluate.histories import whole, with_earlier
from recsys.evaluate.purchase_rate import PurchaseRate
from recsys.evaluate.ranked import Lists, Model, ranked
from recsys.evaluate.references import hybrid
from recsys.evaluate.references.hybrid import Hybrid
from recsys.evaluate.references.system import Longs, System, Training
from recsys.manifest import Manifest
from recsys.schemas import FIRST_ITEM, HISTORIES, SEQUENCES, with_inputs

log = logging.getLogger(__name__)

# Rows of a split that one task ranks, at most.
_TASK_ROWS = 4096
_MICROSECONDS_PER_SECOND = 1_000_000


@dataclass(frozen=True)
class Evaluation:
    """A dataset's splits, and the systems that rank them.

    Args:
        spark: the session
        config: the resolved configuration
        dataset: the manifest
        catalogue: what is known of the items
        export: URL of the model's SavedModel; none evaluates the references alone
        learn_from: the splits that references are fitted on
    """

    spark: SparkSession
    config: Config
    dataset: Manifest
    catalogue: Catalogue
    export: str | None
    learn_from: tuple[str, ...] = ("train",)

    @property
    def end(self) -> int:
        """Where what is learnt from ends, seconds since the epoch.

        Where the splits are not by time, which have no such instant, it is the last event.
        """
        is_refit = "valid" in self.learn_from
        instant = self.dataset.test_start if is_refit else self.dataset.valid_start
        return (instant or self.dataset.last_event) // _MICROSECONDS_PER_SECOND

    def check(self) -> None:
        """Makes sure, before anything is ranked, that there is what the references need.

        Raises:
            ConfigError: there is not; names the reference, and what it needs
        """
        asked = self.config.evaluate.references
        references.check(
            asked,
            has_category=self.catalogue.category is not None,
            is_described="content" not in asked or is_described(self.dataset),
            is_refit="valid" in self.learn_from,
        )

    def split(self, name: str) -> DataFrame:
        """schemas.SEQUENCES of a split, with_inputs()."""
        url = files.join(self.dataset.url, "sequences", f"split={name}")
        return tables.read(self.spark, url, with_inputs(SEQUENCES, self.dataset.inputs))

    def histories(self, splits: Sequence[str] = ()) -> DataFrame:
        """What users did in the time of some splits, or ever, as of histories.whole.

        A pass in Python over it holds few of them at a time, as they may be long.
        """
        few = tables.with_batches_of(self.spark, self.config.evaluate.batch_rows)
        return whole(dataclasses.replace(self, spark=few)._stored(), splits)

    def _stored(self) -> DataFrame:
        """schemas.HISTORIES: the latest events of all users, and what was before them."""
        schema = with_inputs(HISTORIES, self.dataset.inputs)
        urls = (files.join(self.dataset.url, name) for name in ("histories", "earlier"))
        latest, earlier = (tables.read(self.spark, url, schema) for url in urls)
        return latest.unionAll(earlier).select(*HISTORIES)

    def fitted(self) -> tuple[list[System | Hybrid], Longs]:
        """The model and the references of the configuration, and Training.first_seen."""
        settings = self.config.evaluate
        train = self.histories(self.learn_from).cache()
        training = self.training(train)
        known_size = self.catalogue.known_size
        model: list[System] = [] if self.export is None else [Model(self.export, known_size)]
        systems: list[System | Hybrid] = [*model, *references.fit(settings.references, training)]
        if "hybrid" in settings.references:
            systems.append(self._hybrid(systems, training))
        first_seen_V = training.first_seen
        train.unpersist()
        return systems, first_seen_V

    def training(self, histories: DataFrame) -> Training:
        """What references are fitted on."""
        names = {"target_types": self.dataset.config["prepare"]["target_event_types"]}
        needs_vectors = "content" in self.config.evaluate.references
        return Training(
            histories=histories,
            vocabulary_size=self.dataset.vocabulary_size,
            settings=self.config.evaluate,
            category=self.catalogue.category,
            target_types=tuple(
                index for index, name in enumerate(self.dataset.event_types, FIRST_ITEM)
                if name in names["target_types"]
            ),
            attributes=self.catalogue.attributes,
            attribute_sizes=self.dataset.categories,
            vectors=read_vectors(self.spark, self.dataset) if needs_vectors else {},
            seed=self.config.seed,
        )  # fmt: skip

    def _hybrid(self, systems: list[System | Hybrid], training: Training) -> Hybrid:
        """The blend, with weights learnt from a part of validation.

        Raises:
            DataError: validation has no cases
        """
        settings = self.config.evaluate.hybrid
        asked = [system for system in systems if system.name in settings.systems]
        seen = self.cases("valid", asked, settings.length, settings.most_cases).select(
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
        self,
        split: str,
        systems: list[System | Hybrid],
        length: int = 0,
        most_cases: int | None = None,
    ) -> DataFrame:
        """schemas.CASES of a split, or of some of its users.

        Args:
            split: train, valid or test
            systems: a hybrid after those that it blends
            length: of the lists; 0 is the longest of the configuration
            most_cases: as of drawn.drawn; none takes all
        """
        # A row comes with all that was before it: as many at a time as are ranked at once.
        spark = tables.with_batches_of(self.spark, self.config.evaluate.batch_rows)
        rows = dataclasses.replace(self, spark=spark).rows(split, most_cases=most_cases)
        # More parts than cores, as rows differ in length; each worker loads the model once.
        cores = self.spark.sparkContext.defaultParallelism
        parts = max(2 * cores, self.dataset.splits[split].rows // _TASK_ROWS)
        lists = self.lists(length or max(self.config.evaluate.at))
        return ranked(rows.repartition(parts), systems, lists)

    def rows(self, split: str, most: int | None = None, most_cases: int | None = None) -> DataFrame:
        """Rows of a split with all that came before them, as of histories.with_earlier.

        Args:
            split: train, valid or test
            most: draws so many by the seed; none takes all
            most_cases: draws rows of so many cases, as of drawn.drawn; none takes all
        """
        rows = self.split(split).where("weight > 0")
        if most is not None:
            draw = F.xxhash64("sequence_id", F.lit(self.config.seed))
            rows = rows.orderBy(draw, "sequence_id").limit(most)
        if most_cases is not None and most_cases < self.dataset.splits[split].steps:
            rows = drawn(rows, most_cases, self.config.seed)
        return with_earlier(rows, self._stored())

    def lists(self, length: int) -> Lists:
        """How lists are made."""
        return Lists(
            length=length,
            exclude_history=self.config.ranking.exclude_history,
            batch_rows=self.config.evaluate.batch_rows,
            vocabulary_size=self.dataset.vocabulary_size,
            threads=int(self.spark.conf.get("spark.task.cpus", "1") or 1),
            exclude_earlier=self.config.evaluate.exclude_earlier,
        )

    def purchase_rate(self) -> PurchaseRate:
        """The reference of the purchase head."""
        train, valid = (
            purchase_rate.labels(self.split(name).where("weight > 0"), self.dataset.vocabulary_size)
            for name in ("train", "valid")
        )
        return purchase_rate.fitted(train, valid, self.learn_from)

    def examples(self) -> list[dict[str, Any]]:
        """Some cases of test with the model's lists, as of examples.examples."""
        count = self.config.evaluate.examples
        if count == 0 or self.export is None:
            return []
        lists = self.lists(max(self.config.evaluate.at))
        model = Model(self.export, self.catalogue.known_size)
        return examples(self.rows("test", most=count), model, lists)
