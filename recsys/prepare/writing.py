"""Writes the rows of the splits and the histories, and reads back what was written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from recsys import files, tables
from recsys.errors import DataError
from recsys.manifest import GroupFile, Split
from recsys.prepare.events import input_arrays, sequence_arrays
from recsys.prepare.facts import FACTS, LEAST, MOST, SUMS, facts
from recsys.prepare.groups import (
    bucket_sizes,
    drawn,
    grouped,
    in_group_files,
    in_history_files,
    widths,
)
from recsys.prepare.placing import Layout, layout
from recsys.prepare.rows import EARLIER, HISTORY, packing
from recsys.prepare.stored import STORED, stored
from recsys.prepare.work import Work, together
from recsys.schemas import HISTORIES, SEQUENCES, SPLITS, with_inputs

# Spark numbers the files of a task with three digits; more would not sort by name.
_FILES_PER_TASK = 500

# Folders of what belongs to no split, by its kind.
FOLDERS = {HISTORY: "histories", EARLIER: "earlier"}


@dataclass(frozen=True)
class Written:
    """What was written.

    Args:
        plans: the layout of each split
        files: the paths of each split's files, in their order
        users: histories
        cut_events: left out of steps that were too large
        stray_events: of no split, since their session started in another one
        planned_steps: target steps of each split, counted before the cutting
        most_steps: of a history
        most_step_events: of a history's step
    """

    plans: dict[str, Layout]
    files: dict[str, tuple[str, ...]]
    users: int
    cut_events: int
    stray_events: int
    planned_steps: dict[str, int]
    most_steps: int
    most_step_events: int

    def split(self, split: str, row: Row | None, targets: dict[str, int]) -> Split:
        """The split's section of the manifest, with what sums() and file_targets() say of it."""
        return section(self.plans[split], self.files[split], row, targets)


def section(
    plan: Layout, paths: tuple[str, ...], row: Row | None, targets: dict[str, int]
) -> Split:
    """A split's section of the manifest.

    Args:
        plan: of its rows
        paths: of its files, in their order
        row: of sums(); none where the split has no rows
        targets: of file_targets()
    """
    names = ("case_steps", "targets", "unknown_targets", "labels", "bought")
    counts = [0 if row is None else row[name] for name in names]
    groups = tuple(GroupFile(path, plan.group_rows, targets.get(path, 0)) for path in paths)
    return Split(groups, plan.rows, plan.fillers, *counts)


def write_rows(work: Work, rows: DataFrame) -> Written:
    """Writes the splits as equal row groups, one a file, whose names sort by group; and HISTORIES.

    Args:
        work: where to
        rows: of sequences.cut(), staged as "rows"

    Raises:
        DataError: a file that is not one row group of the planned size
    """
    prepare, arrays = work.config.prepare, sequence_arrays(work.config)
    packed = packing(arrays)
    in_order = drawn(rows, work.config.seed)
    sizes = bucket_sizes(in_order)
    plans: dict[str, Layout] = {}
    writes: list[Callable[[], Any]] = []
    for split in SPLITS:
        of_split = sizes[sizes["kind"] == split]
        count = int(of_split["rows"].sum())
        plan = layout(count, prepare.rows_per_group, prepare.groups_multiple_of)
        tasks = group_tasks(work, plan)
        placed = grouped(in_order.where(F.col("kind") == split), of_split, plan, tasks)
        schema = with_inputs(SEQUENCES, arrays)
        made = in_group_files(placed, schema, packed, widths(of_split, plan), plan, tasks)
        plans[split] = plan
        writes.append(partial(write_groups, work, made, schema, split, plan))
    schema = with_inputs(HISTORIES, input_arrays(work.config))
    for kind, folder in FOLDERS.items():
        together_in_rows = work.staged("rows", packed.schema).where(F.col("kind") == kind)
        made = in_history_files(together_in_rows, schema)
        writes.append(partial(tables.write_files, made, work.url(folder), schema))
    group_files = dict(zip(SPLITS, together(*writes), strict=False))
    latest_sizes = sizes[sizes["kind"] == HISTORY]
    return Written(
        plans=plans,
        files=group_files,
        users=int((latest_sizes["rows"] * latest_sizes["length"]).sum()),
        cut_events=int(latest_sizes["cut_events"].sum()),
        stray_events=int(latest_sizes["stray_events"].sum()),
        planned_steps={split: int(latest_sizes[f"{split}_steps"].sum()) for split in SPLITS},
        most_steps=int(latest_sizes["steps"].max()),
        most_step_events=int(latest_sizes["most_step_events"].max()),
    )


def group_tasks(work: Work, plan: Layout) -> int:
    """Partitions of a split's groups."""
    entries = plan.rows * work.config.prepare.sequence_length
    return min(max(work.tasks(entries), plan.groups // _FILES_PER_TASK + 1), plan.groups)


def write_groups(
    work: Work, made: DataFrame, schema: Mapping[str, str], split: str, plan: Layout
) -> tuple[str, ...]:
    """Writes a split's groups; their paths in order.

    Args:
        work: where to
        made: tables.FILES of groups, in order
        schema: SEQUENCES, with_inputs()
        split: its name
        plan: says how many rows a group has

    Raises:
        DataError: a file that is not one row group of the planned size
    """
    folder = f"sequences/split={split}"
    tables.write_files(made, work.url(folder), schema)
    found = tables.row_groups(work.url(folder))
    if list(found.values()) != [[plan.group_rows]] * plan.groups:
        raise DataError(
            f"{work.url(folder)}: expected {plan.groups} files of one row group of "
            f"{plan.group_rows} rows, found {len(found)} files with {sorted(found.values())[-1]}"
        )
    return tuple(f"{folder}/{path}" for path in found)


def read_back(work: Work) -> DataFrame:
    """FACTS of the files of all splits, as they are on disk."""
    schema = {**with_inputs(SEQUENCES, sequence_arrays(work.config)), "split": "string"}
    written = tables.read_files(work.spark, work.url("sequences"), schema)
    with tables.reading(work.url("sequences")):
        return work.stage_in_order(facts(written), "facts", FACTS, large_rows=True)


def stored_back(work: Work) -> DataFrame:
    """STORED of histories and of what was before them, as they are on disk."""
    schema = with_inputs(HISTORIES, input_arrays(work.config))
    latest, earlier = (
        tables.read_files(work.spark, work.url(name), schema) for name in FOLDERS.values()
    )
    found = stored(latest.unionAll(earlier))
    return work.stage_in_order(found, "stored", STORED, large_rows=True)


def sums(on_disk: DataFrame) -> dict[str, Row]:
    """What all rows of a split say together, of FACTS; splits without rows are absent."""
    rows = on_disk.where("rows > 0").groupBy("split").agg(
        *[F.sum(name).alias(name) for name in ("rows", "hash", *SUMS)],
        *[F.min(name).alias(name) for name in LEAST],
        *[F.max(name).alias(name) for name in MOST],
    )  # fmt: skip
    return {row.split: row for row in rows.collect()}


def fingerprint(sums: dict[str, Row]) -> str:
    """Of the sequences, whatever the order in which they were written."""
    return files.fingerprint(
        f"{split} {row.rows} {row.hash}" for split, row in sorted(sums.items())
    )


def file_targets(on_disk: DataFrame) -> dict[str, int]:
    """The target events of each file that has any, by its path, from FACTS."""
    rows = on_disk.where("targets > 0").select("split", "file", "targets").collect()
    return {f"sequences/split={row.split}/{row.file}": row.targets for row in rows}
