from __future__ import annotations

import dataclasses
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from jsonargparse import Namespace

from recsys import demo, files
from recsys.config import Config, Items
from recsys.errors import DataError
from recsys.evaluate import report
from recsys.manifest import Manifest
from recsys.schemas import FIRST_ITEM, UNKNOWN
from tests.evaluate import dataset
from tests.evaluate.rows import DAY, stored


def history(user: str, steps: list[list[int]]) -> dict:
    return stored(user, list(enumerate(steps)), [0] * len(steps))


def recommended(user: str, items: list[int]) -> dict:
    return {
        "list": "home",
        "user_id": user,
        "item_id": [f"item-{item}" for item in items],
        "score": [float(-place) for place in range(len(items))],
        "source": ["model"] * len(items),
    }


def publish(place: Path, table: pa.Table) -> None:
    version = files.new_version(str(place))
    folder = Path(files.local_copy(version)) / "home" / "date=2017-12-01"
    folder.mkdir(parents=True)
    pq.write_table(table, folder / "part-0.parquet")
    files.publish(version)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return dataset.write_dataset(tmp_path)


@pytest.fixture
def config(tmp_path: Path, manifest: Manifest) -> Config:
    """All that the four jobs leave behind, of twelve users."""
    settings = dataset.config(tmp_path)
    histories = [history(user, steps[:3]) for user, steps in dataset.histories().items()]
    folder = Path(files.local_copy(manifest.url)) / "histories"
    pq.write_table(pa.Table.from_pylist(histories), folder / "part-0.parquet")
    lists = [recommended(user, steps[0]) for user, steps in dataset.histories().items()]
    publish(tmp_path / "recommendations", pa.Table.from_pylist(lists))
    publish(tmp_path / "model", pa.table({}))
    version = files.new_version(settings.paths.report)
    value = {f"{metric}@{k}": 0.25 for metric in report.METRICS for k in (2, 5)}
    systems = {"model": {**value, "recall@5": 0.5}, "popular": value}
    figures = {"at": [2, 5], "measured_cases": 1234, "measured_users": 12, "systems": systems}
    files.write_json(files.join(version, "metrics.json"), figures)
    files.publish(version)
    items = Items(path=("products.json",), attributes={"colour": "category"})
    return dataclasses.replace(settings, items=items)


def test_the_table_the_seconds_and_the_paths_are_printed(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "seconds.txt").write_text("prepare 40\ntrain 200\n")
    demo.main(config, Namespace())
    printed = capsys.readouterr().out
    assert "finds 50.0% of what a user takes next" in printed
    assert "1,234 cases of 12 users" in printed
    assert "the model finds 2.0 times as much" in printed
    lines = [line.split() for line in printed.splitlines()]
    assert ["the", "model", "0.5000", "0.2500", "0.2500", "0.2500", "0.2500"] in lines
    assert ["all", "240", "s"] in lines
    for name in ("dataset", "model", "recommendations", "report"):
        (path,) = [Path(line[-1]) for line in lines if line[:1] == [name]]
        assert path.is_relative_to(tmp_path / name)
    assert (tmp_path / "recommendations.html").exists()


def test_the_page_shows_users_and_loads_nothing(config: Config, tmp_path: Path) -> None:
    demo.main(config, Namespace())
    page = (tmp_path / "recommendations.html").read_text()
    shown = [page.count(f"<h2>User {user}</h2>") for user in dataset.histories()]
    assert sorted(shown, reverse=True) == [1] * demo.USERS + [0] * (len(shown) - demo.USERS)
    assert "http" not in page
    assert "src=" not in page


def test_users_are_spread_from_short_histories_to_long_ones() -> None:
    rows = [{"user_id": f"{events:03}", "events": events} for events in range(100)]
    chosen = demo.choose(rows[::-1], 10, seed=3)
    assert [row["events"] // 10 for row in chosen] == list(range(10))
    assert chosen == demo.choose(rows, 10, seed=3)
    assert chosen != demo.choose(rows, 10, seed=4)
    assert demo.choose(rows[:2], 10, seed=3) == rows[:2]


def test_a_user_is_shown_with_what_was_bought_before() -> None:
    items = pa.table(
        {
            "item_index": pa.array([2, 3, 4], pa.int32()),
            "item_id": ["a", "b", "c"],
            "department": ["DAIRY", "DAIRY", None],
            "product_type": ["FLUID MILK", "Cheese", None],
        }
    )
    catalogue = demo.Catalogue(items, ["department", "product_type"])
    steps = [[2], [2, 2, UNKNOWN], [3], [2, 3]]
    lists = {"item_id": ["a", "c"], "score": [1.5, 0.5]}
    shown = demo.show(history("u", steps), lists, catalogue)
    assert (shown.events, shown.steps) == (7, 4)
    assert shown.recommended == (
        demo.Item("Fluid milk", ("Dairy",), 4, 1.5),
        demo.Item("c", (), 0, 0.5),
    )
    assert [basket.timestamp for basket in shown.baskets] == [3 * DAY, 2 * DAY, DAY]
    assert [item.name for item in shown.baskets[2].items] == [
        "an item too rare to be known",
        "Fluid milk",
    ]


def test_large_baskets_are_cut_and_say_so() -> None:
    many = list(range(FIRST_ITEM, FIRST_ITEM + 20))
    items = pa.table({"item_index": many, "item_id": [str(item) for item in many]})
    own = {"user_id": "u", "item": many, "step": [0] * 20, "timestamp": [0] * 20}
    shown = demo.show(own, {"item_id": [], "score": []}, demo.Catalogue(items, []))
    (basket,) = shown.baskets
    assert len(basket.items) + basket.more == 20
    assert basket.more > 0


def test_another_run_s_recommendations_are_an_error(config: Config, tmp_path: Path) -> None:
    publish(tmp_path / "recommendations", pa.Table.from_pylist([recommended("nobody", [2])]))
    with pytest.raises(DataError, match=r"expected a list for each of the 36 users .* none for 36"):
        demo.main(config, Namespace())
    lists = [recommended(user, steps[0]) for user, steps in dataset.histories().items()]
    publish(tmp_path / "recommendations", pa.Table.from_pylist(lists[1:]))
    with pytest.raises(DataError, match="found none for 1, such as 'user-"):
        demo.main(config, Namespace())
    publish(tmp_path / "recommendations", pa.table({"user_id": ["u"]}))
    with pytest.raises(DataError, match="expected the column list, found user_id"):
        demo.main(config, Namespace())
