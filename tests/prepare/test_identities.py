"""Several ids of one person are one user, or stay apart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from recsys.config import Config, EventColumns, Events, Identities
from recsys.errors import ConfigError, DataError
from recsys.hashing import Key
from recsys.prepare.checking import Checked, checked

LOG = [("web", "7"), ("app", "k"), ("app", "7"), ("mini", "7"), ("", "9"), ("web", "x")]
TABLE = [
    ("web", "7", "ann"), ("app", "k", "ann"), ("app", "k", "ann"),  # twice
    ("mini", "7", "bob"), ("web", "", "cat"), ("desk", "1", "ann"), ("", "", ""),
]  # fmt: skip
SECRET = "a key of the tests, long enough to be one"


def _csv(path: Path, head: str, rows: Iterable[tuple[str, ...]]) -> str:
    path.write_text("\n".join([head, *map(",".join, rows)]) + "\n")
    return str(path)


def _config(folder: Path, table: list[tuple[str, str, str]], **section: object) -> Config:
    log = _csv(folder / "log.csv", "where,who,what,when,visit", (
        (where, who, "tea", f"{1_700_000_000 + place}", "1")
        for place, (where, who) in enumerate(LOG)
    ))  # fmt: skip
    identities = Identities(
        path=(_csv(folder / "people.csv", "device,id,human", table),) if table else (),
        format="csv", options={"header": "true"}, platform="device", user_id="id", person="human",
    )  # fmt: skip
    columns = EventColumns(user_id="who", item_id="what", timestamp="when", platform="where")
    events = Events(
        path=(log,), format="csv", options={"header": "true"}, columns=columns,
        timestamp_unit="s", identities=replace(identities, **section),
    )  # fmt: skip
    return Config(events=events)


def _computed(frame: DataFrame, name: str, schema: dict[str, str]) -> DataFrame:
    return frame


def _users(found: Checked) -> list[str]:
    return [row.user_id for row in found.events.orderBy("timestamp").collect()]


def test_ids_of_a_person_are_one_user(spark: SparkSession, tmp_path: Path) -> None:
    found = checked(spark, _config(tmp_path, TABLE), _computed)
    assert _users(found) == ["ann", "ann", "7", "bob", "9", "x"]
    assert found.identities == {
        "rows": 7, "incomplete": 2, "duplicates": 1, "ids": 4, "conflicts": 0, "persons": 2,
    }  # fmt: skip
    step = {step.name: step for step in found.steps}["identities"]
    assert (step.rows_in, step.rows_out) == (7, 4)
    assert "4 ids of 2 persons; left out: 2 rows with a gap, 1 duplicates" in step.decision


def test_other_ids_may_stay_apart(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart = _config(tmp_path, TABLE, others="apart")
    expected = ["ann", "ann", "app:7", "bob", "9", "web:x"]
    assert _users(checked(spark, apart, _computed)) == expected
    monkeypatch.setenv("USER_KEY", SECRET)
    hashed = replace(apart, events=replace(apart.events, user_key_variable="USER_KEY"))
    key = Key(SECRET.encode())
    assert _users(checked(spark, hashed, _computed)) == [key.hashed(name) for name in expected]
    all_apart = checked(spark, _config(tmp_path, [], others="apart"), _computed)
    assert _users(all_apart) == ["web:7", "app:k", "app:7", "mini:7", "9", "web:x"]
    assert all_apart.identities == {}


@pytest.mark.parametrize(
    ("others", "expected"),
    [("together", ["1"] * 6), ("apart", ["web:1", "app:1", "app:1", "mini:1", "1", "web:1"])],
)
def test_sessions_stay_apart_where_ids_do(
    spark: SparkSession, tmp_path: Path, others: str, expected: list[str]
) -> None:
    config = _config(tmp_path, TABLE, others=others)
    columns = replace(config.events.columns, session_id="visit")
    named = replace(config, events=replace(config.events, columns=columns))
    events = checked(spark, named, _computed).events.orderBy("timestamp").collect()
    assert [row.session_id for row in events] == expected


def test_an_id_of_two_persons_is_refused_or_left(spark: SparkSession, tmp_path: Path) -> None:
    table = [*TABLE, ("web", "7", "bob")]
    expected = (
        r"people.csv: column 'human': .* found 1 ids of several, such as one of platform 'web'"
    )
    with pytest.raises(DataError, match=expected):
        checked(spark, _config(tmp_path, table), _computed)
    found = checked(spark, _config(tmp_path, table, conflicts="leave"), _computed)
    assert _users(found) == ["7", "ann", "7", "bob", "9", "x"]
    assert (found.identities["conflicts"], found.identities["ids"]) == (1, 3)


def test_what_the_table_needs_is_named(spark: SparkSession, tmp_path: Path) -> None:
    config = _config(tmp_path, TABLE)
    keeps_days = replace(config.prepare, days="keep")
    with pytest.raises(ConfigError, match=r"prepare.days: expected whole beside events.identities"):
        replace(config, prepare=keeps_days)
    with pytest.raises(ConfigError, match=r"events.columns.platform: expected a column, for"):
        Events(identities=Identities(path=("people",)))
    with pytest.raises(DataError, match=r"the column 'owner' \(events.identities.person\)"):
        checked(spark, _config(tmp_path, TABLE, person="owner"), _computed)
