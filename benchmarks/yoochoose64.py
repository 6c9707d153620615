"""YooChoose 1/64 as in the SR-GNN paper: every prefix of the last day, all items ranked.

python benchmarks/yoochoose64.py [--events FILE] [--items FILE] [--ranks 2] [--work FOLDER]
                                 [--step test]

Prepare, train and evaluate with conf/yoochoose64.yaml. Validation, the last tenth of the training
sessions, chooses the number of epochs; the model is then fitted to all training sessions, and the
choice written down before test is read. Targets that training never met count as misses, ties
against the model. The last line is JSON:
    recall@20, mrr@20   on test
    cases               that were ranked
    seconds             of all three jobs, and of each
    epochs              as chosen
--ranks 2 trains on two ranks, which share each batch: the targets of a step stay as many. --step
choose ends with the choice, --step test goes on from it in the same --work, and from nothing else.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import protocol

if __name__ == "__main__":
    options = protocol.arguments(__doc__, protocol.SHARED / "yoochoose64" / "events.parquet")
    protocol.run("yoochoose64", {"recall@20": "recall@20", "mrr@20": "mrr@20"}, options)
