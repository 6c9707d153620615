"""What a run would read, keep and write, said without writing anything."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from pyspark.sql import SparkSession

from recsys import files
from recsys.config import Config, Prepare
from recsys.prepare import days, instants
from recsys.prepare.across import planned
from recsys.prepare.checking import Checked, checked
from recsys.prepare.days import Former
from recsys.prepare.report import step_table
from recsys.prepare.sessions import are_named_by_log
from recsys.prepare.split import split_times
from recsys.schemas import SPLITS
from recsys.texts import table

log = logging.getLogger(__name__)


def plan(spark: SparkSession, config: Config) -> str:
    """Reads the log once and logs what a run would do; returns it as text.

    Raises:
        ConfigError: the configuration contradicts itself or the data's names
        DataError: the data are not what the configuration says
    """
    former = days.former(spark, config)
    found = checked(spark, config, lambda frame, name, schema: frame, former)
    text = "\n\n".join(_lines(config, found, former))
    log.info("%s", text)
    return text


def _lines(config: Config, found: Checked, former: Former | None) -> Iterator[str]:
    yield f"reads: {', '.join(config.events.path)} ({config.events.format})"
    for more in (config.items, config.events.identities):
        if more.path:
            yield f"reads: {', '.join(more.path)} ({more.format})"
    yield step_table(found.steps)
    if found.faults:
        yield table([("quarantine", "rows"), *found.faults.items()])
    first, last = instants.iso(found.seen.first_event), instants.iso(found.seen.last_event)
    yield f"keeps: {found.rows:,} events from {first} to {last}"
    if steps := planned(config.prepare.clean):
        yield "of which these steps may drop more:\n" + "\n".join(f"  {step}" for step in steps)
    yield _split(config.prepare, found)
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


def _split(prepare: Prepare, found: Checked) -> str:
    shares = [
        f"{share:g} of all is {name}"
        for name, share in (("valid", prepare.valid_share), ("test", prepare.test_share))
        if share is not None
    ]
    if prepare.split != "time" or shares:
        return f"splits: {', '.join([f'by {prepare.split}', *shares])}"
    times = split_times(prepare, found.seen.first_event, found.seen.last_event, lambda before: ())
    is_moved = None in (prepare.valid_start, prepare.test_start) and planned(prepare.clean)
    last = ", as of the last event above, which these steps may drop" if is_moved else ""
    return f"splits: {times}{last}"
