"""What precision, XLA and lanes change: the time of an epoch, and what is learnt by then.

python benchmarks/precision.py [--events FILE] [--work FOLDER]

The training job on YooChoose 1/64, configured as training.SETTINGS says, for three epochs: in
float32, in bfloat16, in float16, in float32 with XLA, and in float32 in two lanes, one after the
other, from the same seed.
The last line is JSON:
    float32_seconds     of an epoch of float32: the median without the first, in which graphs are
                        made
    bfloat16, float16, xla, lanes  that of the same epochs, over float32's
    ..._recall@20       on validation, after the last epoch
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import protocol, training
from recsys import files
from recsys.config import Config

_WAYS = {
    "float32": (),
    "bfloat16": ("--train.precision=bfloat16",),
    "float16": ("--train.precision=float16",),
    "xla": ("--train.xla=true",),
    "lanes": ("--train.lanes=2",),
}
_EPOCHS = 3


def figures(config: Config, events: Path, more: list[str]) -> dict[str, float]:
    work = Path(config.paths.dataset).parent
    given = [f"--config={protocol.ROOT / 'conf' / 'yoochoose64.yaml'}", f"--events.path=[{events}]"]
    given += [*training.SETTINGS, f"--train.epochs={_EPOCHS}", *more]
    seconds, recalls = {}, {}
    for name, own in _WAYS.items():
        places = (f"--paths.dataset={work / 'dataset'}", f"--paths.model={work / name}")
        protocol.job([sys.executable, "jobs/train.py", *given, *places, *own])
        version = Path(files.local_copy(files.current(str(work / name), "jobs/train.py")))
        epochs = [json.loads(line) for line in (version / "metrics.jsonl").read_text().splitlines()]
        seconds[name] = statistics.median(epoch["train_seconds"] for epoch in epochs[1:])
        recalls[f"{name}_recall@20"] = round(epochs[-1]["recall@20"], 4)
    ratios = {name: round(own / seconds["float32"], 3) for name, own in seconds.items()}
    del ratios["float32"]
    return {"float32_seconds": round(seconds["float32"], 1), **ratios, **recalls}


if __name__ == "__main__":
    options = training.arguments(__doc__)
    with training.prepared(options, training.SETTINGS) as config:
        print(json.dumps(figures(config, options.events, options.more)))
