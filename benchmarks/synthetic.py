"""A dataset and a model of any size: random histories, drawn weights, the real layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recsys import files, manifest
from recsys.config import Config, Train
from recsys.manifest import Manifest
from recsys.schemas import FIRST_ITEM, HISTORIES, SCHEMA_VERSION

LENGTH = 50
_ROWS_PER_FILE = 25_000
_GAP = 3600


def items_of(dataset: str) -> int:
    return manifest.read(dataset).items


def histories(users: int, items: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Up to LENGTH events a user, each a step, of items drawn by their popularity (Zipf)."""
    rng = np.random.default_rng(seed)
    length = rng.integers(1, LENGTH + 1, size=(users, 1))
    place = np.broadcast_to(np.arange(LENGTH), (users, LENGTH))
    is_event = place < length
    drawn = np.exp(rng.random((users, LENGTH)) * np.log(items)).astype(np.int64) - 1
    columns = {
        "item": np.where(is_event, drawn % items + FIRST_ITEM, 0),
        "event_type": np.where(is_event, FIRST_ITEM, 0),
        "gap_seconds": np.where(is_event & (place > 0), _GAP, 0),
        "session_start": np.where(is_event, 1, 0),
        "step": np.where(is_event, place, -1),
        "timestamp": np.where(is_event, 1_700_000_000 + _GAP * place, 0),
    }
    return {name: values.astype(np.int32) for name, values in columns.items()}


def write_dataset(place: Path, users: int, items: int) -> None:
    version = files.new_version(str(place))
    folder = Path(files.local_copy(version))
    _write_histories(folder / "histories", users, items)
    index = np.arange(FIRST_ITEM, FIRST_ITEM + items)
    counts = (1_000_000 / (index - FIRST_ITEM + 1)).astype(np.int64) + 1
    table = pa.table(
        {
            "item_index": pa.array(index, pa.int32()),
            "item_id": [f"product-{number}" for number in index],
            "train_count": pa.array(counts),
            "valid_count": pa.array(np.zeros(items, np.int64)),
        }
    )
    for name in ("items.parquet", "vocabulary.parquet"):
        (folder / name).mkdir()
        pq.write_table(table, folder / name / "part-0.parquet")
    _manifest(version, users, items).write()
    files.publish(version)


def _write_histories(folder: Path, users: int, items: int) -> None:
    folder.mkdir(parents=True)
    rows = histories(users, items)
    for number, start in enumerate(range(0, users, _ROWS_PER_FILE)):
        part = {name: values[start : start + _ROWS_PER_FILE] for name, values in rows.items()}
        count = len(part["item"])
        ends = pa.array(np.arange(count + 1, dtype=np.int32) * LENGTH)
        columns: dict[str, pa.Array] = {
            "user_id": pa.array([f"user-{user}" for user in range(start, start + count)])
        }
        for name in list(HISTORIES)[1:]:
            kind = pa.int64() if name == "timestamp" else pa.int32()
            columns[name] = pa.ListArray.from_arrays(ends, pa.array(part[name].ravel(), kind))
        pq.write_table(pa.table(columns), folder / f"part-{number:05d}.parquet")


def _manifest(version: str, users: int, items: int) -> Manifest:
    settings = {
        "prepare": {"sequence_unit": "user"}, "events": {"columns": {"user_id": "user_id"}}
    }  # fmt: skip
    return Manifest(
        url=version, schema_version=SCHEMA_VERSION, code_version="", created_at="", seed=0,
        sequence_length=LENGTH, max_steps=LENGTH, max_step_events=1, max_case_targets=1,
        valid_start=0, test_start=0, first_event=0, last_event=1_800_000_000_000_000, users=users,
        items=items, valid_items=0, catalogue_items=0,
        vocabulary_fingerprint=f"{items} products", content_fingerprint="", event_types=("view",),
        platforms=(), attributes={}, categories={}, splits={}, steps=(), quarantine={},
        certificate={}, config=settings,
    )  # fmt: skip


def write_model(place: Path, dataset: Path, dimensions: int) -> None:
    """Publishes a model with drawn weights."""
    from recsys.train.catalogue import read_catalogue, read_item_ids
    from recsys.train.export import Export, save
    from recsys.train.model import Recommender

    described = manifest.read(str(dataset))
    config = Config(train=Train(embedding_size=dimensions))
    catalogue, item_ids = read_catalogue(described, config, ("train",)), read_item_ids(described)
    model = Recommender(config.train, catalogue, seed=0)
    version = files.new_version(str(place))
    save(
        Export(model, item_ids, list(described.event_types), exclude_history=True),
        files.local_copy(files.join(version, "export")),
    )
    about = {
        "model_version": f"{dimensions}-dimensions",
        "vocabulary_fingerprint": described.vocabulary_fingerprint,
        "trained_on": ["train"],
        "known_items": described.items,
    }
    files.write_json(files.join(version, "model.json"), about)
    files.publish(version)
