"""A small dataset and a model of it: real, but untrained, with drawn weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recsys import files, manifest
from recsys.config import Config, Paths, Train
from recsys.manifest import Manifest
from recsys.schemas import FIRST_ITEM, HISTORIES, UNKNOWN, VOCABULARY, with_inputs
from tests.datasets import LENGTH, random_rows

DAY = 86400
USERS = 60
ITEMS = 90
COLOURS = ("red", "green", "blue", "grey")
BRANDS = ("own", "other", "third")
TAGS = ("vegan", "new", "sale", "gift", "bulk")
VALUES = {"colour": COLOURS, "brand": BRANDS, "tags": TAGS}
EVENT_TYPES = ("view", "purchase")
PURCHASE = EVENT_TYPES.index("purchase") + FIRST_ITEM
PLATFORMS = ("web", "app", "till")


@dataclass(frozen=True)
class World:
    """Where everything is, and what is in it.

    Args:
        folder: of dataset, model and recommendations
        histories: arrays [B, L] of every user, in the order of `users`
        users: their ids; the last has no known item
        items: the table of the items
    """

    folder: Path
    histories: dict[str, np.ndarray]
    users: list[str]
    items: pa.Table

    def config(self, **changes: Any) -> Config:
        places = ("dataset", "model", "report", "recommendations")
        paths = Paths(**{name: str(self.folder / name) for name in places})
        return Config(paths=paths, **changes)


def write_world(folder: Path, files_of_histories: int = 4) -> World:
    rng = np.random.default_rng(5)
    items = _items(rng)
    histories = _histories(rng)
    users = [f"user-{number}" for number in range(USERS)]
    version = files.new_version(str(folder / "dataset"))
    place = Path(files.local_copy(version))
    _write(items, place / "items.parquet", 1)
    _write(items.select(list(VOCABULARY)), place / "vocabulary.parquet", 1)
    _write(_categories(), place / "categories.parquet", 1)
    _write(_table(histories, users), place / "histories", files_of_histories)
    _write(earlier(["user-0", f"user-{USERS - 1}"], [7, 8], [PURCHASE - 1, PURCHASE]),
           place / "earlier", 1)  # fmt: skip
    dataset = _manifest(version)
    dataset.write()
    files.publish(version)
    write_model(folder / "model", dataset)
    return World(folder, histories, users, items)


def _items(rng: np.random.Generator) -> pa.Table:
    index = np.arange(FIRST_ITEM, FIRST_ITEM + ITEMS)
    tags = [sorted(range(1, 1 + len(TAGS)), key=lambda tag: (place * tag) % 7)[: place % 3]
            for place in range(ITEMS)]  # fmt: skip
    colour, brand = rng.integers(len(COLOURS), size=ITEMS), rng.integers(len(BRANDS), size=ITEMS)
    return pa.table(
        {
            "item_index": pa.array(index, pa.int32()),
            "item_id": [f"item-{place}" for place in index],
            "train_count": pa.array(np.sort(rng.integers(1, 60, size=ITEMS))[::-1], pa.int64()),
            "valid_count": pa.array(np.zeros(ITEMS, np.int64)),
            "colour": pa.array(COLOURS).take(pa.array(colour)),
            "brand": pa.array(BRANDS).take(pa.array(brand)),
            "colour_index": pa.array(colour + FIRST_ITEM, pa.int32()),
            "brand_index": pa.array(brand + FIRST_ITEM, pa.int32()),
            # Lists are in the order of their values, and indexes in their own, as prepare has them.
            "tags": [sorted(TAGS[tag - 1] for tag in own) for own in tags],
            "tags_index": pa.array(
                [sorted(tag - 1 + FIRST_ITEM for tag in own) or [UNKNOWN] for own in tags],
                pa.list_(pa.int32()),
            ),
        }
    )


def _categories() -> pa.Table:
    rows = [
        {"attribute": name, "value_index": index, "value": value, "train_count": 1}
        for name, values in VALUES.items()
        for index, value in enumerate(values, FIRST_ITEM)
    ]
    kinds = {
        "attribute": pa.string(), "value_index": pa.int32(), "value": pa.string(),
        "train_count": pa.int64(),
    }  # fmt: skip
    return pa.Table.from_pylist(rows, schema=pa.schema(list(kinds.items())))


def _histories(rng: np.random.Generator) -> dict[str, np.ndarray]:
    rows = random_rows(rng, USERS, ITEMS, 3)
    del rows["target"], rows["purchase"]
    is_event = rows["step"] >= 0
    # Anything may follow anything here, and some items are not known.
    drawn = rng.integers(FIRST_ITEM - 1, FIRST_ITEM + ITEMS, size=is_event.shape)
    rows["item"] = np.where(is_event, drawn, 0)
    rows["event_type"] = np.where(is_event, rng.integers(2, 4, size=is_event.shape), 0)
    rows["timestamp"] = np.where(is_event, DAY * (10 + rows["step"]), 0)
    rows["item"][-1] = np.where(is_event[-1], 1, 0)
    drawn = rng.integers(1, len(PLATFORMS) + FIRST_ITEM, size=is_event.shape)
    rows["platform"] = np.where(is_event, drawn, 0)
    return rows


def _table(histories: dict[str, np.ndarray], users: list[str]) -> pa.Table:
    kinds = {"array<int>": pa.int32(), "array<bigint>": pa.int64()}
    sizes = (histories["step"] >= 0).sum(axis=1)  # what prepare writes has no padding
    histories = {**histories, "split": np.zeros_like(histories["step"])}
    columns = {
        name: pa.array(
            [row[:size] for row, size in zip(histories[name], sizes, strict=True)],
            pa.list_(kinds[kind]),
        )
        for name, kind in with_inputs(HISTORIES, ["platform"]).items()
        if kind in kinds
    }
    first_step = pa.array(np.zeros(len(users), np.int64))
    return pa.table({"user_id": users, "first_step": first_step, **columns})


def earlier(users: list[str], items: list[int], event_types: list[int]) -> pa.Table:
    """What each of the users did, a day apart, before what its history holds."""
    arrays = {
        "item": items, "event_type": event_types, "step": list(range(len(items))),
        "timestamp": [DAY * (1 + place) for place in range(len(items))],
    }  # fmt: skip
    nothing = dict.fromkeys(with_inputs(HISTORIES, ["platform"]), [0] * len(items))
    rows = {name: np.array([values] * len(users)) for name, values in (nothing | arrays).items()}
    return _table(rows, users)


def _write(table: pa.Table, folder: Path, parts: int) -> None:
    folder.mkdir(parents=True)
    for number, rows in enumerate(np.array_split(np.arange(len(table)), parts)):
        pq.write_table(table.take(pa.array(rows)), folder / f"part-{number}.parquet")


def _manifest(version: str) -> Manifest:
    settings = {
        "prepare": {"sequence_unit": "user"}, "events": {"columns": {"user_id": "user_id"}}
    }  # fmt: skip
    return manifest.Manifest(
        url=version, schema_version=manifest.SCHEMA_VERSION, code_version="test", created_at="",
        seed=0, sequence_length=LENGTH, max_steps=LENGTH, max_step_events=3, max_case_targets=3,
        valid_start=0, test_start=0, first_event=0, last_event=30 * DAY * 1_000_000, users=USERS,
        items=ITEMS, valid_items=0, catalogue_items=0,
        vocabulary_fingerprint="of-this-world", content_fingerprint="",
        event_types=EVENT_TYPES, platforms=PLATFORMS,
        inputs={"platform": len(PLATFORMS) + FIRST_ITEM},
        attributes={"colour": "category", "brand": "category", "tags": "categories"},
        categories={name: len(values) + FIRST_ITEM for name, values in VALUES.items()},
        splits={}, steps=(), quarantine={}, certificate={}, config=settings,
    )  # fmt: skip


def write_model(
    place: Path,
    dataset: Manifest,
    seed: int = 0,
    vocabulary: str | None = None,
    known_items: int | None = None,
    is_broken: bool = False,
    **train: Any,
) -> None:
    """Publishes a model with drawn weights, or one that makes of a purchase no number."""
    import tensorflow as tf

    from recsys.train import encoder, export
    from recsys.train.catalogue import read_catalogue, read_item_ids
    from recsys.train.model import Recommender

    config = Config(train=Train(**{"embedding_size": 8, **train}))
    catalogue, item_ids = read_catalogue(dataset, config, ("train",)), read_item_ids(dataset)
    model = Recommender(config.train, catalogue, seed)
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        variable.assign_add(rng.normal(scale=0.7, size=variable.shape).astype(np.float32))
    if is_broken:
        [table] = [each for each in model.trainable_variables if "event_type" in each.name]
        table.scatter_nd_update([[PURCHASE]], tf.fill([1, table.shape[1]], np.nan))
    module = export.Export(
        model, item_ids, {"event_type": dataset.event_types}, exclude_history=False
    )
    version = files.new_version(str(place))
    export.save(module, files.local_copy(files.join(version, "export")))
    encoder.save(module, files.local_copy(files.join(version, "encoder")))
    about = {
        "model_version": f"model-{seed}",
        "vocabulary_fingerprint": vocabulary or dataset.vocabulary_fingerprint,
        "trained_on": ["train"],
        "known_items": dataset.items if known_items is None else known_items,
        "purchase_threshold": 0.5 if config.train.purchase_weight else None,
    }
    files.write_json(files.join(version, "model.json"), about)
    files.publish(version)
