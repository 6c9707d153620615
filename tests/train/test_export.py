import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from recsys import files, ranking, saved_model
from recsys.config import Train
from recsys.errors import DataError
from recsys.manifest import Manifest
from recsys.scale import Scale
from recsys.schemas import FIRST_ITEM
from recsys.train import encoder, lite
from recsys.train.batch import after_last, target_cases
from recsys.train.batches import read_rows
from recsys.train.ensemble import Ensemble
from recsys.train.export import Export, save
from recsys.train.model import Recommender
from recsys.train.raw_events import normalized
from recsys.train.tower import Catalogue
from recsys.train.vectors import write_item_vectors
from tests.datasets import LENGTH

EVENT_INPUTS = (
    "event_type",
    "gap",
    "session_start",
    "again",
    "dwell",
    "platform",
    "query",
    "price",
    "quantity",
)
NAMES = (
    "item", "event_type", "gap_seconds", "session_start", "step", "timestamp", "platform", "target"
)  # fmt: skip
ONCE = np.ones(9)
SCALES = {
    "price": Scale.of("log", np.arange(1.0, 10.0), ONCE, (0.1, 0.8)),
    "quantity": Scale.of("quantile", np.arange(0.0, 9.0), ONCE, None),
}


def _built(
    dataset: Manifest,
    seed: int = 3,
    has_features: bool = False,
    known_size: int | None = None,
    **train: Any,
) -> Recommender:
    """A model whose weights are nowhere zero."""
    size = dataset.vocabulary_size
    catalogue = Catalogue(
        size,
        dataset.event_type_size,
        np.arange(size),
        known_size=known_size,
        inputs={"platform": FIRST_ITEM + 2, "query_1": 9, "query_2": 9, **dict.fromkeys(SCALES, 0)},
    )
    if has_features:
        index_V = np.arange(size, dtype=np.int32)
        tags_VM = np.stack([1 + index_V % 4, index_V % 3], axis=1)  # some have one, some two
        size_VM = (index_V[:, None] / size).astype(np.float32)
        catalogue = replace(
            catalogue, categories={"tags": tags_VM}, category_sizes={"tags": 5},
            vectors={"size": size_VM},
        )  # fmt: skip
    settings = {"embedding_size": 8, "event_inputs": EVENT_INPUTS, **train}
    built = Recommender(Train(**settings), catalogue, seed)
    rng = np.random.default_rng(seed)
    for variable in built.trainable_variables:
        variable.assign_add(rng.normal(scale=0.3, size=variable.shape))
    return built


@pytest.fixture(scope="module")
def model(dataset: Manifest) -> Recommender:
    return _built(dataset)


@pytest.fixture(scope="module")
def exported(
    model: Recommender, dataset: Manifest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("export") / "export"
    ids = [f"item-{index}" for index in range(dataset.items)]
    save(
        Export(
            model,
            ids,
            {"event_type": dataset.event_types, "platform": ["web", "app"]},
            exclude_history=False,
            scales=SCALES,
        ),
        str(folder),
    )
    return folder


@pytest.fixture(scope="module")
def rows(dataset: Manifest) -> dict[str, np.ndarray]:
    table = pq.read_table(files.local_copy(dataset.file_urls("test")[0])).to_pydict()
    item = np.array(table["item"])
    table["platform"] = np.where(item > 0, 1 + item % 3, 0)
    found = {name: np.array(table[name], np.int32) for name in NAMES}
    return {**found, **_words(item), **_numbers(item)}


def _raw(item: np.ndarray) -> dict[str, np.ndarray]:
    """What events cost, as a log has it, and how many they are; NaN where nobody knows."""
    return {
        "price": np.where(item % 4 == 0, np.nan, item / 3),
        "quantity": np.where(item % 5 == 0, np.nan, item % 7),
    }


def _words(item: np.ndarray) -> dict[str, np.ndarray]:
    """One event in three is a search, of one word or of two."""
    first = np.where((item > 0) & (item % 3 == 0), 1 + item % 8, 0)
    second = np.where(item % 2 == 0, first, 0)
    return {"query_1": first.astype(np.int32), "query_2": second.astype(np.int32)}


def _numbers(item: np.ndarray) -> dict[str, np.ndarray]:
    """The same as histories have it."""
    return {
        name: np.where(item > 0, SCALES[name].normalized(own), 0).astype(np.float32)
        for name, own in _raw(item).items()
    }


@pytest.mark.parametrize("clip", [None, (0.25, 0.75)])
@pytest.mark.parametrize("by", ["standard", "log", "quantile"])
def test_a_graph_normalizes_as_prepare_does(by: str, clip: tuple[float, float] | None) -> None:
    values = np.array([0.1, 0.3, 2.0, 7.77, 1e6])
    scale = Scale.of(by, values, np.array([3, 1, 4, 1, 1]), clip)
    asked = np.array([[np.nan, 0.0, 0.1, 0.3, 1.0], [2.0, 7.77, 7.78, 1e6, 1e300]])
    found = normalized(tf.constant(asked), scale).numpy()
    np.testing.assert_allclose(found, scale.normalized(asked), rtol=1e-6, atol=1e-7)
    assert len(np.unique(found)) > 2


def test_cases_are_scored_as_in_training(
    exported: Path, model: Recommender, rows: dict[str, np.ndarray]
) -> None:
    row, step, scores = saved_model.load(str(exported)).cases(rows)
    batch = {name: tf.constant(values) for name, values in rows.items()}
    row_C, step_C, *_ = target_cases(batch)
    np.testing.assert_array_equal(row, row_C)
    np.testing.assert_array_equal(step, step_C)
    np.testing.assert_allclose(scores, model.scores(batch, row_C, step_C), atol=1e-5)


def test_vectors_and_additions_give_the_scores(exported: Path, rows: dict[str, np.ndarray]) -> None:
    ranker = saved_model.load(str(exported))
    encoded = ranker.encode(rows)
    scores = encoded["vectors"].numpy() @ ranker.items().numpy().T
    np.add.at(scores, (encoded["row"].numpy(), encoded["item"].numpy()), encoded["added"].numpy())
    np.testing.assert_allclose(scores, ranker.scores(rows), atol=1e-4)
    assert len(encoded["added"]) > 0


def test_raw_events_give_what_the_prepared_arrays_give(
    exported: Path, rows: dict[str, np.ndarray]
) -> None:
    item = rows["item"]
    ids = np.where(item > 0, np.char.add("item-", (item - FIRST_ITEM).astype(str)), "")
    raw = {
        "item_ids": tf.constant(ids),
        "event_types": tf.constant(np.where(item > 0, "view", "")),
        "platforms": tf.constant(np.array(["", "?", "web", "app"])[rows["platform"]]),
        "timestamps": tf.constant(rows["timestamp"], tf.int64),
        "session_starts": tf.constant(rows["session_start"]),
        "prices": tf.constant(_raw(item)["price"]),
        "quantities": tf.constant(_raw(item)["quantity"]),
        **{name: tf.constant(words) for name, words in _words(item).items()},
    }
    signatures = tf.saved_model.load(str(exported)).signatures
    found = signatures["serving_default"](**raw, k=tf.constant(4))
    scores = ranking.without_reserved(saved_model.load(str(exported)).scores(rows))
    values, items = ranking.top_k(scores, 4)
    expected = [[f"item-{index - FIRST_ITEM}".encode() for index in row] for row in items.numpy()]
    assert found["item_ids"].numpy().tolist() == expected
    np.testing.assert_allclose(found["scores"], values, atol=1e-4)
    encoded = signatures["encode_raw"](**raw)
    for name, wanted in saved_model.load(str(exported)).encode(rows).items():
        np.testing.assert_allclose(encoded[name], wanted, atol=1e-5)


def test_words_of_searches_change_the_vectors(exported: Path, rows: dict[str, np.ndarray]) -> None:
    ranker, item = saved_model.load(str(exported)), rows["item"]
    for name in ("query_1", "query_2"):
        other = np.where((item > 0) & (item % 3 == 0), 1 + rows[name] % 8, 0).astype(np.int32)
        found = ranker.encode({**rows, name: other})["vectors"].numpy()
        assert np.abs(found - ranker.encode(rows)["vectors"].numpy()).max() > 1e-3


def test_numbers_of_events_change_the_vectors(exported: Path, rows: dict[str, np.ndarray]) -> None:
    ranker = saved_model.load(str(exported))
    for name in SCALES:
        other = ranker.encode({**rows, name: rows[name] + np.float32(0.5)})["vectors"].numpy()
        assert np.abs(other - ranker.encode(rows)["vectors"].numpy()).max() > 1e-3


def test_what_the_vocabulary_does_not_know_is_the_unknown_item(exported: Path) -> None:
    serve = tf.saved_model.load(str(exported)).signatures["serving_default"]

    def best(item_id: str, event_type: str) -> list[list[bytes]]:
        found = serve(
            item_ids=tf.constant([[item_id]]),
            event_types=tf.constant([[event_type]]),
            platforms=tf.constant([["web"]]),
            timestamps=tf.constant([[1000]], tf.int64),
            session_starts=tf.constant([[1]]),
            prices=tf.constant([[2.5]], tf.float64),
            quantities=tf.constant([[math.nan]], tf.float64),
            query_1=tf.constant([[3]]),
            query_2=tf.constant([[0]]),
            k=tf.constant(5),
        )
        return found["item_ids"].numpy().tolist()

    assert best("never seen", "view") == best("nor this", "view")
    assert all(b"" not in row for row in best("never seen", "never seen"))


class _Sevens(lite.Lite):
    """Converted in a way that loses the items."""

    @tf.function(autograph=False)
    def recommend(self, **row: tf.Tensor) -> dict[str, tf.Tensor]:
        found = super().recommend(**row)
        return {**found, "item": 0 * found["item"] + 7}


@pytest.fixture(scope="module")
def histories(dataset: Manifest) -> dict[str, np.ndarray]:
    """As TFLite takes them, all of one length; the last one is empty."""
    rows = read_rows(dataset, "test", 8)
    rows["platform"] = np.where(rows["item"] > 0, 1 + rows["item"] % 3, 0)
    rows |= _words(rows["item"]) | _numbers(rows["item"])
    nothing = {name: np.full((1, LENGTH), -1 if name == "step" else 0) for name in rows}
    return {name: np.concatenate([values, nothing[name]]) for name, values in rows.items()}


_ATTENTION = {"readout": "attention", "normalize": True}


# Of each, the models that are one.
_KINDS = pytest.mark.parametrize(
    "changes",
    [
        pytest.param([{}], id="gru"),
        pytest.param([_ATTENTION], id="attention"),
        pytest.param([{**_ATTENTION, "repeat": False, "has_features": True}], id="features"),
        pytest.param([{"cell": "lstm"}, {"cell": "rnn", "tied_output": False}], id="ensemble"),
    ],
)


@_KINDS
def test_an_encoder_says_the_same_and_has_no_table_of_items(
    dataset: Manifest,
    histories: dict[str, np.ndarray],
    changes: list[dict[str, Any]],
    tmp_path: Path,
) -> None:
    """Also of items that the model does not know yet, as the last ones here."""
    size = dataset.vocabulary_size
    members = [_built(dataset, known_size=size - 5, **own) for own in changes]
    model = members[0] if len(members) == 1 else Ensemble(members)
    names = {"event_type": dataset.event_types, "platform": ["web", "app"]}
    ids = [f"item-{index}" for index in range(dataset.items)]
    module = Export(model, ids, names, exclude_history=False, scales=SCALES)
    save(module, str(tmp_path / "export"))
    encoder.save(module, str(tmp_path / "encoder"))
    ranker = saved_model.Ranker(str(tmp_path / "export"))
    reads = ranker.of_items(np.arange(size))[saved_model.ITEM_READS].numpy()
    graph = (tmp_path / "export" / "saved_model.pb").read_bytes()
    for feature in members[0].features:  # which lie beside it, once
        assert feature.numpy().tobytes() not in graph
    other = saved_model.Encoder(str(tmp_path / "encoder"), reads)
    assert (histories["item"] >= size - 5).any()
    expected, found = (
        {name: values.numpy() for name, values in each.encode(histories).items()}
        for each in (ranker, other)
    )
    assert expected.keys() == found.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-5)
    assert len(found["added"]) > 0 or not members[0].train.repeat
    held = tf.saved_model.load(str(tmp_path / "encoder")).variables_read
    assert held
    assert size not in {side for variable in held for side in variable.shape}
    nothing = saved_model.Encoder(str(tmp_path / "encoder"), 0 * reads).encode(histories)
    assert np.abs(nothing["vectors"].numpy() - expected["vectors"]).max() > 1e-2


@_KINDS
def test_tflite_gives_what_the_model_gives(
    dataset: Manifest, histories: dict[str, np.ndarray], changes: list[dict[str, Any]]
) -> None:
    rows, members = histories, [_built(dataset, **own) for own in changes]
    model = members[0] if len(members) == 1 else Ensemble(members)
    fixed = lite.Lite(model, dataset.sequence_length, exclude_history=True)
    content = lite.convert(fixed)
    lite.check(content, fixed, rows)
    batch = {name: tf.constant(values, fixed.inputs[name].dtype) for name, values in rows.items()
             if name in fixed.inputs}  # fmt: skip
    scores = ranking.without_reserved(model.scores(batch, *after_last(batch)))
    _, items = ranking.top_k(ranking.without_history(scores, batch["item"]), 3)
    assert len({*items.numpy().ravel()}) > 5  # else the test shows little
    recommend = lite.open_lite(content)["recommend"]
    for place, expected in enumerate(items.numpy()):
        row = {
            name: rows[name][place : place + 1].astype(own.dtype.as_numpy_dtype)
            for name, own in fixed.inputs.items()
        }
        assert recommend(**row)["item"][0, :3].tolist() == expected.tolist()


def test_tflite_reads_hour_and_weekday(dataset: Manifest, histories: dict[str, np.ndarray]) -> None:
    model = _built(dataset, event_inputs=("event_type", "hour", "weekday"))
    fixed = lite.Lite(model, dataset.sequence_length, exclude_history=False)
    content = lite.convert(fixed)
    rows = {**histories, "timestamp": np.where(histories["item"] > 0, 2_000_000_123, 0)}
    lite.check(content, fixed, rows)
    encode = lite.open_lite(content)["encode"]

    def vector(seconds: int) -> np.ndarray:
        row = {
            name: rows[name][:1].astype(own.dtype.as_numpy_dtype)
            for name, own in fixed.inputs.items()
        }
        return encode(**{**row, "timestamp": row["timestamp"] + np.int32(seconds)})["vector"]

    np.testing.assert_allclose(vector(60), vector(0), atol=1e-6)  # of the same hour
    for seconds in (3600, 86_400):
        assert np.abs(vector(seconds) - vector(0)).max() > 1e-3


def test_tflite_that_gives_something_else_is_refused(
    model: Recommender, dataset: Manifest, histories: dict[str, np.ndarray]
) -> None:
    same_item = _Sevens(model, dataset.sequence_length, exclude_history=True)
    content = lite.convert(same_item)
    fixed = lite.Lite(model, dataset.sequence_length, exclude_history=True)
    with pytest.raises(DataError, match="of the items in the list of history 0 the scores that"):
        lite.check(content, fixed, histories)
    other = lite.Lite(model, dataset.sequence_length, exclude_history=False)
    with pytest.raises(DataError, match="expected the score that the model gives history 0"):
        lite.check(content, other, histories)


def test_item_vectors_are_those_of_the_items_that_can_be_ranked(
    model: Recommender, dataset: Manifest, tmp_path: Path
) -> None:
    ids = [f"item-{index}" for index in range(dataset.items)]
    write_item_vectors(model, ids, files.as_url(str(tmp_path / "vectors.parquet")))
    table = pq.read_table(tmp_path / "vectors.parquet").to_pydict()
    assert table["item_id"] == ids
    assert table["item_index"] == list(range(FIRST_ITEM, FIRST_ITEM + dataset.items))
    found = np.column_stack([table["vector"], table["bias"]])
    np.testing.assert_array_equal(found.astype(np.float32), model.item_vectors()[FIRST_ITEM:])
