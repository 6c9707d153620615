"""Users who are forgotten are in no table any more, and nobody else's rows change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from operator import itemgetter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from recsys import files, manifest, tables
from recsys.config import Config, EventColumns, Identities
from recsys.errors import ConfigError, DataError
from recsys.hashing import Key
from recsys.manifest import Manifest
from recsys.prepare import pipeline, removal
from recsys.prepare.listed import Listed
from recsys.prepare.removal import forget
from recsys.prepare.work import Work
from recsys.schemas import FIRST_ITEM, SEQUENCE_ARRAYS, SPLITS
from tests.prepare.small import DAY, log_rows, small_config, write_csv

KEY = "a key of the tests, long enough to be one"
LISTED = {"u3", "u7", "u11"}
MAIL = "ann@shop.example"  # in a column that nothing is mapped to
BAD = [("u3", "i01", "view", "soon", "1", MAIL), ("u4", "i01", "view", "soon", "1", MAIL)]


@pytest.fixture(scope="module")
def _key() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOP_USER_KEY", KEY)
        yield


def _users(folder: Path, *names: str) -> str:
    (folder / "users.txt").write_text("\n".join([*names, "", "stranger"]))
    return str(folder / "users.txt")


@pytest.fixture(scope="module")
def config(_key: None, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Sequences of sessions, whose names say whose they are."""
    folder = tmp_path_factory.mktemp("hashed")
    log = write_csv(folder / "log.csv", [*BAD, *log_rows(users=12)])
    config = small_config(folder, log, max_fault_share=0.1, user_key_variable="SHOP_USER_KEY")
    columns = replace(config.events.columns, quantity=None)
    config = replace(config, events=replace(config.events, columns=columns))
    prepare = replace(
        config.prepare, sequence_unit="session", target_event_types=("view", "cart"),
        sequence_length=6, sequence_target_events=3,
    )  # fmt: skip
    return replace(config, prepare=prepare)


@pytest.fixture(scope="module")
def made(spark: SparkSession, config: Config) -> Manifest:
    return pipeline.run(spark, config)


@pytest.fixture(scope="module")
def left(spark: SparkSession, config: Config, made: Manifest) -> Manifest:
    folder = Path(config.paths.dataset).parent
    return forget(spark, config, _users(folder, *LISTED))


def _files(made: Manifest) -> list[Path]:
    folder = Path(files.local_copy(made.url))
    return [path for path in folder.rglob("*") if path.is_file()]


def _text(made: Manifest) -> str:
    """All that the version's files say."""
    tables = [pq.read_table(path).to_pylist() for path in _files(made) if path.suffix == ".parquet"]
    texts = [path.read_text() for path in _files(made) if path.suffix in (".json", ".yaml")]
    return "\n".join([*map(str, tables), *texts])


def _groups(made: Manifest, split: str) -> list[list[dict]]:
    return [pq.read_table(files.local_copy(url)).to_pylist() for url in made.file_urls(split)]


def _owner(row: dict) -> str:
    return row["user_id"].split("-")[0]


def test_ids_are_hashes_and_the_key_is_nowhere(made: Manifest) -> None:
    text, key = _text(made), Key(KEY.encode())
    assert (made.user_ids, made.user_key) == ("HMAC-SHA256", key.fingerprint)
    histories = pq.read_table(files.local_copy(files.join(made.url, "histories")))
    users = {f"u{number}" for number in range(12)}
    owners = {name.split("-")[0] for name in histories["user_id"].to_pylist()}
    assert owners == {key.hashed(user) for user in users}
    for user in users:
        assert f"'{user}" not in text
        assert f'"{user}"' not in text
    assert KEY not in text
    assert MAIL not in text


def test_histories_and_what_was_before_them_hold_every_event_once(made: Manifest) -> None:
    items, earlier, histories = (
        pq.read_table(files.local_copy(files.join(made.url, name))).to_pylist()
        for name in ("vocabulary.parquet", "earlier", "histories")
    )
    names = {row["item_index"]: row["item_id"] for row in items}
    assert 0 < len({row["user_id"] for row in earlier}) < len(histories)
    found = Counter(
        (names[item], made.event_types[kind - FIRST_ITEM], when)
        for row in [*earlier, *histories]
        for item, kind, when in zip(row["item"], row["event_type"], row["timestamp"], strict=True)
        if item >= FIRST_ITEM
    )
    logged = Counter(
        (item, action, int(when))
        for _, item, action, when, *_ in log_rows(users=12)
        if item in names.values()
    )
    assert found == logged


def _checks(made: Manifest) -> set[str]:
    return {check["name"] for check in made.certificate["checks"]}


def test_the_forgotten_are_in_no_table(made: Manifest, left: Manifest, config: Config) -> None:
    text, key = _text(left), Key(KEY.encode())
    for user in LISTED:
        assert key.hashed(user) in _text(made)
        assert key.hashed(user) not in text
    assert key.hashed("u4") in text
    assert made.quarantine == {"timestamp: not a time": 2}
    assert left.quarantine == {"timestamp: not a time": 1}
    assert left.forgotten_users == 3 < made.users - left.users  # sessions
    assert "3 users of the 4 listed" in left.steps[-1].decision
    assert manifest.read(config.paths.dataset) == left  # published
    assert left.certificate["holds"]
    of_sessions = {name for name in _checks(made) if "session" in name}
    assert of_sessions
    assert of_sessions <= _checks(left)


def test_row_groups_stay_equal_and_the_others_where_they_were(
    made: Manifest, left: Manifest
) -> None:
    gone = {Key(KEY.encode()).hashed(user) for user in LISTED}
    for split in SPLITS:
        before, after, section = _groups(made, split), _groups(left, split), left.splits[split]
        rows = [row for group in after for row in group]
        assert len({row["sequence_id"] for row in rows}) == len(rows)
        assert any(_owner(row) in gone for group in before for row in group)
        for old, new, file in zip(before, after, section.files, strict=True):
            assert len(new) == file.rows == made.splits[split].files[0].rows
            assert sum(sum(row["target"]) for row in new) == file.targets
            for was, row in zip(old, new, strict=True):
                if _owner(was) not in gone:
                    assert row == was
                else:
                    assert (row["user_id"], row["weight"]) == ("", 0)
                    assert {name: row[name] for name in SEQUENCE_ARRAYS} == {
                        name: [-1 if name == "step" else 0] * len(was["step"])
                        for name in SEQUENCE_ARRAYS
                    }
        weights = [row["weight"] for row in rows]
        assert (section.rows, section.fillers) == (weights.count(1), weights.count(0))
        assert section.targets == sum(file.targets for file in section.files)
        assert 0 < section.steps < made.splits[split].steps


def test_what_is_lost_of_those_who_stay_is_seen(
    config: Config, left: Manifest, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    carry_over = removal._carry_over

    def loses(work: Work, former: Manifest, gone: Listed, name: str) -> None:
        if name != "histories":
            carry_over(work, former, gone, name)
            return
        rows = tables.read_whole(spark, files.join(former.url, name))
        kept = gone.of(name).left(rows)
        tables.write(kept.limit(kept.count() - 1), work.url(name), tables.schema_of(rows))

    monkeypatch.setattr(removal, "_carry_over", loses)
    users = _users(Path(config.paths.dataset).parent, "u5")
    with pytest.raises(DataError, match=r"events of histories and earlier ones: expected \d+, fou"):
        forget(spark, config, users)
    assert manifest.read(config.paths.dataset) == left


def test_another_key_or_none_is_refused(
    config: Config, left: Manifest, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = _users(Path(config.paths.dataset).parent, "u1")
    nobody = write_csv(Path(users).with_name("nobody.txt"), [], header=False)
    with pytest.raises(DataError, match=r"expected ids of users, one a line, found none"):
        forget(spark, config, str(nobody))
    nobody.write_text("stranger\n")
    with pytest.raises(DataError, match=r"nobody.txt: expected ids of .* found none of 1 there"):
        forget(spark, config, str(nobody))
    monkeypatch.setenv("SHOP_USER_KEY", KEY[::-1])
    with pytest.raises(ConfigError, match=r"by which the dataset's user ids are hashed"):
        forget(spark, config, users)
    monkeypatch.delenv("SHOP_USER_KEY")
    for work in (lambda: forget(spark, config, users), lambda: pipeline.run(spark, config)):
        with pytest.raises(ConfigError, match=r"variable SHOP_USER_KEY, found none"):
            work()
    assert manifest.read(config.paths.dataset) == left
    assert not any("lock" in name for name in files.names(files.as_url(config.paths.dataset)))


def test_ids_of_every_platform_and_the_logs_own_sessions_are_forgotten(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = ["where,who,visit,what,when"]
    for number, (user, *_, time, _, _) in enumerate(sorted(log_rows(users=8), key=str)):
        platform = ("web", "app")[number % 2]
        visit = f"v{user}{platform}{int(time) // DAY}"
        rows.append(f"{platform},{user[1:]},{visit},i{number % 9},{time}")
    (tmp_path / "log.csv").write_text("\n".join(rows) + "\n")
    columns = EventColumns(
        user_id="who", session_id="visit", item_id="what", timestamp="when", platform="where",
        event_type=None,
    )  # fmt: skip
    config = small_config(
        tmp_path, tmp_path / "log.csv", columns=columns, identities=Identities(others="apart")
    )
    config = replace(config, prepare=replace(config.prepare, sequence_unit="session"))
    made = pipeline.run(spark, config)
    assert made.platforms_apart == ("app", "web")
    with caplog.at_level("INFO"):
        left = forget(spark, config, _users(tmp_path, "7", "web:3"))
    assert "listed, and in no table before: 1: stranger" in caplog.text
    assert left.forgotten_users == 2
    before, after = (pq.read_table(files.local_copy(files.join(of.url, "owners"))).to_pylist()
                     for of in (made, left))  # fmt: skip
    gone = [row for row in before if row["user_id"] in ("web:7", "app:7", "web:3")]
    assert len(gone) > 3
    key = itemgetter("session_id")
    assert sorted(after, key=key) == sorted([row for row in before if row not in gone], key=key)
    text = _text(left)
    for row in gone:
        assert f"'{row['session_id']}" not in text
    assert "'app:3'" in text
