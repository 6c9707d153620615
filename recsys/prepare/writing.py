"""Writes the rows of the splits and the histories, and reads back what was written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from recsys import files, tables
from recsys.errors import DataError
from recsys.manifest import GroupFile, Split
from recsys.prepare.events import input_arrays, sequence_arrays
from recsys.prepare.facts import FACTS, LEAST, MOST, SUMS, facts
from recsys.prepare.groups import grouped, in_group_files, in_history_files
from recsys.prepare.pieces import bucket_sizes, of_histories, of_kind
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


def write_rows(work: Work, pieces: DataFrame) -> Written:
    """Writes the splits as equal row groups, one a file, whose names sort by group; and HISTORIES.

    Args:
        work: where to
        pieces: PIECES

    Raises:
        DataError: a file that is not one row group of the planned size
    """
    sizes, histories = together(lambda: bucket_sizes(pieces), lambda: of_histories(pieces))
    plans: dict[str, Layout] = {}
    writes: list[Callable[[], Any]] = []
    for split in SPLITS:
        of_split = sizes[sizes["kind"] == split]
        plans[split], write = _groups(work, of_kind(pieces, split), split, of_split)
        writes.append(write)
    schema = with_inputs(HISTORIES, input_arrays(work.config))
    for kind, folder in FOLDERS.items():
        made = in_history_files(of_kind(pieces, kind), schema)
        writes.append(partial(tables.write_files, made, work.url(folder), schema))
    return Written(
        plans=plans,
        files=dict(zip(SPLITS, together(*writes), strict=False)),
        users=histories["rows"],
        cut_events=histories.cut_events,
        stray_events=histories.stray_events,
        planned_steps={split: histories[f"{split}_steps"] for split in SPLITS},
        most_steps=histories.steps,
        most_step_events=histories.most_step_events,
    )


def _groups(
    work: Work, pieces: DataFrame, split: str, sizes: pd.DataFrame
) -> tuple[Layout, Callable[[], tuple[str, ...]]]:
    """The layout of a split, and what writes it."""
    prepare, arrays = work.config.prepare, sequence_arrays(work.config)
    plan = layout(int(sizes["rows"].sum()), prepare.rows_per_group, prepare.groups_multiple_of)
    tasks = group_tasks(work, plan, int((sizes["rows"] * sizes["length"]).sum()))
    schema = with_inputs(SEQUENCES, arrays)
    parts = grouped(pieces, sizes, plan, tasks)
    made = in_group_files(parts, schema, packing(arrays), sizes, plan, tasks)
    return plan, partial(write_groups, work, made, schema, split, plan)


def group_tasks(work: Work, plan: Layout, entries: int) -> int:
    """Partitions of a split's groups, whose rows have so many entries."""
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
