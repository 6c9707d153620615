from __future__ import annotations

import dataclasses
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsys import files
from recsys.config.references import PopularRecent
from recsys.errors import DataError
from recsys.evaluate import aggregate, bootstrap, metrics, spread
from recsys.evaluate.aggregate import Estimates, Measuring
from recsys.evaluate.catalogue import read_catalogue
from recsys.evaluate.evaluation import Evaluation
from recsys.evaluate.figures import figures, slicing
from recsys.evaluate.lists import Catalogue
from recsys.evaluate.references.popularity import popular_recent
from recsys.evaluate.references.system import NEVER, Training
from recsys.evaluate.slices import Slicing
from recsys.manifest import Manifest
from recsys.schemas import CASES, FIRST_ITEM, UNKNOWN, ddl
from tests.evaluate import dataset
from tests.evaluate.rows import DAY, stored
from tests.evaluate.test_metrics import Case, by_hand, catalogue

AT = (1, 2, 4)
KNOWN = dataclasses.replace(catalogue([0, 0, 9, 5, 5, 1, 0, 0]), direction=None)
# Of the vocabulary's tail, which a model without features of items cannot know.
TAIL = (6, 7)
NAMES = metrics.available(KNOWN, has_vectors=False)
COLUMNS = tuple((name, k) for name in NAMES for k in AT)

# (system, user, step, targets, ranks, recommended)
Drawn = tuple[str, str, int, list[int], list[int], list[int]]


def drawn(users: int = 12) -> list[Drawn]:
    """Cases of users for two systems; some targets are unknown, and are all of a case."""
    rng = np.random.default_rng(4)
    rows: list[Drawn] = []
    for user in range(users):
        for step in range(int(rng.integers(1, 4))):
            targets = [UNKNOWN] * int(rng.integers(0, 2))
            targets += [int(item) for item in rng.permutation(np.arange(2, 8))[: rng.integers(3)]]
            targets = targets or [UNKNOWN]
            for system, places in (("model", 4), ("popular", 2)):
                items = [int(item) for item in rng.permutation(np.arange(2, 8))[:places]]
                ranks = [items.index(item) + 1 if item in items else 0 for item in targets]
                rows.append((system, f"user-{user}", step, targets, ranks, items))
    return rows


ROWS = drawn()


def platform_of(user: str, item: int) -> int:
    """Where a user takes an item: unknown, or one of two."""
    return 1 + (int(user.removeprefix("user-")) + item) % 3 if user != "u" else 0


def frame(spark: SparkSession, rows: list[Drawn], seed: int, parts: int) -> DataFrame:
    shuffled = random.Random(seed).sample(rows, len(rows))
    values = [
        (user, step, DAY * step, system, 3 * step, 0, targets, [2] * len(targets),
         [platform_of(user, item) for item in targets], ranks, items,
         [item % 2 == 0 for item in items])
        for system, user, step, targets, ranks, items in shuffled
    ]  # fmt: skip
    return spark.createDataFrame(values, ddl(CASES)).repartition(parts)


def case_of(row: Drawn, dropped: tuple[int, ...]) -> Case | None:
    _, _, _, targets, ranks, items = row
    pairs = [pair for pair in zip(ranks, targets, strict=True) if pair[1] not in dropped]
    if not pairs:
        return None
    is_new = [item % 2 == 0 for item in items]
    return Case([rank for rank, _ in pairs], [item for _, item in pairs], items, is_new)


def overall(found: Estimates) -> dict[tuple[str, str, int], np.ndarray]:
    return {(key[0], *key[3:]): own.values for key, own in found.items() if key[1] == "all"}


@pytest.mark.parametrize("dropped", [(), (UNKNOWN,), (UNKNOWN, *TAIL)])
def test_means_and_their_resamples_equal_plain_loops(
    spark: SparkSession, dropped: tuple[int, ...]
) -> None:
    items = dataclasses.replace(KNOWN, known_size=None if dropped == (UNKNOWN,) else TAIL[0])
    measuring = Measuring(items, COLUMNS, resamples=5, seed=9, drop_unknown=bool(dropped))
    cases = frame(spark, ROWS, seed=1, parts=3)
    found = overall(aggregate.estimates(cases, measuring))
    assert len(found) == 2 * len(COLUMNS)
    hashes = {
        row.user_id: row.hash
        for row in cases.select("user_id", F.xxhash64("user_id").alias("hash")).collect()
    }
    weights = {
        user: bootstrap.weights(np.array([number]), 5, 9)[0] for user, number in hashes.items()
    }
    assert any(0 in own for own in weights.values())
    for (system, metric, k), values in found.items():
        total, counted = np.zeros(6), np.zeros(6)
        for row in ROWS:
            case = case_of(row, dropped)
            if row[0] == system and case is not None:
                total += weights[row[1]] * by_hand(metric, case, KNOWN, k)
                counted += weights[row[1]]
        np.testing.assert_allclose(
            values, total / counted, atol=1e-12, err_msg=f"{system} {metric}"
        )


def test_order_and_number_of_parts_change_nothing(spark: SparkSession) -> None:
    measuring = Measuring(KNOWN, COLUMNS, resamples=20, seed=9)
    first = overall(aggregate.estimates(frame(spark, ROWS, seed=1, parts=1), measuring))
    second = overall(aggregate.estimates(frame(spark, ROWS, seed=2, parts=5), measuring))
    assert first.keys() == second.keys()
    for key, values in first.items():
        np.testing.assert_allclose(second[key], values, rtol=1e-12)


def test_slices_hold_the_targets_that_belong_to_them(spark: SparkSession) -> None:
    category = np.array([0, 1, 2, 3, 2, 3, 4, 4], np.int32)
    slicing = Slicing(
        test_start=DAY, seconds=2 * DAY, is_tail_item=np.arange(8) > 3,
        is_new_item=np.array([False] * 6 + [True] * 2), event_types=("view", "buy"),
        platforms=("web", "app"),
        category=category, category_names={2: "red", 3: "blue"},
    )  # fmt: skip
    measuring = Measuring(
        dataclasses.replace(KNOWN, known_size=TAIL[0]), COLUMNS,
        slice_columns=(("recall", 4),), slicing=slicing, resamples=2,
    )  # fmt: skip
    cases = frame(spark, ROWS, 1, 2)
    found = {
        key[:3]: own
        for key, own in aggregate.estimates(cases, measuring).items()
        if key[1] != "all"
    }
    counted = aggregate.users(cases.where("system = 'model'"), measuring)
    assert counted.pop(("all", "")) == len({row[1] for row in ROWS})
    assert set(counted) == {key[1:] for key in found}
    belongs = {
        ("items", "head"): lambda row, item: item in (2, 3),
        ("items", "tail"): lambda row, item: item > 3 and item not in TAIL,
        ("items", "unknown"): lambda row, item: item in (UNKNOWN, *TAIL),
        ("new_items", "new"): lambda row, item: item in (6, 7),
        ("new_items", "older"): lambda row, item: 1 < item < 6,
        ("new_items", "unknown"): lambda row, item: item == 1,
        ("category", "red"): lambda row, item: item in (2, 4),
        ("category", "blue"): lambda row, item: item in (3, 5),
        ("event_type", "view"): lambda row, item: True,
        ("platform", "unknown"): lambda row, item: platform_of(row[1], item) == 1,
        ("platform", "web"): lambda row, item: platform_of(row[1], item) == 2,
        ("platform", "app"): lambda row, item: platform_of(row[1], item) == 3,
        ("users", "returning"): lambda row, item: True,
        ("history", "up to 5"): lambda row, item: 3 * row[2] <= 5,
        ("history", "6–20"): lambda row, item: 3 * row[2] > 5,
        ("day", "1970-01-01"): lambda row, item: row[2] == 0,
        ("day", "1970-01-02"): lambda row, item: row[2] == 1,
        ("day", "1970-01-03"): lambda row, item: row[2] == 2,
    }
    assert {key[1:] for key in found} == set(belongs)
    for (system, name, value), estimate in found.items():
        recalls, users = [], set()
        for row in ROWS:
            own = [
                rank for rank, item in zip(row[4], row[3], strict=True)
                if row[0] == system and belongs[name, value](row, item)
            ]  # fmt: skip
            if own:
                recalls.append(sum(rank > 0 for rank in own) / len(own))
                users.add(row[1])
        assert counted[name, value] == len(users), (name, value)
        assert estimate.cases == len(recalls), (name, value)
        assert estimate.values[0] == pytest.approx(np.mean(recalls)), (name, value)


def test_a_worker_that_ranks_holds_few_histories_at_a_time(
    spark: SparkSession, place: Path, manifest: Manifest
) -> None:
    config = dataset.config(place, batch_rows=7)
    evaluation = Evaluation(spark, config, manifest, read_catalogue(spark, config, manifest), None)
    cases = evaluation.cases("test", [])
    rows = dataclasses.replace(evaluation, spark=cases.sparkSession).rows("test")
    assert rows.columns[-1] == "earlier"

    def sizes(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield pa.RecordBatch.from_pydict({"rows": [batch.num_rows]})

    found = [row.rows for row in rows.repartition(1).mapInArrow(sizes, "rows long").collect()]
    assert sum(found) == dataset.USERS
    assert max(found) <= 7
    known = evaluation.histories(("train",)).coalesce(1).mapInArrow(sizes, "rows long")
    assert max(row.rows for row in known.collect()) <= 7


def test_a_split_without_a_target_that_counts_is_an_error(
    spark: SparkSession, place: Path, manifest: Manifest
) -> None:
    config = dataset.config(place, references=("popular",), unknown_targets="drop", resamples=2)
    evaluation = Evaluation(spark, config, manifest, read_catalogue(spark, config, manifest), None)
    rows: list[Drawn] = [(name, "u", 0, [UNKNOWN], [0], [2, 3]) for name in ("model", "popular")]
    with pytest.raises(DataError, match="expected a target of split test that the model can know"):
        figures(frame(spark, rows, 1, 1), evaluation, np.zeros(manifest.vocabulary_size, np.int64))


def test_bands_of_popularity(spark: SparkSession) -> None:
    # The last but one is the most popular item, before 2 to 10; 11 and 12 are the next.
    counts = np.concatenate([[0, 0], np.arange(120, 20, -1), [500, 1]])
    items = Catalogue(counts, known_size=len(counts) - 1)
    rows: list[Drawn] = [
        ("model", "u", 0, [2, 12, 1, 103], [0, 0, 0, 0], [102, 11, 103]),
        ("popular", "u", 0, [2, 12, 1, 103], [0, 0, 0, 0], [2, 3, 4]),
    ]
    found = {
        (row.what, spread.band_names()[row.band]): row.events
        for row in spread.bands(frame(spark, rows, seed=1, parts=2), 2, "model", items).collect()
    }
    assert found == {
        ("bought", "1–10"): 1, ("bought", "11–100"): 1, ("bought", "unknown"): 2,
        ("model", "1–10"): 1, ("model", "11–100"): 1, ("popular", "1–10"): 2,
    }  # fmt: skip


@pytest.mark.parametrize(("learnt", "new"), [(("train",), [3, 4, 5]), (("train", "valid"), [4, 5])])
def test_new_items_are_of_the_end_of_what_was_learnt_from_or_of_never(
    spark: SparkSession, place: Path, manifest: Manifest, learnt: tuple[str, ...], new: list[int]
) -> None:
    config = dataset.config(place)
    catalogue = read_catalogue(spark, config, manifest)
    evaluation = Evaluation(spark, config, manifest, catalogue, None, learnt)
    # Train lasts three days, validation one more.
    first_seen = np.zeros(manifest.vocabulary_size, np.int64)
    first_seen[[3, 4, 5]] = 2.8 * DAY, 3.7 * DAY, NEVER
    found = slicing(evaluation, first_seen).is_new_item
    assert found is not None
    assert np.flatnonzero(found).tolist() == new


def test_popular_of_late_is_so_however_long_train_has_ended(
    spark: SparkSession, place: Path, manifest: Manifest
) -> None:
    """A half-life is a quarter of an hour, and train's last events are of a day before its end."""
    config = dataset.config(place, popular_recent=PopularRecent(half_life_days=0.01))
    catalogue = read_catalogue(spark, config, manifest)
    evaluation = Evaluation(spark, config, manifest, catalogue, None, ("train",))
    train = evaluation.training(evaluation.histories(("train",)))
    score = popular_recent(train).score
    last_day = Counter(item for steps in dataset.histories().values() for item in steps[2])
    counted = [last_day[item] for item in range(FIRST_ITEM, manifest.vocabulary_size)]
    assert max(counted) > 1
    assert np.unique(score[FIRST_ITEM:], return_inverse=True)[1].tolist() == (
        np.unique(counted, return_inverse=True)[1].tolist()
    )


def test_references_learn_of_users_who_have_no_row(spark: SparkSession, tmp_path: Path) -> None:
    """One step asks for nothing, and what a user did in the time of test is not learnt from."""
    manifest = dataset.write_dataset(tmp_path)
    place = Path(files.local_copy(manifest.url)) / "histories"
    visits = [stored("visitor", [(0, [7, 7]), (1, [9])], [0, 2])]
    config = dataset.config(tmp_path)
    catalogue = read_catalogue(spark, config, manifest)
    counts = []
    for part in range(2):
        dataset.write_stored(place, visits * part, part=1)
        evaluation = Evaluation(spark, config, manifest, catalogue, None, ("train",))
        counts.append(evaluation.training(evaluation.histories(("train",))).counts)
    assert np.flatnonzero(counts[1] - counts[0]).tolist() == [7]
    assert counts[1][7] - counts[0][7] == 2


def test_an_item_is_first_seen_with_its_first_event_or_never(
    spark: SparkSession, place: Path, manifest: Manifest
) -> None:
    config = dataset.config(place)
    evaluation = Evaluation(
        spark, config, manifest, read_catalogue(spark, config, manifest), None, ("train",)
    )
    train = evaluation.histories(("train",))
    found = Training(train, manifest.vocabulary_size).first_seen
    first: dict[int, int] = {}
    for steps in dataset.histories().values():
        for day, items in enumerate(steps[:3]):
            first |= {item: min(DAY * day, first.get(item, NEVER)) for item in items}
    assert found[FIRST_ITEM:].tolist() == [
        first.get(item, NEVER) for item in range(FIRST_ITEM, manifest.vocabulary_size)
    ]
    assert NEVER in found[FIRST_ITEM:]
    assert 0 in found[FIRST_ITEM:], "an instant like others"
