import numpy as np
import pytest
import tensorflow as tf

from recsys.config import Train
from recsys.schemas import FIRST_ITEM, PADDING, VALUE_WEIGHT
from recsys.train.batch import before, step_days, target_cases, trim
from recsys.train.batches import COLUMNS
from recsys.train.candidates import Sampler
from recsys.train.model import Recommender
from recsys.train.noise import Noise
from recsys.train.objective import batch_loss
from recsys.train.progress import METRICS, metric_sums
from recsys.train.tower import Catalogue, ItemTower
from tests.datasets import LENGTH, random_rows

ITEMS = 20


@pytest.fixture(
    params=[
        {"repeat": True},
        {
            "repeat": False,
            "event_inputs": ("event_type", "dwell", "hour", "weekday", "again", "platform"),
        },
        {"readout": "attention", "normalize": True},
        {"tied_output": False},
    ],
    ids=["repeat", "inputs", "attention", "apart"],
)
def model(request: pytest.FixtureRequest) -> Recommender:
    size = ITEMS + FIRST_ITEM
    catalogue = Catalogue(
        size, 4, np.arange(size), {"colour": np.arange(size)[:, None] % 5}, {"colour": 5},
        inputs={"platform": 4},
    )  # fmt: skip
    train = Train(embedding_size=8, item_features=("colour",), **request.param)
    built = Recommender(train, catalogue, seed=1)
    rng = np.random.default_rng(0)
    for variable in built.trainable_variables:  # nothing stays at zero
        variable.assign_add(rng.normal(scale=0.3, size=variable.shape))
    return built


def _rows(rows: int = 6) -> dict[str, np.ndarray]:
    arrays = random_rows(np.random.default_rng(7), rows, ITEMS, step_events=3)
    arrays["platform"] = np.where(arrays["item"] > 0, FIRST_ITEM + arrays["item"] % 2, 0)
    return {name: arrays[name].astype(np.int32) for name in (*COLUMNS, "timestamp", "platform")}


def _scores(model: Recommender, rows: dict[str, np.ndarray]) -> np.ndarray:
    batch = {name: tf.constant(values) for name, values in rows.items()}
    row, step, *_ = target_cases(batch)
    return model.scores(batch, row, step).numpy()


@pytest.fixture(params=[0, 6], ids=["all", "sampled"])
def sampler(request: pytest.FixtureRequest) -> Sampler | None:
    return Sampler(np.arange(ITEMS + FIRST_ITEM), 6, 0.5, True) if request.param else None


def test_an_output_apart_scores_with_its_own_tables_and_learns_them_alone(
    sampler: Sampler | None,
) -> None:
    size = ITEMS + FIRST_ITEM
    colour_V = np.arange(size) % 5
    catalogue = Catalogue(size, 4, np.arange(size), {"colour": colour_V[:, None]}, {"colour": 5})
    rows = {name: tf.constant(values) for name, values in _rows().items()}
    found = {}
    for is_tied in (True, False):
        train = Train(
            embedding_size=8, item_features=("colour",), repeat=False, tied_output=is_tied,
            input_dropout=0.0, state_dropout=0.0,
        )  # fmt: skip
        model = Recommender(train, catalogue, seed=1)
        if not is_tied:
            own, other = _tables(model.tower), _tables(model.output)
            assert all(np.any(a != b) for a, b in zip(own, other, strict=True))
            row_C, step_C, *_ = target_cases(rows)
            table, colours = (values.numpy() for values in other)
            vectors_VD = table + colours[colour_V]
            bias_V = model.item_bias.numpy() + model.unlearnt_V.numpy()
            expected = model.encode(rows, row_C, step_C).numpy() @ vectors_VD.T + bias_V
            np.testing.assert_allclose(model.scores(rows, row_C, step_C), expected, rtol=1e-5)
            for variable, values in zip(other, own, strict=True):
                variable.assign(values)
        towers = [model.tower] if is_tied else [model.tower, model.output]
        with tf.GradientTape() as tape:
            noise = Noise(1, tf.constant(3))
            loss, _ = batch_loss(model, rows, "cross_entropy", 0.0, sampler, noise)
        gradients = tape.gradient(loss, [_tables(tower) for tower in towers])
        found[is_tied] = float(loss), [[tf.convert_to_tensor(g).numpy() for g in of_tower]
                                       for of_tower in gradients]  # fmt: skip
    # From the same start both score alike, and what one table learns two learn in two parts.
    assert found[True][0] == pytest.approx(found[False][0], rel=1e-6)
    [together], [of_input, of_output] = found[True][1], found[False][1]
    for whole, *parts in zip(together, of_input, of_output, strict=True):
        np.testing.assert_allclose(whole, sum(parts), atol=1e-4)
        assert min(np.abs(part).max() for part in (*parts, parts[0] - parts[1])) > 0.01


def _tables(tower: ItemTower) -> list[tf.Variable]:
    return [tower.embedding, tower.category_embeddings["colour"]]


def test_cases_are_the_steps_that_hold_targets() -> None:
    rows = {
        "item": np.array([[5, 6, 7, 8, 0], [9, 2, 0, 0, 0]], np.int32),
        "step": np.array([[0, 1, 1, 2, -1], [0, 1, -1, -1, -1]], np.int32),
        "target": np.array([[0, 1, 1, 0, 0], [0, 1, 0, 0, 0]], np.int32),
    }
    row, step, case, item = (value.numpy().tolist() for value in target_cases(rows))
    assert (row, step) == ([0, 1], [1, 1])
    assert (case, item) == ([0, 0, 1], [6, 7, 2])


def test_days_add_up_the_gaps_of_the_steps() -> None:
    day = 86_400
    rows = {
        "step": tf.constant([[0, 0, 1, 1, 1, 2, -1]]),
        "gap_seconds": tf.constant([[9 * day, 9 * day, day, day, day, day // 2, 0]]),
    }
    assert step_days(rows).numpy().tolist() == [[0.0, 0.0, 1.0, 1.0, 1.0, 1.5, 1.5]]


def test_the_order_within_a_step_means_nothing(model: Recommender) -> None:
    rows = _rows()
    shuffled = {name: values.copy() for name, values in rows.items()}
    rng = np.random.default_rng(1)
    for row, steps in enumerate(rows["step"]):
        for step in range(steps.max() + 1):
            here = np.flatnonzero(steps == step)
            mixed = rng.permutation(here)
            for values in shuffled.values():
                values[row, here] = values[row, mixed]
    assert any((rows["item"] != shuffled["item"]).ravel())
    np.testing.assert_allclose(_scores(model, rows), _scores(model, shuffled), atol=1e-5)


def test_a_case_sees_the_steps_before_it_and_nothing_else(model: Recommender) -> None:
    rows = _rows()
    before = _scores(model, rows)
    row, step, *_ = (value.numpy() for value in target_cases(rows))
    for case in range(len(row)):
        changed = {name: values.copy() for name, values in rows.items()}
        later = (changed["step"][row[case]] >= step[case]) & (changed["step"][row[case]] >= 0)
        changed["item"][row[case], later] = FIRST_ITEM + 1
        for name in ("gap_seconds", "timestamp"):
            changed[name][row[case], later] += 9999
        np.testing.assert_allclose(_scores(model, changed)[case], before[case], atol=1e-5)
    # and it does see the step just before
    changed = {name: values.copy() for name, values in rows.items()}
    changed["item"][row[0], changed["step"][row[0]] == step[0] - 1] = FIRST_ITEM + 2
    assert np.abs(_scores(model, changed)[0] - before[0]).max() > 1e-3


def test_padding_changes_nothing(model: Recommender) -> None:
    rows = _rows()
    wide = {
        name: np.pad(values, [(0, 2), (0, 9)], constant_values=-1 if name == "step" else 0)
        for name, values in rows.items()
    }
    np.testing.assert_allclose(_scores(model, wide), _scores(model, rows), atol=1e-5)
    trimmed = trim({name: tf.constant(values) for name, values in wide.items()})
    assert trimmed["item"].shape[1] <= LENGTH


def test_what_comes_before_no_case_is_not_read() -> None:
    batch = {"step": tf.constant([[0, 1, 1, 2], [0, 1, -1, -1]]), "item": tf.zeros([2, 4])}
    for last, columns in ((2, 3), (1, 1), (0, 1), (3, 4)):
        cut = before(batch, tf.constant([0, last]))
        assert {values.shape[1] for values in cut.values()} == {columns}


def test_rows_that_only_fill_up_have_no_loss_and_no_gradient(model: Recommender) -> None:
    empty = {name: tf.zeros([2, LENGTH], tf.int32) for name in _rows()}
    empty["step"] -= 1
    with tf.GradientTape() as tape:
        loss, weight = batch_loss(model, empty, "cross_entropy", 0.0, None, None)
    assert (float(loss), float(weight)) == (0.0, 0.0)
    for gradient in tape.gradient(loss, model.trainable_variables):
        if gradient is not None:
            assert not np.any(tf.convert_to_tensor(gradient).numpy())


def test_a_type_without_weight_is_not_learnt() -> None:
    size, rows = ITEMS + FIRST_ITEM, _rows()
    rows["event_type"] = np.where(rows["item"] > 0, FIRST_ITEM + rows["item"] % 2, 0)

    def loss(weights: list[float] | None, **changed: np.ndarray) -> list[float]:
        of_type = None if weights is None else np.array([1, 1, *weights], np.float32)
        catalogue = Catalogue(size, 4, np.ones(size, np.int64), type_weights=of_type)
        model = Recommender(Train(embedding_size=4), catalogue, seed=1)
        batch = {name: tf.constant(values) for name, values in {**rows, **changed}.items()}
        return [float(part) for part in batch_loss(model, batch, "cross_entropy", 0, None, None)]

    assert loss([1, 1]) == pytest.approx(loss(None))
    # Another case's targets are no candidates of this one: only a step's own are left out.
    of_one = [loss([1, 0]), loss([0, 1])]
    assert np.sum(of_one, axis=0) == pytest.approx(np.array(loss(None)), rel=1e-5)
    assert of_one[0][1] == np.sum((rows["target"] == 1) & (rows["event_type"] == FIRST_ITEM))
    twice = np.array(loss([2, 1]))
    assert twice == pytest.approx(np.array(loss(None)) + np.array(of_one[0]), rel=1e-5)


def test_values_weigh_targets_as_in_numpy(model: Recommender) -> None:
    rows = _rows()
    weight_BL = np.random.default_rng(3).uniform(0, 3, rows["target"].shape).astype(np.float32)
    batch = {name: tf.constant(values) for name, values in rows.items()}
    _, _, case_P, item_P = (part.numpy() for part in target_cases(batch))
    scores_CV, weight_P = _scores(model, rows).astype(np.float64), weight_BL[rows["target"] > 0]
    expected = 0.0
    for case, item, weight in zip(case_P, item_P, weight_P, strict=True):
        others = np.delete(scores_CV[case], [PADDING, *item_P[case_P == case]])  # no candidates
        expected += weight * np.log1p(np.exp(others - scores_CV[case, item]).sum())
    weighted = {**batch, VALUE_WEIGHT: tf.constant(weight_BL)}
    loss, weight_sum = batch_loss(model, weighted, "cross_entropy", 0.0, None, None)
    assert float(loss) == pytest.approx(expected, rel=1e-4)
    assert float(weight_sum) == pytest.approx(weight_P.sum(), rel=1e-5)


def test_unknown_targets_are_not_learnt(model: Recommender) -> None:
    rows = _rows()
    rows["item"][:, :] = np.where(rows["target"] == 1, 1, rows["item"])
    batch = {name: tf.constant(values) for name, values in rows.items()}
    loss, weight = batch_loss(model, batch, "cross_entropy", 0.0, None, None)
    assert (float(loss), float(weight)) == (0.0, 0.0)


def test_metrics_by_hand() -> None:
    # case 0: 3 targets, ranks 4 and 1, one missed; case 1: missed; case 2: found at 12
    sums = metric_sums(3, np.array([0, 0, 0, 1, 2]), np.array([4, 0, 1, 0, 12]))
    found = dict(zip(METRICS, sums, strict=True))
    assert found["recall@10"] == pytest.approx(2 / 3)
    assert found["recall@20"] == pytest.approx(2 / 3 + 1)
    assert found["mrr@10"] == pytest.approx(1)
    assert found["mrr@20"] == pytest.approx(1 + 1 / 12)
    ideal = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    first = (1 + 1 / np.log2(5)) / ideal
    assert found["ndcg@10"] == pytest.approx(first)
    assert found["ndcg@20"] == pytest.approx(first + 1 / np.log2(13))


def test_items_that_nobody_learns_are_not_listed() -> None:
    counts = np.array([0, 0, 5, 3, 0, 1])
    model = Recommender(Train(embedding_size=4), Catalogue(6, 4, counts), seed=1)
    rows = {name: tf.constant(values) for name, values in _rows(2).items()}
    rows["item"] = tf.minimum(rows["item"], 5)
    row, step, *_ = target_cases(rows)
    listed = tf.math.top_k(model.scores(rows, row, step), 3).indices.numpy()
    assert set(listed.ravel()) <= {0, 1, 2, 3, 5}


def test_items_that_are_not_known_yet_are_the_unknown_one() -> None:
    known = FIRST_ITEM + 4
    size = ITEMS + FIRST_ITEM
    train = Train(embedding_size=4, event_inputs=("event_type", "gap", "again"))
    catalogue = Catalogue(size, 4, np.ones(size, np.int64), known_size=known)
    model = Recommender(train, catalogue, 1)
    rows = {name: tf.constant(values) for name, values in _rows().items()}
    unknown = {**rows, "item": tf.where(rows["item"] < known, rows["item"], 1)}
    row, step, *_ = target_cases(rows)
    scores = model.scores(rows, row, step).numpy()
    np.testing.assert_allclose(scores, model.scores(unknown, row, step).numpy())
    assert scores[:, known:].max() < scores[:, FIRST_ITEM:known].min()
    # Nor are they learnt: the loss is that of the targets that are known.
    weights = [
        float(batch_loss(model, batch, "cross_entropy", 0.0, None, None)[1])
        for batch in (rows, unknown)
    ]
    is_known = (rows["item"] >= FIRST_ITEM) & (rows["item"] < known)
    assert weights == [float(tf.reduce_sum(rows["target"] * tf.cast(is_known, tf.int32)))] * 2
