"""Events a second that Petastorm delivers to a TensorFlow dataset, batched and shuffled.

python benchmarks/reader.py [--events FILE]

The training rows of YooChoose 1/64, as the training job reads them: one reader an epoch, row
groups and rows in the epoch's own order, batches of train.batch_targets_per_rank targets, all the
columns that the model reads. Nothing is trained meanwhile. The last line is JSON:
    events_per_second   median of five epochs, from opening the reader to the last batch; an event
                        is one entry of a sequence that is no padding
    rows_per_second     likewise
"""

from __future__ import annotations

import json
import statistics
import time

import numpy as np
import training

from recsys import manifest
from recsys.config import Config
from recsys.train import batches
from recsys.train.batches import Shard

_EPOCHS = 5


def _epoch(config: Config, seed: int) -> tuple[int, int, float]:
    """Events, rows and seconds of one epoch."""
    dataset, targets = manifest.read(config.paths.dataset), config.train.batch_targets_per_rank
    events, rows, started = 0, 0, time.monotonic()
    with batches.open_epoch(dataset, ("train",), Shard(0, 1), targets, seed) as epoch:
        for batch in epoch:
            events += np.count_nonzero(batch["item"])
            rows += len(batch["item"])
    seconds = time.monotonic() - started
    batches.check_rows(dataset, ("train",), rows)
    return events, rows, seconds


if __name__ == "__main__":
    with training.prepared(training.arguments(__doc__)) as config:
        _epoch(config, 0)  # what is done once
        epochs = [_epoch(config, seed) for seed in range(1, _EPOCHS + 1)]
    print(
        json.dumps(
            {
                "events_per_second": round(statistics.median(e / s for e, _, s in epochs)),
                "rows_per_second": round(statistics.median(r / s for _, r, s in epochs)),
            }
        )
    )
