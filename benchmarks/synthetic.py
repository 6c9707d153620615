"""A dataset and a model of any size: random histories, drawn weights, the real layout."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recsys import files, manifest
from recsys.config import Config, Train
from recsys.manifest import GroupFile, Manifest, Split
from recsys.schemas import FIRST_ITEM, HISTORIES, SCHEMA_VERSION, SEQUENCE_ARRAYS, SPLITS

LENGTH = 50
_ROWS_PER_FILE = 25_000
_GAP = 3600
_FIRST = 1_700_000_000
# Of what jobs/evaluate.py reads; what jobs/score.py does has one type of events, and no categories.
_EVENT_TYPES = ("view", "purchase")
_CATEGORIES = 20
_MICROSECONDS = 1_000_000
# Of time: when train begins, the midnight at which it ends and test begins, and when that ends,
# seconds. Validation is empty.
_DAY = 86_400
_TRAIN_START = 1_699_920_000
_TEST_START = _TRAIN_START + 20 * _DAY
_TEST_END = _TEST_START + 4 * _DAY
# In train this share of the items comes up in the last tenth of its time only, if at all.
_NEW_SHARE = 0.1
_NEW_FROM = _TEST_START - (_TEST_START - _TRAIN_START) // 10


def items_of(dataset: str) -> int:
    return manifest.read(dataset).items


def histories(
    users: int, items: int, seed: int = 0, least: int = 1, most: int = LENGTH
) -> dict[str, np.ndarray]:
    """From least to most events a user, each a step, of items drawn by their popularity (Zipf)."""
    rng = np.random.default_rng(seed)
    length = rng.integers(least, most + 1, size=(users, 1))
    place = np.broadcast_to(np.arange(most), (users, most))
    is_event = place < length
    drawn = np.exp(rng.random((users, most)) * np.log(items)).astype(np.int64) - 1
    columns = {
        "item": np.where(is_event, drawn % items + FIRST_ITEM, 0),
        "event_type": np.where(is_event, FIRST_ITEM, 0),
        "gap_seconds": np.where(is_event & (place > 0), _GAP, 0),
        "session_start": np.where(is_event, 1, 0),
        "step": np.where(is_event, place, -1),
        "timestamp": np.where(is_event, _FIRST + _GAP * place, 0),
    }
    return {name: values.astype(np.int32) for name, values in columns.items()}


def write_dataset(place: Path, users: int, items: int) -> None:
    """Publishes a dataset of histories, as jobs/score.py reads it."""
    version = files.new_version(str(place))
    folder = Path(files.local_copy(version))
    _write_histories(folder / "histories", users, items)
    _write_items(folder, items)
    manifest_of(version, users, items).write()
    files.publish(version)


def write_cases(place: Path, cases: int, items: int, train_rows: int = 2_000) -> None:
    """Publishes a dataset of splits, as jobs/evaluate.py reads it.

    A row of test is one user and one case: its last event is the target, after a history of 1 to
    LENGTH events, an hour apart. Targets lie anywhere in the four days of test: who has a long
    history and an early target was there before test began, and the others are new. Events are of
    two types, and items of twenty categories, a tenth of them new.
    """
    version = files.new_version(str(place))
    folder = Path(files.local_copy(version))
    splits = {
        name: _write_split(folder, name, rows, items)
        for name, rows in {"train": train_rows, "valid": 0, "test": cases}.items()
    }
    _write_items(folder, items, _CATEGORIES)
    described = dataclasses.replace(
        manifest_of(version, cases, items, splits, LENGTH + 1, split="time"),
        valid_start=_TEST_START * _MICROSECONDS,
        test_start=_TEST_START * _MICROSECONDS,
        first_event=_TRAIN_START * _MICROSECONDS,
        last_event=(_TEST_END - 1) * _MICROSECONDS,
        event_types=_EVENT_TYPES,
        attributes={"category": "category"},
        categories={"category": FIRST_ITEM + _CATEGORIES},
    )
    described.write()
    files.publish(version)


def _write_split(folder: Path, name: str, rows: int, items: int) -> Split:
    path = folder / "sequences" / f"split={name}"
    path.mkdir(parents=True)
    _write_part(folder / "earlier", name, [], histories(0, items), 0)
    written = []
    for start in range(0, max(rows, 1), _ROWS_PER_FILE):
        count = min(rows - start, _ROWS_PER_FILE)
        rng = np.random.default_rng(start)
        arrays = histories(count, items, seed=start + len(name), least=2, most=LENGTH + 1)
        last = (arrays["step"] >= 0).sum(axis=1) - 1
        is_purchase = rng.random(arrays["step"].shape) < 0.1
        _set_times(arrays, last, name, rng)
        _keep_new_items_late(arrays, items)
        arrays["event_type"] += (is_purchase & (arrays["step"] >= 0)).astype(np.int32)
        arrays["target"] = (arrays["step"] == last[:, None]).astype(np.int32)
        arrays["purchase"] = np.zeros_like(arrays["target"])  # nobody is said to buy
        user = [f"{name}-{number}" for number in range(start, start + count)]
        columns: dict[str, pa.Array] = {
            "sequence_id": pa.array([f"{own}#{step}" for own, step in zip(user, last, strict=True)],
                                    pa.string()),
            "user_id": pa.array(user, pa.string()),
            "weight": pa.array([1.0] * count, pa.float32()),
            **{key: _lists(key, arrays[key]) for key in SEQUENCE_ARRAYS},
        }  # fmt: skip
        file = f"part-{start // _ROWS_PER_FILE:05d}.parquet"
        of_split = f"{name}-{start // _ROWS_PER_FILE:05d}"
        _write_part(folder / "histories", of_split, user, arrays, SPLITS.index(name))
        pq.write_table(pa.table(columns), path / file)
        written.append(GroupFile(f"sequences/split={name}/{file}", count, count))
    return Split(tuple(written), rows, 0, rows, rows, 0)


def _set_times(
    arrays: dict[str, np.ndarray], last: np.ndarray, split: str, rng: np.random.Generator
) -> None:
    """Moves each row so that it ends at some instant of its split."""
    begin, end = _TRAIN_START + _GAP * LENGTH, _TEST_START
    if split == "test":
        begin, end = _TEST_START, _TEST_END
    moved = rng.integers(begin, end, size=len(last)) - _FIRST - _GAP * last
    arrays["timestamp"] += np.where(arrays["step"] >= 0, moved[:, None], 0).astype(np.int32)


def _keep_new_items_late(arrays: dict[str, np.ndarray], items: int) -> None:
    """Puts older items in the place of new ones before these came up."""
    older = items - int(_NEW_SHARE * items)
    is_early = (arrays["step"] >= 0) & (arrays["timestamp"] < _NEW_FROM)
    early = FIRST_ITEM + (arrays["item"] - FIRST_ITEM) % older
    arrays["item"] = np.where(is_early, early, arrays["item"]).astype(np.int32)


def _lists(name: str, values: np.ndarray, here: np.ndarray | None = None) -> pa.ListArray:
    """The rows of a matrix, without what is not here."""
    here = np.ones(values.shape, bool) if here is None else here
    ends = pa.array(np.append(0, here.sum(axis=1).cumsum()), pa.int32())
    kind = pa.int64() if name == "timestamp" else pa.int32()
    return pa.ListArray.from_arrays(ends, pa.array(values[here], kind))


def _write_items(folder: Path, items: int, categories: int = 0) -> None:
    index = np.arange(FIRST_ITEM, FIRST_ITEM + items)
    counts = (1_000_000 / (index - FIRST_ITEM + 1)).astype(np.int64) + 1
    columns = {
        "item_index": pa.array(index, pa.int32()),
        "item_id": [f"product-{number}" for number in index],
        "train_count": pa.array(counts),
        "valid_count": pa.array(np.zeros(items, np.int64)),
    }
    if categories:
        number = index % categories
        columns["category"] = [f"category-{own}" for own in number]
        columns["category_index"] = pa.array(FIRST_ITEM + number, pa.int32())
    table = pa.table(columns)
    for name in ("items.parquet", "vocabulary.parquet"):
        (folder / name).mkdir()
        pq.write_table(table, folder / name / "part-0.parquet")


def _write_histories(folder: Path, users: int, items: int) -> None:
    rows = histories(users, items)
    for number, start in enumerate(range(0, users, _ROWS_PER_FILE)):
        part = {name: values[start : start + _ROWS_PER_FILE] for name, values in rows.items()}
        count = len(part["item"])
        user = [f"user-{user}" for user in range(start, start + count)]
        _write_part(folder / "histories", f"part-{number:05d}", user, part, SPLITS.index("train"))
    _write_part(folder / "earlier", "part-00000", [], {k: v[:0] for k, v in rows.items()}, 0)


def _write_part(
    folder: Path, name: str, user: list[str], rows: dict[str, np.ndarray], split: int
) -> None:
    """Histories whose events are all in the time of one split."""
    folder.mkdir(parents=True, exist_ok=True)
    here = rows["step"] >= 0
    rows = {**rows, "split": np.full_like(rows["step"], split)}
    columns = {
        "user_id": pa.array(user, pa.string()),
        "first_step": pa.array(np.zeros(len(user), np.int64)),
        **{key: _lists(key, rows[key], here) for key in list(HISTORIES)[2:]},
    }
    pq.write_table(pa.table(columns), folder / f"{name}.parquet")


def manifest_of(
    version: str,
    users: int,
    items: int,
    splits: dict[str, Split] | None = None,
    length: int = LENGTH,
    split: str = "leave_one_out",
) -> Manifest:
    settings = {
        "prepare": {"sequence_unit": "user", "split": split, "target_event_types": []},
        "events": {"columns": {"user_id": "user_id"}},
    }
    return Manifest(
        url=version, schema_version=SCHEMA_VERSION, code_version="", created_at="", seed=0,
        sequence_length=length, max_steps=length, max_step_events=1, max_case_targets=1,
        valid_start=None, test_start=None, first_event=0, last_event=1_800_000_000_000_000,
        users=users, items=items, valid_items=0, catalogue_items=0,
        vocabulary_fingerprint=f"{items} products", content_fingerprint="", event_types=("view",),
        platforms=(), attributes={}, categories={}, splits=splits or {}, steps=(), quarantine={},
        certificate={"holds": True, "checks": []}, config=settings,
    )  # fmt: skip


def write_model(place: Path, dataset: Path, dimensions: int) -> None:
    """Publishes a model with drawn weights."""
    from recsys.train import encoder, export
    from recsys.train.catalogue import read_catalogue, read_item_ids
    from recsys.train.model import Recommender

    described = manifest.read(str(dataset))
    config = Config(train=Train(embedding_size=dimensions))
    catalogue, item_ids = read_catalogue(described, config, ("train",)), read_item_ids(described)
    model = Recommender(config.train, catalogue, seed=0)
    version = files.new_version(str(place))
    module = export.Export(
        model, item_ids, {"event_type": described.event_types}, exclude_history=True
    )
    export.save(module, files.local_copy(files.join(version, "export")))
    encoder.save(module, files.local_copy(files.join(version, "encoder")))
    about = {
        "model_version": f"{dimensions}-dimensions",
        "vocabulary_fingerprint": described.vocabulary_fingerprint,
        "trained_on": ["train"],
        "known_items": described.items,
    }
    files.write_json(files.join(version, "model.json"), about)
    files.write_bytes(files.join(version, "metrics.jsonl"), b"")
    files.publish(version)
