"""What a run would read, keep and write, said without writing anything."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from pyspark.sql import SparkSession

from recsys import files
from recsys.config import Config, Prepare
from recsys.prepare import days, instants
from recsys.prepare.across import Left, look_across
from recsys.prepare.checking import Checked, checked
from recsys.prepare.days import Former
from recsys.prepare.report import step_table
from recsys.prepare.seen import Seen
from recsys.prepare.sessions import are_named_by_log
from recsys.prepare.split import SplitTimes, split_times
from recsys.prepare.work import Unwritten
from recsys.schemas import SPLITS
from recsys.texts import table

log = logging.getLogger(__name__)


def plan(spark: SparkSession, config: Config) -> str:
    """Reads the log, cleans it, and logs what a run would do; returns it as text.

    Raises:
        ConfigError: the configuration contradicts itself or the data's names
        DataError: the data are not what the configuration says
    """
    former = days.former(spark, config)
    found, left = checked(spark, config, lambda frame, name, schema: frame, former), None
    if config.prepare.clean.looks_across:
        left = look_across(Unwritten(spark, config, version=""), found.events, found.rows)
    text = "\n\n".join(_lines(config, found, left, former))
    log.info("%s", text)
    return text


def _lines(
    config: Config, found: Checked, left: Left | None, former: Former | None
) -> Iterator[str]:
    steps, seen, times = found.steps, found.seen, None
    if left is not None:
        steps, seen, times = steps + left.steps, left.seen, left.times
    yield f"reads: {', '.join(config.events.path)} ({config.events.format})"
    for more in (config.items, config.events.identities):
        if more.path:
            yield f"reads: {', '.join(more.path)} ({more.format})"
    yield step_table(steps)
    if found.faults:
        yield table([("quarantine", "rows"), *found.faults.items()])
    first, last = instants.iso(seen.first_event), instants.iso(seen.last_event)
    yield f"keeps: {seen.events:,} events from {first} to {last}"
    yield _split(config.prepare, seen, times)
    yield f"writes: {files.join(files.as_url(config.paths.dataset), 'versions', '<new>')}/"
    at_fault = sum(found.faults.values())
    if former is not None:
        at_fault += sum(former.manifest.quarantine.values())
    rows, multiple = config.prepare.rows_per_group, config.prepare.groups_multiple_of
    groups = f"files of at most {rows} rows, a multiple of {multiple}"
    yield "\n".join(
        [
            *(f"  sequences/split={split}/  {groups}" for split in SPLITS),
            "  histories/  earlier/  vocabulary.parquet  items.parquet  categories.parquet",
            *(["  owners/"] if are_named_by_log(config) else []),
            *(["  impressions/"] if found.impressions else []),
            f"  quarantine/  {at_fault:,} rows",
            "  manifest.json  config.yaml",
        ]
    )
    if found.added_days:
        yield f"keeps beside it: days/<new>/, {len(found.added_days)} days"


def _split(prepare: Prepare, seen: Seen, times: SplitTimes | None) -> str:
    shares = [
        f"{share:g} of all is {name}"
        for name, share in (("valid", prepare.valid_share), ("test", prepare.test_share))
        if share is not None
    ]
    if prepare.split != "time" or shares:
        return f"splits: {', '.join([f'by {prepare.split}', *shares])}"
    if times is None:
        times = split_times(prepare, seen.first_event, seen.last_event, lambda before: ())
    return f"splits: {times}"
