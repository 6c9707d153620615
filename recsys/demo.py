"""What `make demo` ends with: a short table, and a page of users with their recommendations.

python -m recsys.demo --config conf/demo.yaml
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as parquet
from jsonargparse import Namespace

from recsys import command, files, manifest, pages
from recsys.config import Config
from recsys.errors import DataError
from recsys.evaluate import words
from recsys.evaluate.summary import summary
from recsys.schemas import HISTORIES, RECOMMENDATIONS

USERS = 12
BASKETS = 3
BASKET_ITEMS = 12  # a large basket has a hundred
RECOMMENDED_ITEMS = 12
SHOWN_METRICS = ("recall", "ndcg", "mrr", "hit_rate", "coverage")

Row = dict[str, Any]


@dataclass(frozen=True)
class Item:
    """An item as the page shows it.

    Args:
        name: what it is
        details: its other attributes
        times: how often it is in the history
        score: the model's; none in a basket
    """

    name: str
    details: tuple[str, ...]
    times: int
    score: float | None = None


@dataclass(frozen=True)
class Basket:
    """The events of one step; `more` are not shown."""

    timestamp: int
    items: tuple[Item, ...]
    more: int


@dataclass(frozen=True)
class User:
    """A user as the page shows it; baskets from the latest on."""

    user_id: str
    events: int
    steps: int
    baskets: tuple[Basket, ...]
    recommended: tuple[Item, ...]


class Catalogue:
    """What the items are called.

    Args:
        items: the dataset's table of items
        attributes: the columns to show
    """

    def __init__(self, items: pa.Table, attributes: Sequence[str]) -> None:
        named = [name for name in pages.TITLES if name in attributes]
        self._name = named[0] if named else None
        self._details = [name for name in attributes if name != self._name]
        rows = items.select(["item_index", "item_id", *attributes]).to_pylist()
        self._of_index = {row["item_index"]: row for row in rows}
        self._of_id = {row["item_id"]: row for row in rows}

    def index(self, item_id: str) -> int:
        """The item's index in the vocabulary."""
        return int(self._of_id[item_id]["item_index"])

    def item(self, index: int, times: int, score: float | None = None) -> Item:
        """The item of an index of the vocabulary."""
        row = self._of_index.get(index)
        if row is None:
            return Item("an item too rare to be known", (), times, score)
        name = (row[self._name] if self._name else None) or row["item_id"]
        values = [row[detail] for detail in self._details]
        details = [", ".join(value) if isinstance(value, list) else value for value in values]
        return Item(
            pages.plain(name), tuple(pages.plain(text) for text in details if text), times, score
        )


def choose(histories: list[Row], count: int, seed: int) -> list[Row]:
    """Users drawn by the seed, spread evenly from short histories to long ones."""
    ordered = sorted(histories, key=lambda row: (row["events"], row["user_id"]))
    draw = np.random.default_rng(seed)
    parts = np.array_split(np.arange(len(ordered)), min(count, len(ordered)))
    return [ordered[int(draw.choice(part))] for part in parts]


def show(history: Row, recommended: Row, catalogue: Catalogue) -> User:
    """A user with the latest baskets and the recommendations.

    Args:
        history: a row of schemas.HISTORIES
        recommended: the user's row of schemas.RECOMMENDATIONS
        catalogue: of the dataset
    """
    steps: dict[int, list[int]] = {}
    when: dict[int, int] = {}
    for item, step, timestamp in zip(
        history["item"], history["step"], history["timestamp"], strict=True
    ):
        if step >= 0:
            steps.setdefault(step, []).append(item)
            when[step] = timestamp
    bought = [item for items in steps.values() for item in items]
    baskets = []
    for step in sorted(steps, reverse=True)[:BASKETS]:
        distinct = sorted(set(steps[step]))  # by popularity
        shown = [catalogue.item(item, bought.count(item)) for item in distinct[:BASKET_ITEMS]]
        baskets.append(Basket(when[step], tuple(shown), len(distinct) - len(shown)))
    best = list(zip(recommended["item_id"], recommended["score"], strict=True))
    indexes = [(catalogue.index(item_id), score) for item_id, score in best[:RECOMMENDED_ITEMS]]
    items = tuple(catalogue.item(item, bought.count(item), score) for item, score in indexes)
    return User(history["user_id"], len(bought), len(steps), tuple(baskets), items)


def read_table(url: str, columns: Sequence[str]) -> pa.Table:
    """The columns of all Parquet files of a folder.

    Raises:
        DataError: no file, or a column that is not there
    """
    fs, path = files.filesystem(url)
    found = sorted(name for name in fs.find(path) if name.endswith(".parquet"))
    if not found:
        raise DataError(f"{url}: expected Parquet files, found none")
    table = parquet.dataset(
        found, filesystem=fs, format="parquet", partitioning="hive", partition_base_dir=path
    )
    for column in columns:
        if column not in table.schema.names:
            raise DataError(
                f"{url}: expected the column {column}, found {', '.join(table.schema.names)}"
            )
    return table.to_table(list(columns))


def users(config: Config) -> list[User]:
    """The users of the page, from the dataset and the recommendations."""
    dataset = manifest.read(config.paths.dataset)
    scored = files.current(config.paths.recommendations, made_by="jobs/score.py")
    lists = read_table(files.join(scored, "home"), list(RECOMMENDATIONS)).to_pylist()
    home = {row["user_id"]: row for row in lists}
    histories = read_table(files.join(dataset.url, "histories"), list(HISTORIES)).to_pylist()
    without = [row["user_id"] for row in histories if row["user_id"] not in home]
    if without:
        raise DataError(
            f"{scored}: expected a list for each of the {len(histories)} users of {dataset.url}, "
            f"found none for {len(without)}, such as {without[0]!r}"
        )
    known = [{**row, "events": sum(step >= 0 for step in row["step"])} for row in histories]
    attributes = list(dataset.attributes)
    columns = ["item_index", "item_id", *attributes]
    catalogue = Catalogue(read_table(files.join(dataset.url, "items.parquet"), columns), attributes)
    chosen = choose(known, USERS, config.seed)
    return [show(row, home[row["user_id"]], catalogue) for row in chosen]


def table_of_systems(figures: dict[str, Any]) -> str:
    """The model and the references side by side, as text."""
    k = max(figures["at"])
    heads = [f"{words.METRICS[metric]}@{k}" for metric in SHOWN_METRICS]
    lines = [" " * 32 + "".join(f"{head:>13}" for head in heads)]
    for system, own in figures["systems"].items():
        values = [f"{own[f'{metric}@{k}']:>13.4f}" for metric in SHOWN_METRICS]
        lines.append(f"{words.SYSTEMS[system]:<32}" + "".join(values))
    return "\n".join(lines)


def table_of_seconds(text: str) -> str:
    """The seconds of each job and of all, from lines of a name and a number.

    >>> print(table_of_seconds("prepare 40\\ntrain 200\\n"))
    prepare         40 s
    train          200 s
    all            240 s
    """
    rows = [line.split() for line in text.splitlines() if line.strip()]
    rows.append(["all", str(sum(int(seconds) for _, seconds in rows))])
    return "\n".join(f"{name:<12}{seconds:>6} s" for name, seconds in rows)


def main(config: Config, options: Namespace) -> None:
    """Prints the table, the seconds and the paths, and writes the page."""
    evaluated = files.current(config.paths.report, made_by="jobs/evaluate.py")
    figures = files.read_json(files.join(evaluated, "metrics.json"))
    place = posixpath.dirname(files.as_url(config.paths.report))
    page = files.join(place, "recommendations.html")
    subject = (config.events.columns.user_id or "session").removesuffix("_id")
    shown = pages.render(
        "recommendations.html", name=config.name, subject=subject, users=users(config)
    )
    files.write_bytes(page, shown.encode())
    print(f"\n{summary(figures)}\n\n{table_of_systems(figures)}\n")
    seconds = files.join(place, "seconds.txt")
    if files.exists(seconds):
        print(table_of_seconds(files.read_bytes(seconds).decode()) + "\n")
    written = {
        "dataset": files.current(config.paths.dataset, made_by="jobs/prepare.py"),
        "model": files.current(config.paths.model, made_by="jobs/train.py"),
        "recommendations": files.current(config.paths.recommendations, made_by="jobs/score.py"),
        "report": files.join(evaluated, "report.html"),
        "some users": page,
    }
    for name, url in written.items():
        print(f"{name:<16} {url.removeprefix('file://')}")


if __name__ == "__main__":
    command.run("demo", "A short table of the run, and a page of recommendations.", main)
