"""A start from an older model whose vocabulary was smaller and in another order."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from recsys import files
from recsys.config import Config, Paths, Train
from recsys.errors import ConfigError, DataError
from recsys.manifest import Manifest
from recsys.schemas import FIRST_ITEM
from recsys.train import checkpoints, pipeline
from recsys.train.run import MODEL, Run
from recsys.train.shards import Shard
from recsys.train.tower import Catalogue, ItemTower
from recsys.train.trainer import Trainer
from recsys.train.warm import VOCABULARIES, WarmStart, _Rows, _start_new_items, vocabularies
from tests.datasets import write_dataset

ITEMS, GROWN = 12, 15
_COLOURS = {ITEMS: ["red", "green", "blue"], GROWN: ["blue", "pink", "red"]}


def _write(place: Path, items: int) -> Manifest:
    """Items from item-0 to the last one; in the grown dataset the indexes are the other way."""
    dataset = write_dataset(place, items=items, groups=1, rows_per_group=2)
    folder = Path(files.local_copy(dataset.url))
    where = folder / "items.parquet" / "part-0.parquet"
    table = pq.read_table(where)
    if items == GROWN:
        table = table.set_column(1, "item_id", table["item_id"].combine_chunks()[::-1])
    pq.write_table(table, where)
    values = pa.table(
        {"attribute": ["colour"] * 3, "value_index": [2, 3, 4], "value": _COLOURS[items]}
    )
    pq.write_table(values, folder / "categories.parquet")
    return dataset


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("warm")
    for name, items in (("former", ITEMS), ("grown", GROWN)):
        _write(place / name, items)
    return place


def _trainer(folder: Path, name: str, train: Train) -> tuple[Trainer, Run, Manifest]:
    place = str(folder / name)
    config = Config(paths=Paths(dataset=place, model=f"{place}-model"), train=train)
    dataset = pipeline.manifest.read(place)
    trainer = pipeline.build(config, dataset, Shard(0, 1), ("train",), 1)
    return trainer, Run(config, dataset), dataset


def _publish_former(
    folder: Path, train: Train, unlearnt: int = 0, without: str | None = None
) -> Trainer:
    """A model with weights and an optimizer like no others, published as a run would.

    So many items, from the first on, it has never met, nor one of such a colour.
    """
    trainer, own, dataset = _trainer(folder, "former", train)
    rng = np.random.default_rng(2)
    for variable in (*trainer.variables, *trainer.optimizer.state()[1:]):
        variable.assign(rng.normal(size=variable.shape))
    table = trainer.model.tower.embedding
    table.assign(np.where(np.arange(table.shape[0])[:, None] < FIRST_ITEM + unlearnt, 0.0, table))
    if without is not None:
        _zero(trainer, FIRST_ITEM + _COLOURS[ITEMS].index(without))
    trainer.optimizer.steps.assign(77)
    own.restore(trainer, "choice")
    own.save_best(trainer, {"epoch": 1.0})
    version = own.version
    files.write_json(files.join(version, VOCABULARIES), vocabularies(dataset, train.item_features))
    files.write_json(files.join(version, MODEL), {"dataset": "", "trained_on": ["train"]})
    files.publish(version)
    return trainer


@pytest.mark.parametrize(
    ("learnt_until", "valid_start", "is_told"),
    [(1000, 1000, False), (1001, 1000, True), (1000, None, False), (None, 1000, False)],
)
@pytest.mark.parametrize("refit", [False, True])
def test_who_has_learnt_from_validation_is_told_so(
    folder: Path, caplog: pytest.LogCaptureFixture, learnt_until: int | None,
    valid_start: int | None, is_told: bool, refit: bool,
) -> None:  # fmt: skip
    """Of last night's model, whose validation and test may be days of today's."""
    train = Train(embedding_size=4)
    _publish_former(folder, train)
    about = Path(files.local_copy(files.current(_model(folder), ""))) / MODEL
    trained_on = ["train", "valid"] if refit else ["train"]
    content = {"dataset": "of yesterday", "trained_on": trained_on, "learnt_until": learnt_until}
    about.write_text(json.dumps(content))
    dataset = replace(pipeline.manifest.read(str(folder / "grown")), valid_start=valid_start)
    WarmStart(Config(train=replace(train, warm_start=_model(folder))), dataset)
    # Without instants to compare, a refitted model may know anything.
    expected = is_told or (refit and None in (learnt_until, valid_start))
    assert ("learnt from validation" in caplog.text) == expected


def _zero(trainer: Trainer, colour: int) -> None:
    """As it is where no item of train has the colour."""
    table = trainer.model.tower.category_embeddings["colour"]
    table.assign(np.where(np.arange(table.shape[0])[:, None] == colour, 0.0, table))


def _model(folder: Path) -> str:
    return str(folder / "former-model")


def _by_name(table: np.ndarray, items: int) -> dict[str, np.ndarray]:
    ids = [f"item-{index}" for index in range(items)]
    return dict(zip(ids[::-1] if items == GROWN else ids, table[FIRST_ITEM:], strict=True))


@pytest.mark.parametrize(
    ("features", "is_tied"), [((), True), (("colour",), True), ((), False), (("colour",), False)]
)
def test_rows_follow_the_names_and_new_items_start_from_what_is_known(
    folder: Path, features: tuple[str, ...], is_tied: bool
) -> None:
    train = Train(embedding_size=4, item_features=features, optimizer="adam", tied_output=is_tied)
    former = _publish_former(folder, train)
    warm = replace(train, warm_start=_model(folder))
    trainer, own, _ = _trainer(folder, "grown", warm)
    own.restore(trainer, "choice")

    assert trainer.optimizer.steps.numpy() == 77
    pairs = zip(
        [*former.variables, *former.optimizer.state()[1:]],
        [*trainer.variables, *trainer.optimizer.state()[1:]],
        strict=True,
    )
    of_items = 0
    for old, new in pairs:
        rows = old.shape[0] if old.shape.rank else 0
        if rows == ITEMS + FIRST_ITEM:
            before, after = _by_name(old.numpy(), ITEMS), _by_name(new.numpy(), GROWN)
            for name, row in before.items():
                np.testing.assert_array_equal(after[name], row)
            np.testing.assert_array_equal(old[:FIRST_ITEM], new[:FIRST_ITEM])
            of_items += 1
        elif rows != 5:  # of the colours
            np.testing.assert_array_equal(old, new)
    # Embedding, or two of them, bias, and two of repeat; each with mean and square.
    assert of_items == 3 * (4 if is_tied else 5)
    for side in ("tower",) if is_tied else ("tower", "output"):
        old_tower, new_tower = (getattr(own.model, side) for own in (former, trainer))
        before = old_tower.embedding.numpy()[FIRST_ITEM:]
        expected = np.zeros(4) if features else before.mean(axis=0)
        after = _by_name(new_tower.embedding.numpy(), GROWN)
        [place] = [n for n, own in enumerate(trainer.variables) if own is new_tower.embedding]
        slots = _by_name(trainer.optimizer.state()[1 + place].numpy(), GROWN)
        for index in range(ITEMS, GROWN):
            np.testing.assert_allclose(after[f"item-{index}"], expected, atol=1e-6)
            assert not slots[f"item-{index}"].any()
        if features:
            old, new = (t.category_embeddings["colour"].numpy() for t in (old_tower, new_tower))
            np.testing.assert_array_equal(new[[0, 1, 2, 4]], old[[0, 1, 4, 2]])
            assert (new[3] != old[3]).all()


def test_new_items_start_from_the_mean_where_they_have_no_feature() -> None:
    colours = np.array([[0], [1], [2], [3], [1], [2], [1]], np.int32)
    catalogue = Catalogue(7, 3, np.array([0, 0, 5, 5, 5, 5, 0]), {"colour": colours}, {"colour": 4})
    tower = ItemTower(catalogue, width=4, normalize=True, seed=1)
    before = tower.embedding.numpy()
    known = np.arange(4)  # with two items
    _start_new_items(tower, _Rows(known, known, 4))
    after = tower.embedding.numpy()
    np.testing.assert_array_equal(after[:4], before[:4])
    np.testing.assert_allclose(after[4], before[2:4].mean(axis=0), atol=1e-6)
    assert not after[5].any()  # its colour says what is known of it
    assert not after[6].any()  # not met yet


def test_new_items_start_from_the_mean_of_those_that_were_learnt(folder: Path) -> None:
    train = Train(embedding_size=4)
    former = _publish_former(folder, train, unlearnt=5)
    trainer, own, _ = _trainer(folder, "grown", replace(train, warm_start=_model(folder)))
    table = trainer.model.tower.embedding  # in which the last rows are of the first items
    table.assign(np.where(np.arange(table.shape[0])[:, None] < table.shape[0] - 5, table, 0.0))
    own.restore(trainer, "choice")
    after = _by_name(trainer.model.tower.embedding.numpy(), GROWN)
    learnt = former.model.tower.embedding.numpy()[FIRST_ITEM + 5 :]
    np.testing.assert_allclose(after[f"item-{GROWN - 1}"], learnt.mean(axis=0), atol=1e-6)


def test_an_older_model_lacks_what_was_thought_of_later(folder: Path) -> None:
    train = Train(embedding_size=4)
    former = _publish_former(folder, train)
    best = files.join(files.current(_model(folder), ""), "best")
    arrays, about = checkpoints.read(best, "best")
    place, count = about["variables"].index("state_kernel"), len(about["variables"])
    gone = {place, count + 1 + place, 2 * count + 1 + place}
    kept = [tf.Variable(own) for number, own in enumerate(arrays) if number not in gone]
    about["variables"].remove("state_kernel")
    checkpoints.save(best, "best", kept, about)
    trainer, own, _ = _trainer(folder, "grown", replace(train, warm_start=_model(folder)))
    own.restore(trainer, "choice")
    assert trainer.optimizer.steps.numpy() == 77
    slots = trainer.optimizer.state()[1:]
    for number, now in enumerate([*trainer.variables, *slots]):
        old = [*former.variables, *former.optimizer.state()[1:]][number]
        if number % count == place:
            assert not now.numpy().any()
        elif ITEMS + FIRST_ITEM not in old.shape:
            np.testing.assert_array_equal(now, old)


def test_a_member_that_has_no_older_model_of_its_own_is_named(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train = Train(embedding_size=4)
    _publish_former(folder, train)
    warm = replace(train, warm_start=_model(folder), ensemble_seeds=(5,))
    trainer, own, _ = _trainer(folder, "grown", warm)
    own.restore(trainer, "choice")
    assert "train.ensemble_seeds" not in caplog.text
    alone = replace(trainer.config.train, ensemble_seeds=())
    other = replace(trainer, config=replace(trainer.config, seed=5, train=alone))
    own.member(5).restore(other, "choice")
    assert "has no model of seed 5, which starts from the same one as the first" in caplog.text


def test_a_colour_starts_when_train_meets_it_and_stays_when_train_no_longer_does(
    folder: Path,
) -> None:
    train = Train(embedding_size=4, item_features=("colour",))
    former = _publish_former(folder, train, without="blue")
    trainer, own, _ = _trainer(folder, "grown", replace(train, warm_start=_model(folder)))
    blue, pink, red = range(FIRST_ITEM, FIRST_ITEM + 3)
    _zero(trainer, pink)
    _zero(trainer, red)
    table = trainer.model.tower.category_embeddings["colour"]
    start, old = table.numpy(), former.model.tower.category_embeddings["colour"].numpy()
    own.restore(trainer, "choice")
    now = table.numpy()
    assert start[blue].all()
    assert not now[pink].any()
    np.testing.assert_array_equal(now[blue], start[blue])
    np.testing.assert_array_equal(now[red], old[FIRST_ITEM + _COLOURS[ITEMS].index("red")])
    [place] = [number for number, own in enumerate(trainer.variables) if own is table]
    slots = trainer.optimizer.state()[1 + place].numpy()
    assert not slots[[blue, pink]].any()
    assert slots[red].all()


def test_a_model_that_has_learnt_no_item_of_the_dataset_is_named(folder: Path) -> None:
    train = Train(embedding_size=4)
    _publish_former(folder, train, unlearnt=ITEMS)
    trainer, own, _ = _trainer(folder, "grown", replace(train, warm_start=_model(folder)))
    with pytest.raises(DataError, match=rf"warm_start\): .* learnt, found none of {GROWN}"):
        own.restore(trainer, "choice")


@pytest.mark.parametrize(
    ("key", "former", "now"),
    [
        ("layers", 1, 2),
        ("cell", "gru", "lstm"),
        ("item_features", (), ("colour",)),
        ("tied_output", True, False),
    ],
)
def test_another_architecture_is_named(folder: Path, key: str, former: object, now: object) -> None:
    train = Train(embedding_size=4)
    assert getattr(train, key) == former
    _publish_former(folder, train)
    other = replace(train, warm_start=_model(folder), **{key: now})
    found = list(now) if isinstance(now, tuple) else now
    expected = list(former) if isinstance(former, tuple) else former
    with pytest.raises(ConfigError) as caught:
        _trainer(folder, "grown", other)
    assert str(caught.value).startswith(f"train.{key}: expected {expected!r} as in file://")
    assert str(caught.value).endswith(f"(train.warm_start), found {found!r}")
