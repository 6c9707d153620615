"""What a larger catalogue costs a step of training with a sampled loss.

python benchmarks/catalogue.py [--items 1000000]

The training job's own step, 100 units and 2,048 sampled negatives, on random sequences of items by
their popularity (Zipf), on one rank with two threads. Both catalogues take turns. The last line is
JSON:
    step_ratio_1m_to_50k    milliseconds of a step at --items over those at 50,000, median of the
                            rounds
    milliseconds_50k        of a step at 50,000 items, likewise
    peak_mib_1m             memory of the whole process, weights and optimizer of both included
    peak_mib_1m_validation  the same when the targets of a batch have been ranked, too
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import synthetic
from recsys.config import Config, Train
from recsys.schemas import FIRST_ITEM
from recsys.train import optimizer, ranks
from recsys.train.candidates import Sampler
from recsys.train.model import Recommender
from recsys.train.shards import Shard
from recsys.train.tower import Catalogue
from recsys.train.trainer import Trainer

_FEW = 50_000
_TARGETS = 1024
_ROUNDS = 7
_STEPS = 20
_TRAIN = Train(embedding_size=100, negatives=2048, normalize=True, cpu_threads=2)


def trainer(items: int) -> Trainer:
    """Ready to train on random sequences of so many items."""
    config = Config(train=_TRAIN)
    counts = np.zeros(FIRST_ITEM + items, np.int64)
    counts[FIRST_ITEM:] = 1 + 10_000_000 / np.arange(1, items + 1)
    catalogue = Catalogue(len(counts), FIRST_ITEM + 1, counts)
    model = Recommender(config.train, catalogue, seed=0)
    sampler = Sampler(counts, config.train.negatives, config.train.negatives_power)
    rule = optimizer.make(config.train.optimizer, model.trainable_variables)
    dataset = synthetic.manifest_of("", 1, items)
    return Trainer(config, dataset, Shard(0, 1), model, rule, sampler, (), 1)


def batches(items: int) -> list[dict[str, tf.Tensor]]:
    """Batches of about _TARGETS targets: every event but a row's first is one."""
    rows = synthetic.histories(_STEPS * _TARGETS // (synthetic.LENGTH // 2), items)
    rows["target"] = (rows["step"] > 0).astype(np.int32)
    size = _TARGETS // (synthetic.LENGTH // 2)
    return [
        {
            name: tf.constant(values[at : at + size])
            for name, values in rows.items()
            if name != "timestamp"
        }
        for at in range(0, _STEPS * size, size)
    ]


def milliseconds(trained: Trainer, rows: list[dict[str, tf.Tensor]]) -> float:
    started = time.monotonic()
    for batch in rows:
        float(trained.train_step(batch, tf.constant(1e-3))[0])
    return 1000 * (time.monotonic() - started) / len(rows)


def _peak_mib() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main(items: int) -> None:
    ranks.start(_TRAIN)
    made = {count: (trainer(count), batches(count)) for count in (_FEW, items)}
    rounds = [{count: milliseconds(*pair) for count, pair in made.items()} for _ in range(_ROUNDS)]
    rounds = rounds[1:]  # in the first the graphs are made
    peak = _peak_mib()
    trained, (batch, *_) = made[items]
    trained.ranks_of.of(batch, trained.model.item_vectors())
    print(
        json.dumps(
            {
                "step_ratio_1m_to_50k": round(
                    statistics.median(r[items] / r[_FEW] for r in rounds), 3
                ),
                "milliseconds_50k": round(statistics.median(r[_FEW] for r in rounds), 1),
                "peak_mib_1m": peak,
                "peak_mib_1m_validation": _peak_mib(),
            }
        )
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=1_000_000)
    main(parser.parse_args().items)
