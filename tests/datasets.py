"""Small datasets written without Spark, in the tables' own layout, for the tests of training."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recsys import files
from recsys.manifest import GroupFile, Manifest, Split
from recsys.schemas import FIRST_ITEM, SCHEMA_VERSION, SEQUENCE_ARRAYS, SPLITS, VALUE_WEIGHT

LENGTH = 12


def random_rows(rng: np.random.Generator, rows: int, items: int, step_events: int) -> dict:
    """Rows of random steps; of each row the steps from the second on are targets."""
    arrays = {name: np.zeros((rows, LENGTH), np.int64) for name in SEQUENCE_ARRAYS}
    arrays["step"] -= 1
    for row in range(rows):
        place, step = 0, 0
        while place < LENGTH - step_events and rng.random() > 0.1:
            size = int(rng.integers(1, step_events + 1))
            here = slice(place, place + size)
            # An item is often followed by its neighbour, so that there is something to learn.
            first = rng.integers(items) if step == 0 else arrays["item"][row, place - 1] - 1
            drawn = (first + np.arange(size)) % items
            arrays["item"][row, here] = drawn + FIRST_ITEM
            arrays["event_type"][row, here] = FIRST_ITEM
            arrays["gap_seconds"][row, here] = 3600 * min(step, 1)
            arrays["session_start"][row, here] = 1
            arrays["step"][row, here] = step
            arrays["timestamp"][row, here] = 1_000_000 + 3600 * step
            arrays["target"][row, here] = int(step > 0)
            place, step = place + size, step + 1
    return arrays


def write_dataset(
    place: Path, items: int = 40, groups: int = 4, rows_per_group: int = 8, step_events: int = 3
) -> Manifest:
    """A random dataset, published at the place."""
    rng = np.random.default_rng(0)
    version = files.new_version(str(place))
    splits = {
        name: _write_split(version, name, rng, items, groups, rows_per_group, step_events)
        for name in SPLITS
    }
    ids = [f"item-{index}" for index in range(items)]
    catalogue = pa.table(
        {
            "item_index": pa.array(range(FIRST_ITEM, FIRST_ITEM + items), pa.int32()),
            "item_id": ids,
            "train_count": pa.array(range(items, 0, -1), pa.int64()),
            "valid_count": pa.array([0] * items, pa.int64()),
            "colour_index": pa.array(
                [FIRST_ITEM + index % 3 for index in range(items)], pa.int32()
            ),
            "size_vector": pa.array(
                [[index / items, 0.0] for index in range(items)], pa.list_(pa.float32())
            ),
        }
    )
    folder = Path(files.local_copy(version)) / "items.parquet"
    folder.mkdir()
    pq.write_table(catalogue, folder / "part-0.parquet")
    manifest = Manifest(
        url=version, schema_version=SCHEMA_VERSION, code_version="test", created_at="", seed=0,
        sequence_length=LENGTH, max_steps=LENGTH, max_step_events=step_events,
        max_case_targets=step_events, valid_start=0, test_start=0, first_event=0, last_event=0,
        users=groups * rows_per_group, items=items, valid_items=0, catalogue_items=0,
        vocabulary_fingerprint=hashlib.sha256("".join(ids).encode()).hexdigest()[:16],
        content_fingerprint="", event_types=("view",), platforms=(),
        attributes={"colour": "category"}, categories={"colour": 5}, features={"size": 2},
        splits=splits, steps=(), quarantine={}, certificate={"holds": True},
    )  # fmt: skip
    manifest.write()
    files.publish(version)
    return manifest


def _write_split(
    version: str,
    name: str,
    rng: np.random.Generator,
    items: int,
    groups: int,
    rows_per_group: int,
    step_events: int,
) -> Split:
    folder = Path(files.local_copy(version)) / "sequences" / f"split={name}"
    folder.mkdir(parents=True)
    written = []
    targets = steps = 0
    for group in range(groups):
        arrays = random_rows(rng, rows_per_group, items, step_events)
        width = int((arrays["item"] > 0).sum(axis=1).max())
        arrays = {key: values[:, :width] for key, values in arrays.items()}
        columns = {key: pa.array(list(values), _list_type(key)) for key, values in arrays.items()}
        ids = [f"{name}-{group}-{row}" for row in range(rows_per_group)]
        weights = pa.array([1.0] * rows_per_group, pa.float32())
        by_value = arrays["target"] * (1 + arrays["item"] % 3) / 2
        columns[VALUE_WEIGHT] = pa.array(list(by_value), pa.list_(pa.float32()))
        table = pa.table({"sequence_id": ids, "user_id": ids, "weight": weights, **columns})
        path = f"part-{group:05d}.parquet"
        pq.write_table(table, folder / path)
        own = int(arrays["target"].sum())
        written.append(GroupFile(f"sequences/split={name}/{path}", rows_per_group, own))
        targets += own
        steps += int(np.maximum(arrays["step"].max(axis=1), 0).sum())
    return Split(tuple(written), groups * rows_per_group, 0, steps, targets, 0)


def _list_type(name: str) -> pa.DataType:
    return pa.list_(pa.int64() if name == "timestamp" else pa.int32())
