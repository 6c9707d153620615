"""Users are forgotten: a new version of the dataset without any row of theirs.

Their rows of sequences become rows of weight 0 where they stand, so that row groups stay equal:

    group 0    ann bob | cat +          bob is forgotten          ann + | cat +

What was counted over all users stays as it was: the counts of the vocabulary and of the categories,
the steps of the manifest, and which items are known at all.
"""

from __future__ import annotations

import dataclasses
import datetime
import logging
from collections.abc import Sequence
from functools import partial, reduce

from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from recsys import command, files, hashing, lock, manifest, tables
from recsys.arrays import pad
from recsys.config import Config
from recsys.errors import DataError
from recsys.manifest import Day, Manifest
from recsys.prepare import certificate, days, subjects, writing
from recsys.prepare.groups import in_groups
from recsys.prepare.instants import MICROSECONDS_PER_DAY
from recsys.prepare.listed import GONE, WHOSE, Listed, listed, names
from recsys.prepare.placing import Layout
from recsys.prepare.sessions import is_by_session
from recsys.prepare.split import SplitTimes
from recsys.prepare.work import Work, drafted
from recsys.schemas import QUARANTINE, SPLITS, ddl

log = logging.getLogger(__name__)

_BY = "jobs/forget.py"
_MOST_NAMED = 20
_REWRITTEN = ("sequences", "quarantine", files.MANIFEST)


def forget(spark: SparkSession, config: Config, users: str) -> Manifest:
    """Writes a version of the dataset without some users, and publishes it.

    Args:
        spark: the session
        config: of which the place of the dataset and the key of the ids count
        users: URL of a text with an id a line, as the log has it

    Raises:
        ConfigError: no key, or another one than that of the dataset
        DataError: no dataset, no ids, or none that it knows
    """
    with lock.held(config.paths.dataset, _BY) as held:
        former = manifest.read(config.paths.dataset)
        key = hashing.key_for(config.events, former.user_key)
        made_with = dataclasses.replace(_config_of(former), paths=config.paths)
        with drafted(spark, made_with) as work:
            result, unknown = _without(work, former, users, key)
            result.write()
            held.check()
    log.info("%s", _text(result, former, unknown))
    return result


def _config_of(former: Manifest) -> Config:
    """With which the version was made."""
    saved = files.local_copy(files.join(former.url, "config.yaml"))
    return command.parse(command.parser("forget", ""), ["--config", saved])[0]


def _without(
    work: Work, former: Manifest, users: str, key: hashing.Key | None
) -> tuple[Manifest, list[str]]:
    """The new version's manifest, and whom of those listed the former one does not know."""
    place, ids = former.url.rsplit("/versions/", 1)[0], names(users)
    events = days.read(work.spark, place, former.days) if former.days else None
    gone = listed(work, ids, former, key)
    known = _known(work, former, gone, events)
    unknown = sorted({row[WHOSE] for row in gone.users.collect()} - known)
    if not known:
        raise DataError(f"{users}: expected ids of {former.url}, found none of {len(ids)} there")
    histories = tables.read_whole(work.spark, files.join(former.url, "histories"))
    forgotten = gone.marked(histories).where(GONE).select(WHOSE).distinct().count()
    for name in files.names(former.url):
        if name not in _REWRITTEN:
            _carry_over(work, former, gone, name)
    quarantine = _quarantine(work, former, gone)
    placed = _placed(work, former, gone)
    steps_gone = _steps(placed.where(GONE))
    paths = {split: _write(work, former, placed, split) for split in SPLITS}
    on_disk = writing.read_back(work)
    sums, targets = writing.sums(on_disk), writing.file_targets(on_disk)
    stored_events = _stored_events(work, former, gone)
    planned = {split: former.splits[split].steps - steps_gone.get(split, 0) for split in SPLITS}
    left = tables.read_whole(work.spark, work.url("histories")).count()
    kept_days = former.days if events is None else _days(work, place, former, gone)
    made = dataclasses.replace(
        former,
        days=kept_days,
        url=work.version,
        created_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        users=left,
        content_fingerprint=writing.fingerprint(sums),
        splits={
            split: writing.section(_layout(former, split, sums.get(split)), paths[split],
                                   sums.get(split), targets)
            for split in SPLITS
        },
        steps=(*former.steps, manifest.Step(
            "users forgotten", former.users, left,
            f"histories: {forgotten} users of the {len(ids)} listed were known and are "
            "in no table any more; the steps above, vocabulary, categories and the events of days "
            "and types still count them"
        )),
        quarantine=quarantine,
        certificate=_certificate(work, former, on_disk, sums, planned, stored_events),
        forgotten_users=former.forgotten_users + forgotten,
    )  # fmt: skip
    return made, unknown


def _known(work: Work, former: Manifest, listed: Listed, events: DataFrame | None) -> set[str]:
    """Of whom that are listed anything is there; sequences are of those who have a history."""
    found = [listed.by_user().marked(events)] if events is not None else []
    for name in files.names(former.url):
        if name == "sequences" or name.endswith((".yaml", ".json")):
            continue
        table = tables.read_whole(work.spark, files.join(former.url, name))
        if "user_id" in table.columns:
            found.append(listed.of(name).marked(table))
    whose = [rows.where(GONE).select(WHOSE) for rows in found]
    return {row[0] for row in reduce(DataFrame.unionAll, whose).distinct().collect()}


def _carry_over(work: Work, former: Manifest, listed: Listed, name: str) -> None:
    """Writes a table without those who are gone; copies what is about nobody."""
    url = files.join(former.url, name)
    if not name.endswith((".yaml", ".json")):
        table = tables.read_whole(work.spark, url)
        if "user_id" in table.columns:
            tables.write(listed.of(name).left(table), work.url(name), tables.schema_of(table))
            return
    files.copy(url, work.url(name))


def _stored_events(work: Work, former: Manifest, listed: Listed) -> int:
    """Events of histories, and of what was before them, that stay."""
    left = [
        listed.of(name).left(tables.read_whole(work.spark, files.join(former.url, name)))
        for name in writing.FOLDERS.values()
    ]
    sizes = [rows.select(F.size("item").alias("events")) for rows in left]
    return int(reduce(DataFrame.unionAll, sizes).agg(F.sum("events")).collect()[0][0] or 0)


def _days(work: Work, place: str, former: Manifest, gone: Listed) -> tuple[Day, ...]:
    """Writes anew the kept days on which somebody was there who is gone."""
    events = days.read(work.spark, place, former.days)
    dates = days.dates(gone.by_user().marked(events).where(GONE))
    stay = tuple(day for day in former.days if day.date not in dates)
    if not dates:
        return stay
    touched = [day for day in former.days if day.date in dates]
    left = gone.by_user().left(days.read(work.spark, place, touched))
    found = days.counts(left)
    return (*stay, *(days.write(left, work.version, found) if found else ()))


def _quarantine(work: Work, former: Manifest, listed: Listed) -> dict[str, int]:
    """Rewrites it; of rows that cannot be read nobody knows whose they are, and all go."""
    rows = tables.read(work.spark, files.join(former.url, "quarantine"), QUARANTINE)
    left = listed.by_user().left(rows)
    if listed.as_logged:
        left = left.where(~F.startswith("reason", F.lit("row:")))
    kept = work.keep(left, "quarantine", QUARANTINE)
    return {row.reason: row["count"] for row in kept.groupBy("reason").count().collect()}


def _placed(work: Work, former: Manifest, listed: Listed) -> DataFrame:
    """SEQUENCES of all splits with their split, group and rank in it, and GONE."""
    rows = tables.read_with_places(work.spark, files.join(former.url, "sequences"))
    groups = work.spark.createDataFrame(
        [
            (split, group.path.rsplit("/", 1)[-1], place)
            for split in SPLITS
            for place, group in enumerate(former.splits[split].files)
        ],
        "split string, file string, group int",
    )
    return listed.marked(rows.join(F.broadcast(groups), on=["split", "file"], how="inner"))


def _steps(rows: DataFrame) -> dict[str, int]:
    """Target steps of rows by split."""
    of_target = F.zip_with("step", "target", lambda step, target: F.when(target == 1, step))
    steps = F.size(F.array_distinct(F.filter(of_target, Column.isNotNull)))
    found = rows.groupBy("split").agg(F.sum(steps).alias("steps"))
    return {row.split: row.steps for row in found.collect()}


def _layout(former: Manifest, split: str, row: Row | None) -> Layout:
    groups = former.splits[split].files
    return Layout(0 if row is None else row.rows, len(groups), groups[0].rows)


def _write(work: Work, former: Manifest, placed: DataFrame, split: str) -> tuple[str, ...]:
    """Writes a split with the rows that are gone as rows of weight 0."""
    plan = _layout(former, split, None)
    nothing = {
        "sequence_id": F.concat_ws("-", F.concat(F.lit("#"), "group"), "rank"),
        "user_id": F.lit(""),
        "weight": F.lit(0),
    }
    columns = []
    schema = _of_sequences(placed)
    for name, kind in schema.items():
        blank = nothing.get(name, F.transform(name, partial(_pad, pad(name))))
        column = F.when(F.col(GONE), blank.cast(kind)).otherwise(F.col(name))
        columns.append(column.alias(name))
    wide = placed.where(F.col("split") == split).select(*columns, "group", "rank")
    rows = dataclasses.replace(plan, rows=former.splits[split].rows)
    tasks = writing.group_tasks(work, rows, rows.rows * work.config.prepare.sequence_length)
    grouped = in_groups(wide, plan.groups, tasks).drop("group", "rank", "key")
    made = grouped.mapInArrow(tables.in_files(schema, plan.group_rows), ddl(tables.FILES))
    return writing.write_groups(work, made, schema, split, plan)


def _of_sequences(placed: DataFrame) -> dict[str, str]:
    added = ("split", "file", "group", "rank", "owner", WHOSE, GONE)
    return {name: kind for name, kind in tables.schema_of(placed).items() if name not in added}


def _pad(value: int, _: Column) -> Column:
    return F.lit(value)


def _certificate(
    work: Work, former: Manifest, on_disk: DataFrame, sums: dict[str, Row],
    planned: dict[str, int], events: int,
) -> dict[str, object]:  # fmt: skip
    """Made anew for what is about rows; what is about the vocabulary was, and is kept."""
    prepare = work.config.prepare
    checks = certificate.row_checks(sums, planned)
    buckets = subjects.buckets_of(former.users + sum(row.rows for row in sums.values()))
    found = subjects.seen(on_disk, writing.stored_back(work), buckets)
    times = None
    if former.valid_start is not None and former.test_start is not None:
        embargo = int(prepare.embargo_days * MICROSECONDS_PER_DAY)
        times = SplitTimes(former.valid_start, former.test_start, embargo)
        checks += certificate.time_checks(sums, times)
    of_sessions = times if is_by_session(work.config) else None
    checks += certificate.subject_checks(found, events, sums, prepare, of_sessions)
    before = former.certificate.get("before_removal", former.certificate["checks"])
    proof = certificate.certificate(checks)
    return {**proof, **certificate.ties(sums), "before_removal": before}


def _text(made: Manifest, former: Manifest, unknown: Sequence[str]) -> str:
    older = [name for name in files.versions(made.url.rsplit("/versions/", 1)[0])
             if name != made.url.rsplit("/", 1)[-1]]  # fmt: skip
    of_them = ", ".join(unknown[:_MOST_NAMED]) + (", …" if len(unknown) > _MOST_NAMED else "")
    named = f": {of_them}" if unknown and former.user_key is None else ""
    return (
        f"{made.forgotten_users - former.forgotten_users} users were known and are in no table of "
        f"{made.url}\n"
        f"listed, and in no table before: {len(unknown)}{named}\n"
        "still counted: the vocabulary, the categories, and the steps before, since they are sums\n"
        f"still there: the raw log, models, reports and lists made before, and {len(older)} older "
        f"versions of the dataset ({', '.join(older)}), which jobs/versions.py --of dataset "
        "--prune 1 removes"
    )
