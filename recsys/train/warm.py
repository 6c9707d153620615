"""A run that starts from an older model, on a vocabulary that has grown since.

Rows of items, event types, platforms and categories are found by their names, whatever their
indexes were; everything else must have the older model's shape. The optimizer goes on, too.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import tensorflow as tf
import yaml

from recsys import files
from recsys.config import Config, Train
from recsys.errors import ConfigError, DataError
from recsys.manifest import Manifest
from recsys.schemas import FIRST_ITEM
from recsys.train import checkpoints
from recsys.train.catalogue import read_item_ids, read_values
from recsys.train.model import Recommender
from recsys.train.optimizer import Optimizer
from recsys.train.tower import ItemTower

log = logging.getLogger(__name__)

VOCABULARIES = "vocabularies.json"
# What decides which weights a model has.
_ARCHITECTURE = (
    "cell", "layers", "embedding_size", "tied_output", "readout", "normalize", "repeat",
    "event_inputs", "item_features", "optimizer",
)  # fmt: skip
# Variables whose rows are items.
ITEM_TABLES = ("item_embedding", "output_item_embedding", "item_bias", "item_weight")
# Those whose rows stand for something else, and of these one without rows for the reserved indexes.
_OTHER_TABLES = {
    "event_type_embedding": "event_type",
    "event_type_kernel": "event_type",
    "platform_embedding": "platform",
    "conversion_projection": "conversion",
}

# Variables that start at zero, and that older models do not have.
_LATER = ("state_kernel",)

Values = npt.NDArray[Any]


def vocabularies(dataset: Manifest, features: Sequence[str]) -> dict[str, list[str]]:
    """The names that the rows of a model's tables stand for, from index FIRST_ITEM on."""
    values = read_values(dataset, features)
    return {
        "item": read_item_ids(dataset),
        "event_type": list(dataset.event_types),
        "platform": list(dataset.platforms),
        **{_feature(name): own for name, own in values.items()},
    }


class WarmStart:
    """An older model to start from.

    Args:
        config: train.warm_start is the place of the model
        dataset: that is trained on

    Raises:
        ConfigError: the configuration asks for another kind of model; names the key
        DataError: there is no model, or none that has all that is needed
    """

    def __init__(self, config: Config, dataset: Manifest) -> None:
        self.version = files.current(str(config.train.warm_start), made_by="jobs/train.py")
        former = yaml.safe_load(files.read_bytes(files.join(self.version, "config.yaml")))
        self.other_seeds = config.train.ensemble_seeds
        self._check(former["train"], config.to_dict()["train"])
        self.dataset = dataset
        self.features = config.train.item_features
        self._warn()

    def _check(self, former: Mapping[str, Any], train: Any) -> None:
        for key in _ARCHITECTURE:
            # A model from before there was a key is as the default has it.
            had, has = (_plain(own.get(key, getattr(Train, key))) for own in (former, train))
            if had != has:
                raise ConfigError(
                    f"train.{key}: expected {had!r} as in {self.version} "
                    f"(train.warm_start), found {has!r}"
                )
        had_head, has_head = (bool(own.get("purchase_weight")) for own in (former, train))
        if had_head != has_head:
            raise ConfigError(
                f"train.purchase_weight: expected a model {'with' if had_head else 'without'} a "
                f"purchase head as in {self.version} (train.warm_start), found "
                f"{train['purchase_weight']!r}"
            )

    def _warn(self) -> None:
        about = files.read_json(files.join(self.version, "model.json"))
        if self._has_learnt_validation(about):
            log.warning(
                "%s learnt from validation of %s, or some of it: metrics are too good, and may "
                "choose the wrong epoch", self.version, self.dataset.url,
            )  # fmt: skip

    def _has_learnt_validation(self, about: Mapping[str, Any]) -> bool:
        """Where an instant parts the splits, it may have been the test of an earlier day, too."""
        start, until = self.dataset.valid_start, about.get("learnt_until")
        if start is None or until is None:
            return "valid" in about["trained_on"]
        return bool(until > start)

    def apply(self, model: Recommender, optimizer: Optimizer, seed: int) -> None:
        """Puts the older model's values into the variables; of an ensemble the one of the seed.

        Raises:
            DataError: the weights are not those of such a model, or of no item of the dataset
        """
        own = files.join(self.version, f"seed-{seed}", "best")
        folder = own if files.exists(own) else files.join(self.version, "best")
        if folder != own and seed in self.other_seeds:
            log.warning(
                "train.ensemble_seeds: %s has no model of seed %d, which starts from the same one "
                "as the first and will differ little from it", self.version, seed,
            )  # fmt: skip
        variables = list(model.trainable_variables)
        arrays, about = checkpoints.read(folder, "best")
        arrays = _with_later(arrays, about.get("variables"), variables)
        _check_names(folder, about.get("variables"), variables)
        former_items = arrays[_place(model.tower.embedding, variables)]
        rows = self._rows(model, arrays)
        if not former_items[rows["item"].former[FIRST_ITEM:]].any():
            raise DataError(
                f"{folder} (train.warm_start): expected items of {self.dataset.url} that it has "
                f"learnt, found none of {self.dataset.items}"
            )
        steps, *slots = optimizer.state()
        steps.assign(arrays.pop(len(variables)))
        kinds = [_kind(variable, model) for variable in variables]
        for place, variable in enumerate([*variables, *slots]):
            kind = kinds[place % len(kinds)]
            _fill(folder, variable, arrays[place], rows.get(kind))
        for tower in _towers(model):
            _start_new_items(tower, rows["item"])
        log.info(
            "starting from %s, which knows %d of %d items",
            folder, len(rows["item"].now) - FIRST_ITEM, self.dataset.items,
        )  # fmt: skip

    def _rows(self, model: Recommender, arrays: Sequence[Values]) -> dict[str, _Rows]:
        """Which rows the older tables share with the new ones."""
        former = files.read_json(files.join(self.version, VOCABULARIES))
        now = vocabularies(self.dataset, self.features)
        rows = {kind: _matched(former[kind], now[kind]) for kind in now}
        rows["conversion"] = _matched(former["event_type"], now["event_type"], reserved=0)
        tables = {"item": model.tower.embedding}
        tables |= {_feature(name): own for name, own in model.tower.category_embeddings.items()}
        for kind, table in tables.items():
            former_table = arrays[_place(table, model.trainable_variables)]
            rows[kind] = _without_new(rows[kind], former_table, table.numpy(), kind == "item")
        return rows


@dataclass(frozen=True)
class _Rows:
    # Rows of the older tables, the same rows of the new ones, and how many the older have.
    former: npt.NDArray[np.int64]
    now: npt.NDArray[np.int64]
    former_size: int


def names(variables: Sequence[tf.Variable]) -> list[str]:
    """Of the variables, in their order."""
    return [str(variable.name).split(":")[0] for variable in variables]


def _with_later(
    arrays: Sequence[Values], found: object, variables: Sequence[tf.Variable]
) -> list[Values]:
    """The arrays of a model from before there was a variable, with zeros for it and its slots."""
    arrays, count = list(arrays), len(variables)
    if found != _early_names(variables) or found == names(variables):
        return arrays
    for place, name in enumerate(names(variables)):
        if name in _LATER:
            nothing = np.zeros(variables[place].shape, np.float32)
            arrays.insert(place, nothing)
            # Behind the variables and the number of steps come the slots of each.
            for start in range(count + 1, len(arrays), count):
                arrays.insert(start + place, nothing)
    return arrays


def _early_names(variables: Sequence[tf.Variable]) -> list[str]:
    return [name for name in names(variables) if name not in _LATER]


def _check_names(folder: str, found: object, variables: Sequence[tf.Variable]) -> None:
    if found not in (names(variables), _early_names(variables)):
        raise DataError(
            f"{folder}: expected the weights {', '.join(names(variables))}, found {found}"
        )


def _feature(name: str) -> str:
    return f"feature {name}"


def _plain(value: object) -> object:
    """As YAML gives it back."""
    return list(value) if isinstance(value, tuple) else value


def _towers(model: Recommender) -> list[ItemTower]:
    return [model.tower] if model.output is None else [model.tower, model.output]


def _kind(variable: tf.Variable, model: Recommender) -> str:
    """What the rows of a variable stand for; "" for nothing that has a name."""
    for tower in _towers(model):
        for attribute, table in tower.category_embeddings.items():
            if variable is table:
                return _feature(attribute)
    (name,) = names([variable])
    if name in ITEM_TABLES:
        return "item"
    return _OTHER_TABLES.get(name, "")


def _place(table: tf.Variable, variables: Sequence[tf.Variable]) -> int:
    return next(place for place, variable in enumerate(variables) if variable is table)


def _matched(former: Sequence[str], now: Sequence[str], reserved: int = FIRST_ITEM) -> _Rows:
    place = pd.Index(former).get_indexer(pd.Index(now))
    known = np.flatnonzero(place >= 0)
    first = np.arange(reserved)
    return _Rows(
        np.concatenate([first, place[known] + reserved]),
        np.concatenate([first, known + reserved]),
        len(former) + reserved,
    )


def _without_new(rows: _Rows, former: Values, now: Values, keeps_reserved: bool) -> _Rows:
    """Without what the older run never met, and this one does: it is as new.

    What a run never meets has a row of zeros in its table.
    """
    if len(former) != rows.former_size:
        return rows  # _fill says so
    keeps = former.any(axis=1)[rows.former] | ~now.any(axis=1)[rows.now]
    if keeps_reserved:
        keeps |= rows.now < FIRST_ITEM
    return _Rows(rows.former[keeps], rows.now[keeps], rows.former_size)


def _fill(folder: str, variable: tf.Variable, former: Values, rows: _Rows | None) -> None:
    """The older values, in the rows that both have; other rows stay as they are."""
    expected = tuple(variable.shape)
    if rows is not None:
        expected = (rows.former_size, *expected[1:])
    if former.shape != expected:
        raise DataError(
            f"{folder}: expected {names([variable])[0]} of shape {expected}, found {former.shape}"
        )
    if rows is not None:
        values = variable.numpy()
        values[rows.now] = former[rows.former]
        former = values
    variable.assign(former)


def _start_new_items(tower: ItemTower, rows: _Rows) -> None:
    """What is met now and was not before: the vectors of its features, or the mean of the learnt.

    A row of zeros, of what is not met yet either, stays one.
    """
    values = tower.embedding.numpy()
    is_new = values.any(axis=1)
    is_new[rows.now] = False
    learnt = values[rows.now[FIRST_ITEM:]]
    values[is_new] = 0.0
    values[is_new & ~tower.has_features()] = learnt[learnt.any(axis=1)].mean(axis=0)
    tower.embedding.assign(values)
