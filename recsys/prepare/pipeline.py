"""The whole of prepare: events → clean → split → vocabulary → features → sequences → dataset.

Clean events, rows of sequences and what the written rows say of themselves are each computed once:
written below `staging/` of the version and read from there. The folder goes at the end.
"""

from __future__ import annotations

import datetime
import logging

from pyspark.sql import DataFrame, SparkSession

import recsys
from recsys import command, files, manifest
from recsys.config import Config
from recsys.prepare import certificate, report, writing
from recsys.prepare.cleaning import Clean, clean
from recsys.prepare.cutting import Limits
from recsys.prepare.indexing import Indexes, index
from recsys.prepare.rows import ROWS, Cutting
from recsys.prepare.sequences import cut, encode
from recsys.prepare.split import SplitTimes, split_times
from recsys.prepare.work import Work
from recsys.schemas import SCHEMA_VERSION, SPLITS

log = logging.getLogger(__name__)


def run(spark: SparkSession, config: Config) -> manifest.Manifest:
    """Makes a dataset and publishes it; after a failure the one that was there is as before.

    Raises:
        ConfigError: the configuration contradicts itself or the data's names
        DataError: the data are not what the configuration says
    """
    work = Work(spark, config, files.new_version(config.paths.dataset))
    try:
        result = _build(work)
        files.write_bytes(work.url("config.yaml"), command.to_yaml(config).encode())
        result.write()
        work.clear()
    except BaseException:
        if files.exists(work.version):
            files.remove(work.version)
        raise
    files.publish(work.version)
    log.info("%s", report.text(result))
    return result


def _build(work: Work) -> manifest.Manifest:
    cleaned = clean(work)
    times = split_times(work.config.prepare, cleaned.first_event, cleaned.last_event)
    log.info("%s", times)
    indexes = index(work, cleaned, times)
    rows = _cut(work, cleaned, indexes, times)
    plans = writing.write_splits(work, rows)
    histories = writing.write_histories(work, rows)
    written = writing.read_back(work)
    sums = writing.sums(written)
    planned = {split: histories[f"{split}_steps"] for split in SPLITS}
    proof = certificate.certificate([
        certificate.vocabulary_check(
            indexes.vocabulary, cleaned.events, times.valid_start,
            work.config.prepare.vocabulary_min_count,
        ),
        certificate.overlap_check(written),
        *certificate.split_checks(sums, times, planned),
    ])  # fmt: skip
    kept, cut_events = cleaned.steps[-1].rows_out, histories["cut_events"]
    most = work.config.prepare.sequence_length // 2
    steps = (
        *cleaned.steps,
        manifest.Step("events of one step", kept, kept - cut_events,
                      f"at most {most} of one instant and subject, drawn by the seed"),
        indexes.step,
    )  # fmt: skip
    return manifest.Manifest(
        url=work.version,
        schema_version=SCHEMA_VERSION,
        code_version=recsys.__version__,
        created_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        seed=work.config.seed,
        sequence_length=work.config.prepare.sequence_length,
        max_steps=max([histories["most_steps"], *(row.most_steps for row in sums.values())]),
        max_step_events=max(row.most_step_events for row in sums.values()),
        max_case_targets=max(row.most_case_targets for row in sums.values()),
        valid_start=times.valid_start,
        test_start=times.test_start,
        first_event=cleaned.first_event,
        last_event=cleaned.last_event,
        users=histories["users"],
        items=indexes.items,
        vocabulary_fingerprint=indexes.fingerprint,
        content_fingerprint=files.fingerprint(
            f"{split} {row.rows} {row.hash}" for split, row in sorted(sums.items())
        ),
        event_types=indexes.event_type_names,
        platforms=cleaned.platforms,
        categories=indexes.categories,
        splits={s: writing.split_of(*plans[s], sums.get(s)) for s in SPLITS},
        steps=steps,
        quarantine=cleaned.faults,
        certificate=proof,
        config=work.config.to_dict(),
    )


def _cut(work: Work, cleaned: Clean, indexes: Indexes, times: SplitTimes) -> DataFrame:
    prepare, columns = work.config.prepare, work.config.events.columns
    cutting = Cutting(
        limits=Limits(prepare.sequence_length, prepare.sequence_target_events),
        times=times,
        gap_minutes=None if columns.session_id else prepare.session_gap_minutes,
        by_session=prepare.sequence_unit == "session" or columns.user_id is None,
    )
    encoded = encode(
        cleaned.events, indexes.vocabulary, indexes.event_types, prepare.target_event_types
    )
    tasks = work.tasks(cleaned.steps[-1].rows_out)
    rows = cut(encoded, cutting, tasks, work.config.seed)
    return work.stage(rows, "rows", ROWS, partition_by=("kind",))
