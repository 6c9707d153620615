"""Writes the rows of the splits and the histories, and reads back what was written."""

from __future__ import annotations

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from recsys import tables
from recsys.errors import DataError
from recsys.manifest import GroupFile, Split
from recsys.prepare.facts import FACTS, facts
from recsys.prepare.groups import Layout, bucket_sizes, drawn, grouped, layout, padded
from recsys.prepare.rows import HISTORY
from recsys.prepare.work import Work
from recsys.schemas import HISTORIES, SEQUENCES, SPLITS

# Spark numbers the files of one task with three digits; more would not sort by name.
_FILES_PER_TASK = 500


def write_splits(work: Work, rows: DataFrame) -> dict[str, tuple[Layout, tuple[GroupFile, ...]]]:
    """Writes every split as equal row groups, one a file, whose names sort by group.

    Args:
        work: where to
        rows: ROWS of all kinds

    Raises:
        DataError: a file that is not one row group of the planned size
    """
    prepare = work.config.prepare
    in_order = drawn(rows, work.config.seed)
    sizes = bucket_sizes(in_order.where(F.col("kind") != HISTORY))
    plans = {}
    for split in SPLITS:
        of_split = sizes[sizes["kind"] == split]
        count = int(of_split["count"].sum())
        plan = layout(count, prepare.rows_per_group, prepare.groups_multiple_of)
        tasks = max(work.tasks(count * prepare.sequence_length), plan.groups // _FILES_PER_TASK + 1)
        placed = grouped(
            in_order.where(F.col("kind") == split), of_split, plan, min(tasks, plan.groups)
        )
        plans[split] = (plan, _write_groups(work, placed, split, plan))
    return plans


def _write_groups(work: Work, placed: DataFrame, split: str, plan: Layout) -> tuple[GroupFile, ...]:
    folder = f"sequences/split={split}"
    wide = padded(placed, work.config.prepare.sequence_length, SEQUENCES)
    tables.write(wide, work.url(folder), SEQUENCES, rows_per_file=plan.group_rows)
    found = tables.row_groups(work.url(folder))
    if list(found.values()) != [[plan.group_rows]] * plan.groups:
        raise DataError(
            f"{work.url(folder)}: expected {plan.groups} files of one row group of "
            f"{plan.group_rows} rows, found {len(found)} files with {sorted(found.values())[-1]}"
        )
    return tuple(GroupFile(f"{folder}/{path}", plan.group_rows) for path in found)


def write_histories(work: Work, rows: DataFrame) -> Row:
    """Writes the latest events of every subject.

    Returns:
        users, cut_events, and the steps of each split to ask for, counted before the cutting
    """
    latest = rows.where(F.col("kind") == HISTORY)
    work.keep(
        padded(latest, work.config.prepare.sequence_length, HISTORIES), "histories", HISTORIES
    )
    counted = [F.sum(name).alias(name) for name in ("cut_events", *(f"{s}_steps" for s in SPLITS))]
    most = F.max(F.array_max("step") + 1).alias("most_steps")
    return latest.agg(F.count(F.lit(1)).alias("users"), most, *counted).collect()[0]


def read_back(work: Work) -> DataFrame:
    """FACTS of the rows of all splits, as they are on disk."""
    schema = {**SEQUENCES, "split": "string"}
    written = tables.read(work.spark, work.url("sequences"), schema)
    return work.stage(facts(written, work.config.prepare.sequence_length), "facts", FACTS)


def sums(written: DataFrame) -> dict[str, Row]:
    """One row of sums over FACTS a split; splits without rows are absent."""
    total = [F.sum(name).alias(name) for name in (
        "case_steps", "targets", "unknown_targets", "falling_times", "targets_without_input",
    )]  # fmt: skip
    most = [F.max(name).alias(name) for name in (
        "most_steps", "most_step_events", "most_case_targets", "last_time",
    )]  # fmt: skip
    rows = written.groupBy("split").agg(
        F.count(F.lit(1)).alias("rows"),
        F.min("first_target_time").alias("first_target_time"),
        F.sum(F.col("hash").cast("decimal(20,0)")).alias("hash"),
        *total,
        *most,
    )
    return {row.split: row for row in rows.collect()}


def split_of(plan: Layout, group_files: tuple[GroupFile, ...], row: Row | None) -> Split:
    """The split's section of the manifest."""
    counts = (0, 0, 0) if row is None else (row.case_steps, row.targets, row.unknown_targets)
    return Split(group_files, plan.rows, plan.fillers, *counts)
