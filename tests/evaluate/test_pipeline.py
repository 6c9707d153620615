from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from recsys import files, pages, saved_model
from recsys.config import Evaluate, Paths
from recsys.config.evaluate import REFERENCE_NAMES
from recsys.config.references import Hybrid
from recsys.errors import ConfigError, DataError
from recsys.evaluate import metrics, pipeline
from recsys.evaluate.lists import Catalogue
from recsys.evaluate.references.hybrid import Hybrid as Blend
from recsys.evaluate.references.hybrid import choices, learn
from recsys.evaluate.references.system import places
from recsys.manifest import Manifest
from recsys.schemas import CASES, FIRST_ITEM, SEQUENCE_ARRAYS, UNKNOWN
from tests.evaluate import dataset
from tests.evaluate.dataset import AT, ITEMS, SETTINGS, USERS
from tests.evaluate.plain import Plain
from tests.evaluate.test_hybrid import table
from tests.evaluate.test_metrics import Case, by_hand

KNOWN_ITEMS = 4  # of a model that cannot know the others
LEARNT = ("matrix_factorization", "hybrid")
REFERENCES = tuple(name for name in REFERENCE_NAMES if name not in LEARNT)


def plain(settings: Evaluate) -> Plain:
    """The references, fitted on the first three steps of each user."""
    train = [steps[:3] for steps in dataset.histories().values()]
    attributes: list[dict] = [
        {FIRST_ITEM + index: values[index % len(values)] for index in range(ITEMS)}
        for values in dataset.ATTRIBUTES.values()
    ]
    attributes.append(
        {FIRST_ITEM + index: dataset.TAGS[index % len(dataset.TAGS)] for index in range(ITEMS)}
    )
    vectors = [
        {FIRST_ITEM + index: own for index, own in enumerate(values.tolist())}
        for values in dataset.vectors().values()
    ]
    return Plain(train, ITEMS, settings, attributes, vectors)


@pytest.mark.parametrize("name", REFERENCES)
def test_references_equal_plain_loops(report: Path, name: str) -> None:
    """All but two: what those have learnt is tested by itself."""
    by_loops = plain(SETTINGS)
    own = [case for case in pq.read_table(report / "cases").to_pylist() if case["system"] == name]
    assert len(own) == 2 * USERS
    for case in own:
        steps = dataset.histories()[case["user_id"]]
        user = list(dataset.histories()).index(case["user_id"])
        expected = by_loops.order(name, steps[: case["step"]], user)
        best = [item for item, _ in expected]
        assert case["recommended"] == best[: max(AT)], case
        keys = dict(expected)
        known = [item for item in case["targets"] if item in keys]
        others = [item for item in best if item not in known]
        order = sorted([*others, *known], key=lambda item: keys[item], reverse=True)
        for item, rank in zip(case["targets"], case["ranks"], strict=True):
            place = order.index(item) + 1 if item in keys else 0
            assert rank == (place if place <= max(AT) else 0), case


def test_cases_are_what_the_histories_say(report: Path) -> None:
    cases = pq.read_table(report / "cases").to_pylist()
    assert set(cases[0]) == set(CASES)
    assert len(cases) == (1 + len(SETTINGS.references)) * 2 * USERS
    histories = dataset.histories()
    for case in cases:
        steps = histories[case["user_id"]]
        before = [item for step in steps[: case["step"]] for item in step]
        assert sorted(case["targets"]) == sorted(steps[case["step"]])
        assert case["target_types"] == [FIRST_ITEM] * len(case["targets"])
        platform = dataset.platform_of(case["user_id"], case["step"])
        assert case["target_platforms"] == [platform] * len(case["targets"])
        assert case["timestamp"] == 86400 * case["step"]
        assert case["history_events"] == len(before)
        assert case["history_start"] == 0
        assert case["is_new"] == [item not in before for item in case["recommended"]]


def test_the_model_is_ranked_by_its_own_scores(
    report: Path, model: str, manifest: Manifest
) -> None:
    cases = pq.read_table(report / "cases").to_pylist()
    own = [case for case in cases if case["system"] == "model"]
    found = {(case["user_id"], case["step"]): case["recommended"] for case in own}
    assert found == lists_of(model, manifest, "test")


def lists_of(model: str, manifest: Manifest, split: str) -> dict[tuple[str, int], list[int]]:
    """The model's list of each user and step that a split asks for, by its own scores."""
    folder = Path(files.local_copy(manifest.url)) / "sequences"
    rows = pq.read_table(folder / f"split={split}").slice(0, USERS)
    arrays = {
        name: np.array(rows.column(name).to_pylist(), np.int32)
        for name in SEQUENCE_ARRAYS
        if name != "timestamp"
    }
    row, step, scores = saved_model.load(files.join(model, "export")).cases(arrays)
    best = np.argsort(-np.asarray(scores)[:, FIRST_ITEM:], axis=1, kind="stable") + FIRST_ITEM
    users = rows.column("user_id").to_pylist()
    first, *_ = dataset.PARTS[split]
    return {
        (users[int(row[case])], int(step[case]) + first): best[case, : max(AT)].tolist()
        for case in range(len(best))
    }


def test_the_hybrid_blends_what_the_others_list_as_validation_has_taught(
    report: Path, model: str, manifest: Manifest
) -> None:
    by_loops, names = plain(SETTINGS), SETTINGS.hybrid.systems
    of_model, rows = lists_of(model, manifest, "valid"), []
    for number, (user, steps) in enumerate(dataset.histories().items()):
        for name in names:
            listed = of_model[user, 3]
            if name != "model":
                listed = [item for item, _ in by_loops.order(name, steps[:3], number)]
            rows.append((user, name, steps[3], listed[: max(AT)]))
    weights = learn(choices(table(rows), names, max(AT)))
    blend = files.read_json(files.as_url(str(report / "metrics.json")))["blend"]
    assert blend == pytest.approx(dict(zip(names, weights, strict=True)), abs=1e-4)
    assert blend["own_items_recent"] > 0.1

    lists: dict[tuple[str, int], dict[str, list[int]]] = {}
    for case in pq.read_table(report / "cases").to_pylist():
        lists.setdefault((case["user_id"], case["step"]), {})[case["system"]] = case["recommended"]
    counts = np.array([by_loops.counts[item] for item in range(FIRST_ITEM + ITEMS)])
    blended = Blend(blend, max(AT), places(counts))
    assert len(lists) == 2 * USERS
    for own in lists.values():
        scores = blended.blended({name: np.array([own[name]], np.int32) for name in names})[0]
        best = np.argsort(-scores[FIRST_ITEM:], kind="stable") + FIRST_ITEM
        assert own["hybrid"] == best[: max(AT)].tolist()


def test_figures_are_means_over_the_cases(report: Path, manifest: Manifest) -> None:
    figures = files.read_json(files.as_url(str(report / "metrics.json")))
    cases = pq.read_table(report / "cases").to_pylist()
    assert figures["cases"] == 2 * USERS
    assert figures["users"] == USERS
    assert figures["unknown_targets"] == USERS
    counts = pq.read_table(files.local_copy(manifest.url) + "/vocabulary.parquet")
    known = Catalogue(np.array([0, 0, *counts.column("train_count").to_pylist()]))
    for system in ("model", *SETTINGS.references):
        own = [case for case in cases if case["system"] == system]
        for metric in metrics.available(known, has_vectors=False):
            for k in AT:
                values = [by_hand(metric, as_case(case), known, k) for case in own]
                found = figures["systems"][system][f"{metric}@{k}"]
                assert found == pytest.approx(np.mean(values)), (system, metric, k)
        covered = {item for case in own for item in case["recommended"][:2]}
        assert figures["systems"][system]["coverage@2"] == pytest.approx(len(covered) / ITEMS)


def test_a_case_is_on_the_platform_of_its_target(report: Path) -> None:
    figures = files.read_json(files.as_url(str(report / "metrics.json")))
    found = {part["value"]: part for part in figures["slices"] if part["slice"] == "platform"}
    assert list(found) == ["app", "unknown", "web"]
    cases = pq.read_table(report / "cases").to_pylist()
    for index, name in enumerate(("unknown", *dataset.PLATFORMS), UNKNOWN):
        own = [case for case in cases if case["system"] == "model"]
        own = [case for case in own if dataset.platform_of(case["user_id"], case["step"]) == index]
        assert found[name]["cases"] == len(own) > 0
        recall = np.mean([np.mean([rank > 0 for rank in case["ranks"]]) for case in own])
        assert found[name]["systems"]["model"]["recall@5"] == pytest.approx(recall)
    page = (report / "report.html").read_text()
    assert "where the list is asked for" in page
    # One user alone has no platform: nothing is sure of the slice, whatever is drawn again.
    assert [found[name]["users"] for name in ("app", "unknown", "web")] == [USERS - 1, 1, USERS - 1]
    alone, many = found["unknown"], found["app"]
    for system, own in alone["intervals"].items():
        assert set(own.values()) == {None}
        assert all(low <= high for low, high in many["intervals"][system].values())
    for own in alone["differences"].values():
        assert {(apart["low"], apart["p"]) for apart in own.values()} == {(None, None)}
    cases = alone["cases"]
    assert f'unknown</th><td class="n">{cases}</td><td class="n">1</td>' in page


def as_case(row: dict) -> Case:
    return Case(row["ranks"], row["targets"], row["recommended"], row["is_new"])


def test_the_page_says_whether_the_model_is_ahead_for_sure(report: Path) -> None:
    figures = files.read_json(files.as_url(str(report / "metrics.json")))
    page = (report / "report.html").read_text()
    of_model, of_hybrid, end = map(
        page.index, ("How far the model is ahead", "How far the hybrid is", "What the lists are")
    )
    assert page[of_model:of_hybrid].count("<tr>") == 1 + len(SETTINGS.references)
    _check_tests(page[of_model:of_hybrid], figures["differences"])
    assert set(figures["hybrid_differences"]) == set(SETTINGS.references) - {"hybrid"}
    hybrid, item_knn = (figures["systems"][name]["ndcg@5"] for name in ("hybrid", "item_knn"))
    apart = figures["hybrid_differences"]["item_knn"]["ndcg@5"]["difference"]
    assert apart == pytest.approx(hybrid - item_knn)
    _check_tests(page[of_hybrid:end], figures["hybrid_differences"])
    assert "10 times the users of test are drawn again" in page[of_model:of_hybrid]
    assert "the smallest that 10 draws can tell is 0.182" in page[of_model:of_hybrid]


def _check_tests(table: str, differences: dict) -> None:
    """The table has each difference with its interval and p."""
    for own in differences.values():
        for metric in ("recall", "hit_rate", "mrr", "ndcg"):
            found = own[f"{metric}@5"]
            low, high = (pages.figure(found[end]) for end in ("low", "high"))
            small = f"<small>{low} – {high}</small><small>p {found['p']:.3f}</small>"
            assert f"{found['difference']:+.4f}{small}" in table


def test_the_page_holds_all_that_it_shows(report: Path) -> None:
    page = (report / "report.html").read_text()
    assert "Three dozen users" in page
    assert page.count("data:image/svg+xml;base64,") == 10
    assert "10 rows &lt;had&gt; a fault" in page, "text of the data is escaped"
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:|#)""", page)
    assert "@import" not in page
    assert "url(" not in page
    assert (report / "config.yaml").read_text().startswith("name: Three dozen users")


def test_history_is_left_out_for_all_alike(other_report: Path) -> None:
    histories = dataset.histories()
    cases = pq.read_table(other_report / "cases").to_pylist()
    assert len(cases) == 4 * USERS
    for case in cases:
        row = {item for step in histories[case["user_id"]][3 : case["step"]] for item in step}
        assert not row & set(case["recommended"]), "the row begins with step 3"
        for item, rank in zip(case["targets"], case["ranks"], strict=True):
            assert not (item in row and rank), case


def test_a_model_of_another_vocabulary_is_refused(
    spark: SparkSession, tmp_path: Path, place: Path, manifest: Manifest
) -> None:
    dataset.write_model(tmp_path, manifest, fingerprint="another")
    config = dataset.config(place)
    paths = Paths(**{**vars(config.paths), "model": str(tmp_path / "model")})
    before = (place / "report").exists() and (place / "report" / "current.json").read_text()
    with pytest.raises(DataError, match=r"model\.json: expected .*0123456789abcdef.* another"):
        pipeline.run(spark, dataclasses.replace(config, paths=paths))
    after = (place / "report").exists() and (place / "report" / "current.json").read_text()
    assert after == before


def test_cases_that_the_manifest_does_not_count_are_an_error(
    spark: SparkSession, report: Path, manifest: Manifest
) -> None:
    cases = spark.read.parquet(str(report / "cases"))
    fewer = cases.where("not (system = 'model' and user_id = 'user-3')")
    with pytest.raises(
        DataError, match=f"expected {2 * USERS} cases .*model, found {2 * USERS - 2}"
    ):
        pipeline.check_cases(fewer, manifest)
    empty = dataclasses.replace(manifest.splits["test"], steps=0)
    nothing = dataclasses.replace(manifest, splits={**manifest.splits, "test": empty})
    with pytest.raises(DataError, match="expected target steps in split test, found none"):
        pipeline.check_cases(cases, nothing)


def test_references_learn_from_what_a_refitted_model_learnt_from(
    spark: SparkSession, tmp_path: Path
) -> None:
    manifest = dataset.write_dataset(tmp_path)
    dataset.write_model(tmp_path, manifest, trained_on=("train", "valid"), known_items=KNOWN_ITEMS)
    asked = Evaluate(
        at=AT,
        references=("popular", "own_items"),
        resamples=2,
        examples=0,
        unknown_targets="drop",
    )
    config = dataclasses.replace(dataset.config(tmp_path), evaluate=asked)
    report = Path(files.local_copy(pipeline.run(spark, config)))
    first_four = [steps[:4] for steps in dataset.histories().values()]
    popular = Plain(first_four, ITEMS, asked, []).order("popular", [])
    for case in pq.read_table(report / "cases").to_pylist():
        if case["system"] == "popular":
            assert case["recommended"] == [item for item, _ in popular][: max(AT)]
    _check_unknown_targets(report)

    blend = dataclasses.replace(
        asked, references=("popular", "hybrid"), hybrid=Hybrid(systems=("model", "popular"))
    )
    shutil.rmtree(Path(files.local_copy(manifest.url)) / "sequences")  # it is not even opened
    with pytest.raises(ConfigError, match="expected no hybrid"):
        pipeline.run(spark, dataclasses.replace(config, evaluate=blend))


def _check_unknown_targets(report: Path) -> None:
    """What the model cannot know it does not list, and it is left out for all systems."""
    figures = files.read_json(files.as_url(str(report / "metrics.json")))
    known = range(FIRST_ITEM, FIRST_ITEM + KNOWN_ITEMS)
    users, listed = set(), set()
    unknown, of_unknown_alone = 0, 0
    recalls: dict[str, list[float]] = {"model": [], "popular": [], "own_items": []}
    for case in pq.read_table(report / "cases").to_pylist():
        if case["system"] == "model":
            assert set(case["recommended"]) <= set(known)
            assert len(case["recommended"]) == KNOWN_ITEMS
        pairs = list(zip(case["targets"], case["ranks"], strict=True))
        own = [rank for item, rank in pairs if item in known]
        assert case["system"] != "model" or not any(
            rank for item, rank in pairs if item not in known
        )
        if own:
            users.add(case["user_id"])
            listed.update(case["recommended"] if case["system"] == "own_items" else ())
            recalls[case["system"]].append(sum(0 < rank <= max(AT) for rank in own) / len(own))
        if case["system"] == "model":
            unknown += len(pairs) - len(own)
            of_unknown_alone += not own
    assert (figures["unknown_targets"], figures["cases_of_unknown_alone"]) == (
        unknown, of_unknown_alone,
    )  # fmt: skip
    assert figures["measured_cases"] == len(recalls["model"]) > 0
    assert figures["measured_users"] == len(users)
    assert figures["systems"]["own_items"]["coverage@5"] == pytest.approx(len(listed) / ITEMS)
    bands = figures["frequency"]
    assert bands["shares"]["bought"][bands["bands"].index("unknown")] == 0
    cases = f"on average over {len(recalls['model'])} cases of {len(users)} users"
    assert cases in (report / "report.html").read_text()
    for system, values in recalls.items():
        assert figures["systems"][system]["recall@5"] == pytest.approx(np.mean(values))
