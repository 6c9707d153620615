"""The subjects of each kind of list, in pieces that are scored and recorded one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsys import files, tables
from recsys.config import Config
from recsys.errors import DataError
from recsys.manifest import Manifest
from recsys.schemas import FIRST_ITEM, HISTORIES, VOCABULARY, with_inputs
from recsys.score import planning, subjects
from recsys.score.parts import Run
from recsys.score.plan import Plan

# Bytes of histories that go to a Python worker at once, about.
_BATCH_BYTES = 32 << 20
# Of an item's id with its index, about.
_PAIR_BYTES = 32


@dataclass(frozen=True)
class Piece:
    """Subjects that are scored together.

    Args:
        number: of the piece; the same files make the same pieces
        frame: as worker.scored takes them
        rows: how many there must be; none where nobody knows
        input: fingerprint of where they are from
    """

    number: int
    frame: DataFrame
    rows: int | None
    input: str


def pieces(
    spark: SparkSession, work: Run, plan: Plan, config: Config, dataset: Manifest
) -> Iterator[Piece]:
    """All subjects of the plan's kind of list.

    Raises:
        DataError: histories that are not there or not whole, or nobody who is given
    """
    if plan.kind == "similar":
        yield from _items(spark, plan, dataset)
    elif plan.kind == "pairs":
        yield from _pairs(spark, work, plan, config, dataset)
    else:
        yield from _histories(spark, work, plan, config, dataset)


def _items(spark: SparkSession, plan: Plan, dataset: Manifest) -> Iterator[Piece]:
    """Ranges of the vocabulary."""
    vocabulary = tables.read(spark, files.join(dataset.url, "vocabulary.parquet"), VOCABULARY)
    end = FIRST_ITEM + dataset.items
    for number, first in enumerate(range(FIRST_ITEM, end, plan.score.users_per_part)):
        last = min(first + plan.score.users_per_part, end) - 1
        items = vocabulary.where(F.col("item_index").between(first, last)).select("item_index")
        rows = last - first + 1
        frame = items.repartition(_tasks(spark, rows, plan))
        yield Piece(number, frame, rows, files.fingerprint([f"{first} {last}"]))


def _histories(
    spark: SparkSession, work: Run, plan: Plan, config: Config, dataset: Manifest
) -> Iterator[Piece]:
    """Each as many whole files of histories as hold enough subjects."""
    url, schema, stored = _stored(dataset)
    cut_after = planning.cut_after(config, dataset)
    score = config.score
    if score.rules.leave_out or score.subjects.path or score.fallback_by:
        url, schema = _staged(spark, work, config, dataset, url)
        stored = _not_empty(url, score.subjects.path)
        cut_after = None  # they are cut
    _limit_batches(spark, plan, dataset, len(schema))
    since = score.active_since
    earliest = None if since is None else planning.instant(since)
    for number, group in enumerate(_grouped(stored, plan.score.users_per_part)):
        rows = sum(group.values())
        histories = subjects.until(tables.read(spark, url, schema, list(group)), cut_after)
        frame = _spread(subjects.active(histories, earliest), rows, plan)
        yield Piece(number, frame, rows if earliest is None else None, _named(group))


def _stored(dataset: Manifest) -> tuple[str, dict[str, str], dict[str, list[int]]]:
    """Where the histories are, their columns, and the row groups of their files."""
    url = files.join(dataset.url, "histories")
    stored = tables.row_groups(url)
    if (found := sum(map(sum, stored.values()))) != dataset.users:
        raise DataError(f"{url}: expected the histories of {dataset.users}, found those of {found}")
    return url, with_inputs(HISTORIES, dataset.inputs), stored


def _pairs(
    spark: SparkSession, work: Run, plan: Plan, config: Config, dataset: Manifest
) -> Iterator[Piece]:
    """Those of the pairs, each with its items.

    Raises:
        DataError: there are no pairs, or not all histories
    """
    url, of_histories, _ = _stored(dataset)
    stored = tables.read(spark, url, of_histories)
    histories = subjects.until(stored, planning.cut_after(config, dataset))
    vocabulary = tables.read(spark, files.join(dataset.url, "vocabulary.parquet"), VOCABULARY)
    frame = subjects.with_candidates(histories, planning.pairs(spark, config), vocabulary)
    asked = {"candidate_id": "array<string>", "candidate": "array<int>", "is_first": "boolean"}
    schema = {**of_histories, **asked}
    url = work.staged("pairs", frame, schema, config.score.users_per_part)
    groups = _not_empty(url, config.score.pairs.path)
    bytes_of_pairs = subjects.CANDIDATES_A_ROW * _PAIR_BYTES
    _limit_batches(spark, plan, dataset, len(of_histories), bytes_of_pairs)
    for number, group in enumerate(_grouped(groups, plan.score.users_per_part)):
        rows = sum(group.values())
        frame = _spread(tables.read(spark, url, schema, list(group)), rows, plan)
        yield Piece(number, frame, rows, _named(group))


def _not_empty(url: str, given: tuple[str, ...]) -> dict[str, list[int]]:
    """The row groups of a staged table, which was made of given ones."""
    stored = tables.row_groups(url)
    if not any(map(sum, stored.values())):
        raise DataError(f"{', '.join(given)}: expected rows with ids, found none")
    return stored


def _limit_batches(
    spark: SparkSession, plan: Plan, dataset: Manifest, columns: int, more_bytes: int = 0
) -> None:
    row_bytes = 4 * columns * dataset.sequence_length + more_bytes
    in_batch = max(plan.score.batch_users, _BATCH_BYTES // row_bytes)
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", in_batch)


def _staged(
    spark: SparkSession, work: Run, config: Config, dataset: Manifest, url: str
) -> tuple[str, dict[str, str]]:
    """Joins the histories with what the configuration asks for, once for all pieces."""
    schema = with_inputs(HISTORIES, dataset.inputs)
    frame = subjects.until(tables.read(spark, url, schema), planning.cut_after(config, dataset))
    if config.score.subjects.path:
        wanted = planning.subjects(spark, config)
        schema["group"] = "string"
        new = subjects.newcomers(frame, wanted)
        join = subjects.chosen if config.score.subjects.only else subjects.grouped
        frame = join(frame, wanted).unionByName(new)
    if config.score.fallback_by == planning.PLATFORM:
        schema["group"] = "string"
        frame = subjects.with_own_platforms(frame, dataset.platforms)
    if config.score.rules.leave_out:
        since, now = planning.left_out_since(config, dataset), planning.as_of(config, dataset)
        frame = subjects.with_left_out(frame, _events(spark, dataset, frame), since, now)
        schema["left_out"] = "array<int>"
    return work.staged("subjects", frame, schema, config.score.users_per_part), schema


def _events(spark: SparkSession, dataset: Manifest, histories: DataFrame) -> DataFrame:
    """What was done, as far back as the dataset knows."""
    schema = with_inputs(HISTORIES, dataset.inputs)
    earlier = tables.read(spark, files.join(dataset.url, "earlier"), schema)
    return subjects.events_of(histories).unionByName(subjects.events_of(earlier))


def _grouped(stored: dict[str, list[int]], rows_per_part: int) -> Iterator[dict[str, int]]:
    """The files of each piece with their rows."""
    group: dict[str, int] = {}
    for path, groups in sorted(stored.items()):
        group[path] = sum(groups)
        if sum(group.values()) >= rows_per_part:
            yield group
            group = {}
    if any(group.values()):
        yield group


def _named(group: dict[str, int]) -> str:
    """The fingerprint of files: Spark gives others other names."""
    return files.fingerprint(f"{path} {rows}" for path, rows in group.items())


def _spread(frame: DataFrame, rows: int, plan: Plan) -> DataFrame:
    """What the worker reads, in enough partitions to keep every core at work."""
    narrow = subjects.inputs(frame, plan.arrays)
    tasks = _tasks(frame.sparkSession, rows, plan)
    return narrow if frame.rdd.getNumPartitions() >= tasks else narrow.repartition(tasks, "user_id")


def _tasks(spark: SparkSession, rows: int, plan: Plan) -> int:
    """Twice the cores, as some take longer; fewer where that makes blocks that are not full."""
    return max(1, min(2 * spark.sparkContext.defaultParallelism, rows // plan.score.batch_users))
