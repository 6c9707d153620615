"""A dataset of a few users and an untrained model of it, published for the tests of evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recsys import files
from recsys.config import (
    AssociationRules,
    Config,
    Evaluate,
    ItemKnn,
    Paths,
    SequentialRules,
)
from recsys.config.evaluate import REFERENCE_NAMES
from recsys.config.references import Hybrid, MatrixFactorization, SessionKnn, UserKnn
from recsys.manifest import GroupFile, Manifest, Split, Step
from recsys.schemas import (
    BOUGHT,
    FIRST_ITEM,
    HISTORIES,
    NO_LABEL,
    SCHEMA_VERSION,
    SEQUENCES,
    UNKNOWN,
    with_inputs,
)
from tests.evaluate.rows import LENGTH, row, stored

ITEMS = 30
USERS = 36
STEPS = 6
# From this probability on a purchase is predicted.
THRESHOLD = 0.5
# First and last step of the row of a split, and its first target.
PARTS = {"train": (0, 2, 1), "valid": (1, 3, 3), "test": (3, 5, 4)}
# The place in SPLITS of each step.
SPLIT_OF = [0, 0, 0, 1, 2, 2]

ATTRIBUTES: dict[str, list[str | None]] = {
    "colour": ["RED", "Blue", None],
    "size": ["S", "M", "L", "M", "XL"],
}
TAGS: list[list[str]] = [["new", "soft"], [], ["soft"], ["new", "warm", "soft"]]
# Of the items' other features, how they were declared and how long their vectors are.
KINDS = {"price": "number", "title": "text", "photo": "vector"}
WIDTHS = {"price": 2, "title": 4, "photo": 3}

PLATFORMS = ("web", "app")

AT = (2, 5)
# Every reference.
SETTINGS = Evaluate(
    at=AT,
    references=REFERENCE_NAMES,
    resamples=10,
    examples=2,
    item_knn=ItemKnn(neighbours=5, regularisation=2, decay=0.5),
    user_knn=UserKnn(neighbours=4, regularisation=1),
    session_knn=SessionKnn(neighbours=3, candidates=5, vote_fading="harmonic"),
    association_rules=AssociationRules(neighbours=4, decay=0),
    sequential_rules=SequentialRules(neighbours=6, decay=1),
    matrix_factorization=MatrixFactorization(dimensions=4, iterations=2),
    hybrid=Hybrid(systems=("popular", "model", "own_items_recent"), length=max(AT)),
)

History = list[list[int]]


def vectors() -> dict[str, np.ndarray]:
    """Of each feature the items' vectors; no two are of one scale, and some items have none."""
    rng = np.random.default_rng(6)
    drawn = {name: rng.normal(size=(ITEMS, width)) for name, width in WIDTHS.items()}
    drawn["photo"] = np.where(np.arange(ITEMS)[:, None] % 3, 50 * drawn["photo"], 0)
    drawn["title"][::4] = 0
    return {name: values.astype(np.float32) for name, values in drawn.items()}


def histories() -> dict[str, History]:
    """The items of each user's steps, unknown ones among them; users differ in what they like."""
    rng = np.random.default_rng(5)
    drawn = {}
    for user in range(USERS):
        liked = rng.choice(np.arange(FIRST_ITEM, FIRST_ITEM + ITEMS), size=6, replace=False)
        steps = [sorted({int(item) for item in rng.choice(liked, size=2)}) for _ in range(STEPS)]
        steps[-1].append(UNKNOWN)
        if user % 4 == 1:  # the latest step before the first of test tells nothing
            steps[3] = [UNKNOWN]
        drawn[f"user-{user}"] = steps
    return drawn


def platform_of(user: str, step: int) -> int:
    """The index of where a user's step happens: on two platforms by turns, or unknown."""
    return UNKNOWN if user == "user-3" else FIRST_ITEM + step % len(PLATFORMS)


def config(place: Path, **evaluate: object) -> Config:
    """A configuration whose stages are below the place."""
    names = ("dataset", "model", "report", "recommendations")
    paths = Paths(**{name: str(place / name) for name in names})
    return Config(name="Three dozen users", paths=paths, evaluate=Evaluate(at=(2, 5), **evaluate))  # type: ignore[arg-type]


def write_dataset(place: Path) -> Manifest:
    """Publishes the dataset below the place."""
    version = files.new_version(str(place / "dataset"))
    folder = Path(files.local_copy(version))
    counts = np.zeros(FIRST_ITEM + ITEMS, np.int64)
    for steps in histories().values():
        np.add.at(counts, [item for items in steps[:3] for item in items], 1)
    splits = {name: _write_split(folder, name) for name in PARTS}
    for name, pieces in (("earlier", [(0, 1), (2, 2)]), ("histories", [(3, 5)])):
        own = [
            stored(user, [(step, steps[step]) for step in range(first, last + 1)],
                   SPLIT_OF[first : last + 1], sessions=(0, 2, 4))
            for user, steps in histories().items()
            for first, last in pieces
        ]  # fmt: skip
        write_stored(folder / name, own)
    indexes = pa.array(range(FIRST_ITEM, FIRST_ITEM + ITEMS), pa.int32())
    vocabulary = {
        "item_index": indexes,
        "item_id": [f"item-{index}" for index in indexes.to_pylist()],
        "train_count": counts[FIRST_ITEM:],
        "valid_count": np.zeros(ITEMS, np.int64),
    }
    attributes = {}
    for name, values in ATTRIBUTES.items():
        own = [values[index % len(values)] for index in range(ITEMS)]
        numbers = [UNKNOWN if value is None else FIRST_ITEM + values.index(value) for value in own]
        attributes |= {name: own, f"{name}_index": pa.array(numbers, pa.int32())}
    tags = sorted({tag for own in TAGS for tag in own})
    listed = [TAGS[index % len(TAGS)] for index in range(ITEMS)]
    numbers = [[FIRST_ITEM + tags.index(tag) for tag in own] or [UNKNOWN] for own in listed]
    attributes |= {"tags": listed, "tags_index": pa.array(numbers, pa.list_(pa.int32()))}
    for name, values in vectors().items():
        attributes[f"{name}_vector"] = pa.array(values.tolist(), pa.list_(pa.float32()))
    _write(folder / "vocabulary.parquet", pa.table(vocabulary))
    _write(folder / "items.parquet", pa.table({**vocabulary, **attributes}))
    day = 86_400_000_000
    manifest = Manifest(
        url=version, schema_version=SCHEMA_VERSION, code_version="test", created_at="", seed=1,
        sequence_length=LENGTH, max_steps=3, max_step_events=3, max_case_targets=3,
        valid_start=3 * day, test_start=4 * day, first_event=0, last_event=5 * day,
        users=USERS, items=ITEMS, valid_items=0, catalogue_items=0,
        vocabulary_fingerprint="0123456789abcdef",
        content_fingerprint="fedcba9876543210", event_types=("purchase",), platforms=PLATFORMS,
        attributes={"colour": "category", "size": "category", "tags": "categories"},
        categories={"colour": 4, "size": 7, "tags": 5}, features=WIDTHS, splits=splits,
        steps=(Step("read", 200, 190, "10 rows <had> a fault"),),
        quarantine={"price: negative": 10},
        certificate={
            "holds": True,
            "checks": [{"name": "a check", "expected": "0", "found": "0", "holds": True}],
        },
        inputs={"platform": FIRST_ITEM + len(PLATFORMS)},
        config={
            "prepare": {"target_event_types": ["purchase"]},
            "items": {"attributes": {"tags": "categories", **KINDS}},
        },
    )  # fmt: skip
    manifest.write()
    files.publish(version)
    return manifest


def write_stored(folder: Path, rows: list[dict], part: int = 0) -> None:
    """Writes histories, or what was before them, as rows.stored() makes them."""
    for own in rows:
        steps = [own["first_step"] + step for step in own["step"]]
        own["platform"] = [platform_of(own["user_id"], step) for step in steps]
    columns = {
        key: pa.array([own[key] for own in rows], _type(key))
        for key in with_inputs(HISTORIES, ("platform",))
    }
    _write(folder, pa.table(columns), part)


def _write_split(folder: Path, name: str) -> Split:
    first, last, first_target = PARTS[name]
    rows = [
        row(
            user,
            [(step, steps[step]) for step in range(first, last + 1)],
            first_target,
            sessions=(0, 2, 4),
        )
        for user, steps in histories().items()
    ]
    for own in rows:
        own["platform"] = [
            0 if step < 0 else platform_of(own["user_id"], first + step) for step in own["step"]
        ]
    targets = sum(sum(own["target"]) for own in rows)
    unknown = sum(
        target for own in rows for item, target in zip(own["item"], own["target"], strict=True)
        if item == UNKNOWN
    )  # fmt: skip
    empty = {key: [-1 if key == "step" else 0] * LENGTH for key in SEQUENCES if key not in _SCALARS}
    empty["platform"] = [0] * LENGTH
    rows.append({"sequence_id": "", "user_id": "", "weight": 0.0, **empty})
    columns = {
        key: pa.array([own[key] for own in rows], _type(key))
        for key in with_inputs(SEQUENCES, ("platform",))
    }
    path = f"sequences/split={name}/part-0.parquet"
    _write(folder / "sequences" / f"split={name}", pa.table(columns))
    steps = (last - first_target + 1) * USERS
    labels = [label for own in rows for label in own["purchase"] if label != NO_LABEL]
    group = GroupFile(path, len(rows), targets)
    return Split(
        (group,), len(rows) - 1, 1, steps, targets, unknown, len(labels), labels.count(BOUGHT)
    )


_SCALARS = {
    "sequence_id": pa.string(), "user_id": pa.string(), "weight": pa.float32(),
    "first_step": pa.int64(),
}  # fmt: skip


def _type(name: str) -> pa.DataType:
    if name in _SCALARS:
        return _SCALARS[name]
    return pa.list_(pa.int64() if name == "timestamp" else pa.int32())


def _write(folder: Path, table: pa.Table, part: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / f"part-{part}.parquet")


def write_model(
    place: Path,
    manifest: Manifest,
    fingerprint: str | None = None,
    trained_on: tuple[str, ...] = ("train",),
    known_items: int = ITEMS,
) -> str:
    """Publishes an untrained model below the place; its version's URL."""
    from recsys.config import Train
    from recsys.train import export
    from recsys.train.model import Catalogue, Recommender

    train = Train(embedding_size=8, purchase_weight=1.0)
    counts = np.ones(manifest.vocabulary_size, np.int64)
    catalogue = Catalogue(manifest.vocabulary_size, manifest.event_type_size, counts, {}, {})
    ids = [f"item-{index}" for index in range(FIRST_ITEM, FIRST_ITEM + ITEMS)]
    recommender = Recommender(train, catalogue, 1)
    rng = np.random.default_rng(1)
    for variable in recommender.purchase.trainable_variables:
        variable.assign_add(rng.normal(scale=0.7, size=variable.shape).astype(np.float32))
    module = export.Export(recommender, ids, {"event_type": ["purchase"]}, False)
    version = files.new_version(str(place / "model"))
    export.save(module, files.local_copy(files.join(version, "export")))
    about = {
        "model_version": "untrained",
        "vocabulary_fingerprint": fingerprint or manifest.vocabulary_fingerprint,
        "dataset": manifest.url,
        "trained_on": list(trained_on),
        "known_items": known_items,
        "purchase_threshold": THRESHOLD,
    }
    files.write_json(files.join(version, "model.json"), about)
    lines = b'{"epoch": 1, "loss": 3.0, "recall@20": 0.1, "mrr@20": 0.1}\n' * 2
    files.write_bytes(files.join(version, "metrics.jsonl"), lines)
    files.publish(version)
    return version
