"""What makes a run of training this one and no other: all that decides which weights come out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from recsys import files
from recsys.config import Config
from recsys.manifest import Manifest
from recsys.train import catalogue

# Keys of train with another value of which a run goes on: the weights are the same.
OPERATIONAL = (
    "resume", "stall_seconds", "keep_checkpoints", "checkpoint_steps", "cpu_threads", "tflite",
    "mlflow_uri",
)  # fmt: skip

# Goes up with code that starts, draws or drops otherwise from the same seed.
_DRAWS = 3


def of_run(config: Config, dataset: Manifest, warm_start: str | None) -> dict[str, Any]:
    """Plain values, as JSON gives them back.

    Args:
        config: of the run
        dataset: that is trained on
        warm_start: version of the model that it starts from

    Raises:
        ConfigError: train.item_features names an attribute that the dataset does not have
        DataError: the items are not those of the vocabulary
    """
    train = {key: value for key, value in asdict(config.train).items() if key not in OPERATIONAL}
    if config.train.average_checkpoints:  # what the last ones are is a matter of their distance
        train["checkpoint_steps"] = config.train.checkpoint_steps
    identity = {
        "draws": _DRAWS,
        "seed": config.seed,
        "train": {**train, "warm_start": warm_start},
        "ranking": asdict(config.ranking),
        "dataset": dataset.content_fingerprint,
        "layout": _layout(dataset),
        "items": catalogue.fingerprint(dataset, config.train.item_features),
        "vocabulary": dataset.vocabulary_fingerprint,
    }
    return dict(json.loads(json.dumps(identity)))


def _layout(dataset: Manifest) -> dict[str, Any]:
    """Where the rows of the dataset lie, in which order they are read.

    It follows from the seed and the size of the groups. Their paths say nothing: Spark puts other
    ones into the same dataset every time.
    """
    groups = {split: dataset.splits[split].files for split in ("train", "valid")}
    of_splits = {
        split: {
            "groups": len(own),
            "files": files.fingerprint(f"{file.rows} {file.targets}" for file in own),
        }
        for split, own in groups.items()
    }
    return {"seed": dataset.seed, **of_splits}


def fingerprint(identity: Mapping[str, Any]) -> str:
    """Of what of_run() gives."""
    return files.fingerprint([json.dumps(identity, sort_keys=True)])


def differences(former: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The keys in which two differ, with both values."""
    old, new = _leaves(former), _leaves(now)
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    return ", ".join(f"{key} ({old.get(key)!r}, now {new.get(key)!r})" for key in keys)


def _leaves(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Dotted keys to values.

    >>> _leaves({"seed": 1, "train": {"augment": {"crop": 0.5}}})
    {'seed': 1, 'train.augment.crop': 0.5}
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        below = _leaves(value, f"{above}{key}.") if isinstance(value, dict) else None
        found |= {f"{above}{key}": value} if below is None else below
    return found
