"""The references on two public sets, beside what was published under the same protocol.

python benchmarks/references.py --data FOLDER [--sets yoochoose64 beauty] [--tune] [--work FOLDER]

FOLDER holds yoochoose64/events.parquet, and beauty/ with events.parquet and items.parquet. The
sets are prepared from conf/yoochoose64.yaml and conf/beauty.yaml. All references are fitted on
train and validation and ranked on test; the hybrid's weights are learnt on validation from
references that were fitted on train. Popularity is counted once more on train alone, and with the
test items.

The settings in SETTINGS are those that --tune found, by narrower grids than it has now (of Beauty
only those of item, user and session kNN; its others, and the demo's, were set by hand): it fits on
train, tries tuning.GRIDS on validation, prints all that it tried and what is best at the edge of
it, and goes on with the best. `--sets demo --tune` does so for the demo's data, with --work a
folder whose demo/ is the dataset of `make demo`, and ranks no test.
The last line is JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from pyspark.sql import SparkSession

from benchmarks import published, tuning
from recsys import command, manifest
from recsys.config import Config, Evaluate, ItemKnn, Paths
from recsys.config.references import (
    AssociationRules,
    Content,
    Hybrid,
    MatrixFactorization,
    PopularRecent,
    SequentialRules,
    SessionKnn,
    UserKnn,
)
from recsys.evaluate import aggregate, figures, words
from recsys.evaluate.catalogue import read_catalogue
from recsys.evaluate.evaluation import Evaluation
from recsys.prepare import pipeline as prepare
from recsys.schemas import SPLITS
from recsys.tables import spark_session

SHOWN = {
    "yoochoose64": ("recall@20", "mrr@20", "recall@10", "ndcg@20"),
    "beauty": ("recall@5", "ndcg@5", "recall@10", "ndcg@10", "recall@20", "ndcg@20"),
    "demo": ("recall@20", "ndcg@20"),
}
# Without what a set does not allow: YooChoose has nothing of the items, and its users are sessions,
# so that own items are those of the session. Of Beauty's list nothing may be own, its days
# are no calendar's, so that nothing is of late, and its items have no attribute of a single value.
SETTINGS = {
    "yoochoose64": Evaluate(
        at=(5, 10, 20),
        references=(
            "popular", "popular_recent", "in_session", "own_items", "own_items_recent",
            "recently_viewed", "item_knn", "user_knn", "session_knn", "association_rules",
            "sequential_rules", "matrix_factorization",
        ),
        popular_recent=PopularRecent(half_life_days=7),
        item_knn=ItemKnn(regularisation=100, decay=0.5),
        user_knn=UserKnn(neighbours=300, regularisation=1),
        session_knn=SessionKnn(
            neighbours=100, candidates=5000, fading="harmonic", vote_fading="harmonic"
        ),
        association_rules=AssociationRules(decay=0.5),
        sequential_rules=SequentialRules(decay=0.5),
        matrix_factorization=MatrixFactorization(regularisation=0.1, confidence=40),
        hybrid=Hybrid(systems=("in_session", "item_knn", "session_knn", "sequential_rules")),
    ),
    "beauty": Evaluate(
        at=(5, 10, 20),
        exclude_earlier=True,
        references=(
            "popular", "item_knn", "user_knn", "session_knn", "association_rules",
            "sequential_rules", "matrix_factorization", "content",
        ),
        item_knn=ItemKnn(within="sequence", regularisation=100, decay=0.5),
        user_knn=UserKnn(neighbours=300, regularisation=1),
        session_knn=SessionKnn(
            within="sequence", neighbours=100, candidates=5000, fading="harmonic",
            vote_fading="harmonic",
        ),
        association_rules=AssociationRules(within="sequence"),
        sequential_rules=SequentialRules(within="sequence"),
        matrix_factorization=MatrixFactorization(regularisation=0.1),
        content=Content(decay=0.9),
        hybrid=Hybrid(
            systems=("item_knn", "session_knn", "sequential_rules", "matrix_factorization",
                     "content")
        ),
    ),
}  # fmt: skip
# Single references as they were published, and popularity on other counts.
_POPULAR = {"references": ("popular",)}
AS_PUBLISHED: dict[str, list[tuple[str, tuple[str, ...], dict[str, Any]]]] = {
    "yoochoose64": [
        ("item kNN of the latest item", ("train", "valid"),
         {"references": ("item_knn",), "item_knn": ItemKnn(regularisation=20, decay=0)}),
        ("most popular, of train", ("train",), _POPULAR),
    ],
    "beauty": [
        ("most popular, of train", ("train",), _POPULAR),
        ("most popular, of train, valid, test", SPLITS, _POPULAR),
    ],
}  # fmt: skip
# What decides on validation, and how many of its cases are ranked.
DECIDES = {"yoochoose64": ("recall", 20), "beauty": ("ndcg", 10), "demo": ("recall", 20)}
TUNE_CASES = {"yoochoose64": 8_000, "beauty": 5_000, "demo": 2_000}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="of the public sets")
    parser.add_argument("--sets", nargs="+", choices=list(SHOWN), default=list(SETTINGS))
    parser.add_argument("--tune", action="store_true", help="choose settings on validation")
    parser.add_argument("--work", type=Path, help="keeps the datasets here")
    options = parser.parse_args()
    public = [name for name in options.sets if name in SETTINGS]
    if public and options.data is None:
        parser.error(f"--data: expected the folder of {', '.join(public)}, found none")
    return options


def main() -> None:
    options = arguments()
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, spark_session(Config(), "references") as spark:
        results = {
            name: of_set(spark, name, options, options.work or Path(folder))
            for name in options.sets
        }
    print(json.dumps(results))


def of_set(
    spark: SparkSession, name: str, options: argparse.Namespace, folder: Path
) -> dict[str, Any]:
    """Prints the table of a set; its figures."""
    begun = time.monotonic()
    config = prepared(spark, name, options.data, folder / name)
    if options.tune:
        config = tuned(spark, config, name)
    if name not in SETTINGS:  # jobs/evaluate.py has its table
        return {"settings": dataclasses.asdict(config.evaluate)}
    found = evaluate(spark, config)
    for label, counted, settings in AS_PUBLISHED[name]:
        own = evaluation(spark, with_settings(config, **settings), counted)
        (found[label],) = measured(own, own.fitted()[0]).values()
    print(table(name, found), flush=True)
    print("\n".join(published.compared(name, found)))
    print(f"{time.monotonic() - begun:.0f} s", flush=True)
    return {"figures": found, "settings": dataclasses.asdict(config.evaluate)}


def prepared(spark: SparkSession, name: str, data: Path, place: Path) -> Config:
    """The set's configuration, and its dataset made if it is not there."""
    arguments = ["--config", str(ROOT / "conf" / f"{name}.yaml")]
    if name in SETTINGS:
        arguments += ["--events.path", f"[{data / name / 'events.parquet'}]"]
        if (data / name / "items.parquet").exists():
            arguments += ["--items.path", f"[{data / name / 'items.parquet'}]"]
    config, _ = command.parse(command.parser("prepare", ""), arguments)
    every = dataclasses.replace(config.evaluate, references=tuple(tuning.DEMO_GRIDS))
    settings = SETTINGS.get(name, every)
    config = dataclasses.replace(config, paths=Paths(dataset=str(place)), evaluate=settings)
    if not (place / "current.json").exists():
        prepare.run(spark, config)
    return config


def with_settings(config: Config, **settings: Any) -> Config:
    return dataclasses.replace(config, evaluate=dataclasses.replace(config.evaluate, **settings))


def evaluation(spark: SparkSession, config: Config, learn_from: tuple[str, ...]) -> Evaluation:
    dataset = manifest.read(config.paths.dataset)
    catalogue = read_catalogue(spark, config, dataset)
    return Evaluation(spark, config, dataset, catalogue, None, learn_from)


def tuned(spark: SparkSession, config: Config, name: str) -> Config:
    """With the settings that are best on validation."""
    tried = tuning.DEMO_GRIDS if name == "demo" else tuning.GRIDS
    grids = {own: tried[own] for own in config.evaluate.references if own in tried}
    own = evaluation(spark, config, ("train",))
    settings = tuning.tuned(own, grids, *DECIDES[name], TUNE_CASES[name])
    for reference in grids:
        print(f"{name}, best: {getattr(settings, reference)}", flush=True)
    return dataclasses.replace(config, evaluate=settings)


def evaluate(spark: SparkSession, config: Config) -> dict[str, dict[str, float]]:
    """The metrics of every reference on test, and of a hybrid of them."""
    blended = config.evaluate.hybrid.systems
    of_train = with_settings(config, references=(*blended, "hybrid"))
    *_, blend = evaluation(spark, of_train, ("train",)).fitted()[0]
    own = evaluation(spark, config, ("train", "valid"))
    return measured(own, [*own.fitted()[0], blend])


def measured(own: Evaluation, systems: list[Any]) -> dict[str, dict[str, float]]:
    """Of each system on test, the metrics at each list length."""
    cases = own.cases("test", systems).cache()
    columns = [(metric, k) for metric in ("recall", "mrr", "ndcg") for k in own.config.evaluate.at]
    measuring = aggregate.Measuring(figures.known(own.catalogue), tuple(columns))
    found: dict[str, dict[str, float]] = {system.name: {} for system in systems}
    for (system, _, _, metric, k), estimate in aggregate.estimates(cases, measuring).items():
        found[system][f"{metric}@{k}"] = float(estimate.values[0])
    cases.unpersist()
    return found


def table(name: str, found: dict[str, dict[str, float]]) -> str:
    lines = [f"{name:<38}" + "".join(f"{column:>12}" for column in SHOWN[name])]
    for system, own in sorted(found.items(), key=lambda row: -row[1][SHOWN[name][0]]):
        label = words.SYSTEMS.get(system, system)
        cells = "".join(f"{own[column]:>12.4f}" for column in SHOWN[name])
        lines.append(f"{label:<38}{cells}")
    return "\n".join(lines)


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
