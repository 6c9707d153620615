"""Entries of sequences a second that Petastorm gives to a TensorFlow dataset, batched and shuffled.

python benchmarks/reader.py [--events FILE]

The training rows of YooChoose 1/64, as the training job reads them: one reader an epoch, row
groups and rows in the epoch's own order, batches of train.batch_targets_per_rank targets, the
columns that a model of the default inputs reads. Nothing is trained meanwhile. The last line is
JSON:
    events_per_second   entries that are no padding, targets and what comes before them alike:
                        median of five epochs, from opening the reader to the last batch
    targets_per_second  entries that are targets, which is what benchmarks/train.py counts; likewise
    rows_per_second     sequences, likewise
    padding_share       of the entries of a batch: what several sequences in a row, with the state
                        reset between them, could save at most
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import training
from recsys import manifest
from recsys.config import Config
from recsys.train import batches, shards
from recsys.train.shards import Shard

_EPOCHS = 5


def _epoch(config: Config, seed: int) -> dict[str, float]:
    """What a second of one epoch delivers."""
    dataset, targets = manifest.read(config.paths.dataset), config.train.batch_targets_per_rank
    events, entries, rows, started = 0, 0, 0, time.monotonic()
    with batches.open_epoch(dataset, ("train",), Shard(0, 1), targets, seed) as epoch:
        for batch in epoch:
            events += np.count_nonzero(batch["item"])
            entries += np.size(batch["item"])
            rows += len(batch["item"])
    seconds = time.monotonic() - started
    shards.check_rows(dataset, ("train",), rows)
    read = {"events": events, "targets": dataset.splits["train"].targets, "rows": rows}
    found = {f"{name}_per_second": round(count / seconds) for name, count in read.items()}
    return {**found, "padding_share": round(1 - events / entries, 4)}


if __name__ == "__main__":
    with training.prepared(training.arguments(__doc__)) as config:
        _epoch(config, 0)  # what is done once
        epochs = [_epoch(config, seed) for seed in range(1, _EPOCHS + 1)]
    found = {name: statistics.median(epoch[name] for epoch in epochs) for name in epochs[0]}
    print(json.dumps(found))
