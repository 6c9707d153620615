"""The whole of prepare: events → clean → split → vocabulary → features → sequences → dataset.

Clean events, rows of sequences and what the written rows say of themselves are each computed once:
written below `staging/` of the version and read from there. The folder goes at the end.
"""

from __future__ import annotations

import datetime
import logging
from dataclasses import replace
from typing import Any

from pyspark import Broadcast
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

import recsys
from recsys import command, files, hashing, lock, manifest, tables
from recsys.config import Config
from recsys.errors import DataError
from recsys.prepare import certificate, days, instants, report, sessions, subjects, writing
from recsys.prepare.cleaning import Clean, clean
from recsys.prepare.cutting import Limits
from recsys.prepare.days import Former
from recsys.prepare.encoder import Encoder
from recsys.prepare.event_numbers import Fitted, fitted
from recsys.prepare.events import input_columns, queries, sequence_arrays
from recsys.prepare.impressions import keep_impressions
from recsys.prepare.indexing import Indexes, index
from recsys.prepare.ordering import in_order
from recsys.prepare.parts import Parted, part
from recsys.prepare.pieces import PIECES
from recsys.prepare.purchases import Purchases
from recsys.prepare.recount import (
    feature_checks,
    number_checks,
    placed_again,
    platform_check,
    recounted,
    type_check,
)
from recsys.prepare.rows import Cutting
from recsys.prepare.sequences import cut
from recsys.prepare.session_steps import session_step_checks, session_steps
from recsys.prepare.sessions import Rules
from recsys.prepare.split import PART
from recsys.prepare.stored import item_events
from recsys.prepare.vocabulary_checks import vocabulary_checks, written_checks
from recsys.prepare.walk import frame_of
from recsys.prepare.weighting import Weighting, mean_check, weighting
from recsys.prepare.work import Work, drafted, together
from recsys.schemas import (
    EVENTS,
    FIRST_ITEM,
    OWNERS,
    SCHEMA_VERSION,
    SPLITS,
    VALUE_WEIGHT,
    ddl,
)

log = logging.getLogger(__name__)


def run(spark: SparkSession, config: Config) -> manifest.Manifest:
    """Makes a dataset and publishes it; after a failure the one that was there is as before.

    Raises:
        ConfigError: the configuration contradicts itself or the data's names
        DataError: the data are not what the configuration says, or another run to the same place
    """
    place = config.paths.dataset
    with lock.held(place, by="jobs/prepare.py") as held, drafted(spark, config) as work:
        result = _build(work, days.former(spark, config))
        files.write_bytes(work.url("config.yaml"), command.to_yaml(config).encode())
        result.write()
        held.check()
    log.info("%s", report.text(result))
    return result


def _build(work: Work, former: Former | None) -> manifest.Manifest:
    prepare = work.config.prepare
    cleaned = clean(work, former)
    parted = part(work, cleaned)
    if parted.times is not None:
        log.info("%s", parted.times)
    if sessions.are_named_by_log(work.config):
        owners = parted.events.select(*OWNERS).distinct()
        work.keep(owners, "owners", OWNERS)
    indexes = index(work, parted, cleaned.items, former)
    weights = weighting(parted.events, work.config)
    numbers = fitted(parted.source, work.config)
    pieces = _cut(work, cleaned, parted, indexes, weights, numbers)
    shown = keep_impressions(work, cleaned, indexes)
    written, of_train = together(
        lambda: writing.write_rows(work, pieces),
        lambda: _train_checks(work, cleaned, parted, indexes, weights, numbers, former),
    )
    on_disk, stored = together(lambda: writing.read_back(work), lambda: writing.stored_back(work))
    own_rows = sum(plan.rows for plan in written.plans.values())
    buckets = subjects.buckets_of(written.users + own_rows)
    sums, targets, found, of_whole, of_stored, of_sessions = together(
        lambda: writing.sums(on_disk),
        lambda: writing.file_targets(on_disk),
        lambda: subjects.seen(on_disk, stored, buckets),
        lambda: certificate.whole_checks(on_disk, parted, prepare),
        lambda: written_checks(indexes.used, item_events(stored), indexes.step.rows_in),
        lambda: session_steps(parted, prepare),
    )
    if "train" not in sums:
        where = f" before {instants.iso(parted.times.valid_start)}" if parted.times else " in train"
        raise DataError(
            f"{', '.join(work.config.events.path)}: expected histories with at least two instants "
            f"and a target{where}, found none"
        )
    checks = certificate.row_checks(sums, written.planned_steps)
    checks += session_step_checks(sums, of_sessions)
    checks.append(
        certificate.input_check(
            sums, on_disk, parted.source, parted.subject, prepare.target_event_types
        )
    )
    if parted.times is not None:
        checks += certificate.time_checks(sums, parted.times)
    times = parted.times if parted.by_session else None
    checks += certificate.subject_checks(found, cleaned.rows, sums, prepare, times)
    proof = certificate.certificate([*of_train, *checks, *of_whole, *of_stored])
    proof |= certificate.ties(sums)
    forgotten = former.manifest.forgotten_users if former else 0
    made = _manifest(work, cleaned, parted, indexes, written, sums, targets, proof)
    steps = made.steps if weights is None else (*made.steps, weights.step(cleaned.rows))
    steps += (*[own.step(name, cleaned.rows) for name, own in numbers.items()], *shown)
    scales = {name: own.scale for name, own in numbers.items()}
    return replace(made, forgotten_users=forgotten, steps=steps, event_numbers=scales)


def _train_checks(
    work: Work,
    cleaned: Clean,
    parted: Parted,
    indexes: Indexes,
    weights: Weighting | None,
    numbers: dict[str, Fitted],
    former: Former | None,
) -> list[certificate.Check]:
    """Of what train alone may decide."""
    prepare, placed = work.config.prepare, placed_again(parted)
    counted = recounted(placed, indexes.event_types, prepare)
    everything = work.stage(counted, "recounted", tables.schema_of(counted))
    counts = everything.where(F.col("item_id").isNotNull())
    inputs = {name: EVENTS[name] for name in input_columns(work.config)}
    events = frame_of(placed, {PART: "int", **inputs})
    before = former.vocabulary if former else None
    checks = vocabulary_checks(indexes.vocabulary, counts, cleaned.items, prepare, before)
    types, platforms = (
        (former.manifest.event_types, former.manifest.platforms) if former else ((), ())
    )
    checks.append(type_check(indexes.event_types, types, everything))
    checks += platform_check(indexes.platforms, platforms, events)
    checks += feature_checks(indexes.items, indexes.vocabulary, counts, cleaned.items, work.config)
    scales = {name: own.scale for name, own in numbers.items()}
    checks += number_checks(scales, events, prepare)
    return checks + ([mean_check(weights, events, work.config)] if weights else [])


def _manifest(
    work: Work,
    cleaned: Clean,
    parted: Parted,
    indexes: Indexes,
    written: writing.Written,
    sums: dict[str, Row],
    targets: dict[str, int],
    proof: dict[str, Any],
) -> manifest.Manifest:
    key = hashing.key_of(work.config.events)
    return manifest.Manifest(
        url=work.version,
        schema_version=SCHEMA_VERSION,
        code_version=recsys.__version__,
        created_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        seed=work.config.seed,
        sequence_length=work.config.prepare.sequence_length,
        max_steps=max(written.most_steps, *(row.most_steps for row in sums.values())),
        max_step_events=max(
            written.most_step_events, *(row.most_step_events for row in sums.values())
        ),
        max_case_targets=max(row.most_case_targets for row in sums.values()),
        valid_start=parted.times.valid_start if parted.times else None,
        test_start=parted.times.test_start if parted.times else None,
        first_event=cleaned.first_event,
        last_event=cleaned.last_event,
        events_by_day=cleaned.by_day,
        events_by_type=indexes.by_type,
        users=written.users,
        items=sum(indexes.ranges),
        valid_items=indexes.ranges[1],
        catalogue_items=indexes.ranges[2],
        vocabulary_fingerprint=indexes.fingerprint,
        content_fingerprint=writing.fingerprint(sums),
        event_types=indexes.event_types,
        platforms=indexes.platforms,
        inputs=indexes.inputs,
        attributes=work.config.items.categorical,
        features=indexes.features,
        categories=indexes.categories,
        splits={split: written.split(split, sums.get(split), targets) for split in SPLITS},
        steps=(
            *cleaned.steps,
            _limited_steps(work, cleaned, written),
            *_split_step(cleaned, parted, indexes, written),
            indexes.step,
        ),
        quarantine=cleaned.faults,
        certificate=proof,
        rows_read=cleaned.rows_read,
        identities=cleaned.identities,
        platforms_apart=cleaned.platforms_apart,
        days=cleaned.days,
        user_ids=hashing.HASHED if key else hashing.AS_LOGGED,
        user_key=key.fingerprint if key else None,
        config=work.config.to_dict(),
    )


def _purchases(work: Work, cleaned: Clean, indexes: Indexes) -> Purchases | None:
    prepare, columns = work.config.prepare, work.config.events.columns
    if not prepare.purchase_event_types:
        return None
    return Purchases(
        types=tuple(
            index for index, name in enumerate(indexes.event_types, FIRST_ITEM)
            if name in prepare.purchase_event_types
        ),
        pauses=Rules.of(prepare) if columns.session_id is None else None,
        log_end=cleaned.last_event,
    )  # fmt: skip


def _limited_steps(work: Work, cleaned: Clean, written: writing.Written) -> manifest.Step:
    most = Limits.of(work.config.prepare).step_events
    return manifest.Step(
        "events of one instant",
        cleaned.rows,
        cleaned.rows - written.cut_events,
        f"at most {most} of one {work.config.prepare.sequence_unit}, drawn by the seed",
    )


def _split_step(
    cleaned: Clean, parted: Parted, indexes: Indexes, written: writing.Written
) -> list[manifest.Step]:
    gone = indexes.of_no_split + written.stray_events
    decision = "of no split: the embargo, and what a session goes on with behind its split's end"
    return [manifest.Step("split", cleaned.rows, cleaned.rows - gone, decision)] if gone else []


def _cut(
    work: Work,
    cleaned: Clean,
    parted: Parted,
    indexes: Indexes,
    weights: Weighting | None,
    numbers: dict[str, Fitted],
) -> DataFrame:
    prepare = work.config.prepare
    cutting = Cutting(
        limits=Limits.of(prepare),
        sessions=None if parted.named else Rules.of(prepare),
        by_session=parted.by_session,
        purchases=_purchases(work, cleaned, indexes),
        inputs=sequence_arrays(work.config),
        queries=queries(work.config),
        whole_sessions=parted.times is not None or prepare.split == "last_sessions",
        interleaved=work.config.events.columns.session_id is not None,
        numbers={name: own.scale for name, own in numbers.items()},
    )
    encoder = Encoder(
        items=_item_indexes(work, indexes),
        event_types=indexes.event_types,
        platforms=indexes.platforms,
        targets=prepare.target_event_types,
        inputs=(*input_columns(work.config), *([VALUE_WEIGHT] if weights else [])),
        subject=parted.subject,
        with_sessions=cutting.sessions is None and not cutting.by_session,
    )
    make = cut(encoder, cutting, work.config.seed)
    if parted.walk is not None:
        pieces = parted.walk.then(make, PIECES)
    else:
        pieces = _in_order(work, cleaned, parted, weights, encoder).mapInArrow(make, ddl(PIECES))
    return work.stage(pieces, "pieces", PIECES, partition_by=("kind",), large_rows=True)


def _item_indexes(work: Work, indexes: Indexes) -> Broadcast[dict[str, int]]:
    known = indexes.used.select("item_id", "item_index").toArrow().to_pydict()
    found = dict(zip(known["item_id"], known["item_index"], strict=True))
    return work.spark.sparkContext.broadcast(found)


def _in_order(
    work: Work, cleaned: Clean, parted: Parted, weights: Weighting | None, encoder: Encoder
) -> DataFrame:
    """What is encoded, in order of the subject."""
    events = parted.events.withColumn(VALUE_WEIGHT, weights.column) if weights else parted.events
    if not parted.in_order:
        seed, targets = work.config.seed, work.config.prepare.target_event_types
        # The order at one instant is that of the user's events.
        read = events.select("user_id", *encoder.read(events).drop("user_id").columns)
        events = in_order(read, parted.subject, work.tasks(cleaned.rows), seed, targets)
    return encoder.read(events)
