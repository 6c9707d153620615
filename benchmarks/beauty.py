"""Amazon Beauty, 5-core, leave-one-out: all items ranked, those of the history masked.

python benchmarks/beauty.py [--events FILE --items FILE] [--ranks 2] [--work FOLDER] [--step test]

Prepare, train and evaluate with conf/beauty.yaml. Validation, the last item but one of each user,
chooses the number of epochs; the model is then fitted to train and validation, and the choice
written down before test is read. Another log has no attributes without --items. The last line is
JSON:
    hr@10, ndcg@10      on test
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
    beauty = protocol.SHARED / "beauty"
    options = protocol.arguments(__doc__, beauty / "events.parquet", beauty / "items.parquet")
    protocol.run("beauty", {"hr@10": "hit_rate@10", "ndcg@10": "ndcg@10"}, options)
