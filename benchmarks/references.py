"""The references on two public sets, beside what was published under the same protocol.

python benchmarks/references.py --data FOLDER [--sets yoochoose64 beauty]

FOLDER holds yoochoose64/events.parquet, and beauty/ with events.parquet and items.parquet. The
sets are prepared from conf/yoochoose64.yaml and conf/beauty.yaml. V-SkNN is tuned on validation,
fitted on train; then all references are fitted on train and validation and ranked on test, and
popularity once more on other counts.

Why figures differ from those published, by counts of the files with plain NumPy: popularity on
YooChoose counts every event before test; without the last 5 % of these it is 0.0634 / 0.0151,
without the last 10 % 0.0542 / 0.0116, and the published figure lies between. In-session popularity
counts unknown targets as misses; left out, it is 0.3109 / 0.1859. Item kNN counts an item once a
session; each event counted, as in the code of GRU4Rec, it is 0.5181 / 0.2154. On Beauty the
published popularity counts the test items too; of train and validation it is 0.0130 where ties
count against it, as here, and 0.0141 where they count in its favour.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
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

from pyspark.sql import SparkSession  # noqa: E402

from recsys import command, manifest  # noqa: E402
from recsys.config import Config, Evaluate, Paths  # noqa: E402
from recsys.config.references import (  # noqa: E402
    AssociationRules,
    Content,
    ItemKnn,
    MatrixFactorization,
    SequentialRules,
    SessionKnn,
)
from recsys.evaluate import aggregate, figures, words  # noqa: E402
from recsys.evaluate.catalogue import read_catalogue  # noqa: E402
from recsys.evaluate.evaluation import Evaluation  # noqa: E402
from recsys.prepare import pipeline as prepare  # noqa: E402
from recsys.schemas import SPLITS  # noqa: E402
from recsys.tables import spark_session  # noqa: E402

SHOWN = {
    "yoochoose64": ("recall@20", "mrr@20", "recall@10", "ndcg@20"),
    "beauty": ("recall@5", "ndcg@5", "recall@10", "ndcg@10", "recall@20", "ndcg@20"),
}
PUBLISHED = {
    "yoochoose64": {
        "popular": {"recall@20": 0.0671, "mrr@20": 0.0165},
        "in_session": {"recall@20": 0.3044, "mrr@20": 0.1835},
        "item_knn": {"recall@20": 0.5160, "mrr@20": 0.2181},
    },
    "beauty": {"most popular, of train, valid, test": {"recall@10": 0.0152, "ndcg@10": 0.0068}},
}
SETTINGS = {
    "yoochoose64": Evaluate(
        at=(5, 10, 20),
        references=(
            "popular", "popular_recent", "in_session", "recently_viewed", "item_knn", "user_knn",
            "session_knn", "association_rules", "sequential_rules", "matrix_factorization",
        ),
    ),
    "beauty": Evaluate(
        at=(5, 10, 20),
        references=(
            "popular", "popular_recent", "item_knn", "user_knn", "session_knn",
            "association_rules", "sequential_rules", "matrix_factorization", "content",
        ),
        item_knn=ItemKnn(within="sequence", decay=0.8),
        session_knn=SessionKnn(within="sequence"),
        association_rules=AssociationRules(within="sequence"),
        sequential_rules=SequentialRules(within="sequence"),
        matrix_factorization=MatrixFactorization(regularisation=0.1),
        content=Content(decay=0.9),
    ),
}  # fmt: skip
# V-SkNN's, each combination of which is tried on validation.
GRID = {
    "neighbours": (100, 500),
    "candidates": (1000, 5000),
    "fading": ("linear", "quadratic", "harmonic"),
    "vote_fading": ("none", "harmonic"),
}
TUNE_CASES = 8_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--work", type=Path, help="keeps the datasets here")
    options = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, spark_session(Config(), "references") as spark:
        results = {
            name: of_set(spark, name, options.data, options.work or Path(folder))
            for name in options.sets
        }
    print(json.dumps(results))


def of_set(spark: SparkSession, name: str, data: Path, folder: Path) -> dict[str, Any]:
    """Prints the table of a set; its figures."""
    config = prepared(spark, name, data, folder / name)
    tuned, tried = tune(spark, config)
    config = with_settings(config, session_knn=tuned)
    print(f"\n{name}: V-SkNN by validation, of {tried}: {dataclasses.asdict(tuned)}", flush=True)
    begun = time.monotonic()
    found = evaluate(spark, config, ("train", "valid"))
    alone = with_settings(config, references=("popular",))
    for counted in (("train",), SPLITS):
        label = f"most popular, of {', '.join(counted)}"
        found[label] = evaluate(spark, alone, counted)["popular"]
    print(table(name, found), flush=True)
    print(f"{time.monotonic() - begun:.0f} s", flush=True)
    return {"figures": found, "session_knn": dataclasses.asdict(tuned)}


def prepared(spark: SparkSession, name: str, data: Path, place: Path) -> Config:
    """The set's configuration, and its dataset made if it is not there."""
    arguments = ["--config", str(ROOT / "conf" / f"{name}.yaml")]
    arguments += ["--events.path", f"[{data / name / 'events.parquet'}]"]
    if (data / name / "items.parquet").exists():
        arguments += ["--items.path", f"[{data / name / 'items.parquet'}]"]
    config, _ = command.parse(command.parser("prepare", ""), arguments)
    config = dataclasses.replace(config, paths=Paths(dataset=str(place)), evaluate=SETTINGS[name])
    if not (place / "current.json").exists():
        prepare.run(spark, config)
    return config


def with_settings(config: Config, **settings: Any) -> Config:
    return dataclasses.replace(config, evaluate=dataclasses.replace(config.evaluate, **settings))


def evaluation(spark: SparkSession, config: Config, learn_from: tuple[str, ...]) -> Evaluation:
    dataset = manifest.read(config.paths.dataset)
    catalogue = read_catalogue(spark, config, dataset)
    return Evaluation(spark, config, dataset, catalogue, None, learn_from)


def tune(spark: SparkSession, config: Config) -> tuple[SessionKnn, int]:
    """The settings of V-SkNN that find most of validation, and how many were tried.

    All are tried on the same cases in one pass, as they share what they are fitted on.
    """
    own = evaluation(spark, with_settings(config, references=("session_knn",)), ("train",))
    (fitted,), _ = own.fitted()
    within = config.evaluate.session_knn.within
    combined = [
        dict(zip(GRID, values, strict=True)) for values in itertools.product(*GRID.values())
    ]
    tried = {str(values): values for values in combined}
    systems = [dataclasses.replace(fitted, name=name, **values) for name, values in tried.items()]
    share = min(1.0, TUNE_CASES / own.dataset.splits["valid"].steps)
    cases = own.cases("valid", systems, share=share)
    measuring = aggregate.Measuring(figures.known(own.catalogue), (("recall", 20), ("mrr", 20)))
    found = {
        (system, metric): float(estimate.values[0])
        for (system, _, _, metric, _), estimate in aggregate.estimates(cases, measuring).items()
    }
    for name in tried:
        print(f"{name}: recall@20 {found[name, 'recall']:.4f}, mrr@20 {found[name, 'mrr']:.4f}")
    best = max(tried, key=lambda name: found[name, "recall"])
    return SessionKnn(within=within, **tried[best]), len(tried)  # type: ignore[arg-type]


def evaluate(
    spark: SparkSession, config: Config, learn_from: tuple[str, ...]
) -> dict[str, dict[str, float]]:
    """The metrics of every reference on test."""
    own = evaluation(spark, config, learn_from)
    systems, _ = own.fitted()
    cases = own.cases("test", systems).cache()
    columns = [(metric, k) for metric in ("recall", "mrr", "ndcg") for k in config.evaluate.at]
    measuring = aggregate.Measuring(figures.known(own.catalogue), tuple(columns))
    found: dict[str, dict[str, float]] = {system.name: {} for system in systems}
    for (system, _, _, metric, k), estimate in aggregate.estimates(cases, measuring).items():
        found[system][f"{metric}@{k}"] = float(estimate.values[0])
    cases.unpersist()
    return found


def table(name: str, found: dict[str, dict[str, float]]) -> str:
    lines = [f"{'':<28}" + "".join(f"{column:>20}" for column in SHOWN[name])]
    for system, own in found.items():
        cells = []
        for column in SHOWN[name]:
            known = PUBLISHED[name].get(system, {}).get(column)
            cells.append(f"{own[column]:.4f}" + (f" ({known:.4f})" if known else ""))
        label = words.SYSTEMS.get(system, system)
        lines.append(f"{label:<28}" + "".join(f"{cell:>20}" for cell in cells))
    return "\n".join([*lines, "in brackets: published"])


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
