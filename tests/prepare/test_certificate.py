"""Each leak is planted into what was written, and seen."""

from __future__ import annotations

import itertools
from collections import defaultdict
from functools import reduce
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from recsys import tables
from recsys.config import Prepare
from recsys.errors import DataError
from recsys.prepare import subjects
from recsys.prepare.bundles import as_bytes, as_table
from recsys.prepare.certificate import (
    Check,
    certificate,
    input_check,
    row_checks,
    subject_checks,
    ties,
    time_checks,
    whole_checks,
)  # fmt: skip
from recsys.prepare.facts import NEVER, facts
from recsys.prepare.parts import Parted
from recsys.prepare.recount import recounted
from recsys.prepare.split import SplitTimes
from recsys.prepare.subjects import Bucket, Found
from recsys.prepare.vocabulary_checks import vocabulary_checks
from recsys.prepare.writing import fingerprint, sums
from recsys.schemas import SEQUENCE_ARRAYS, SEQUENCES, SPLITS, VOCABULARY, ddl

TIMES = SplitTimes(valid_start=100_000_000, test_start=200_000_000)
PLANNED = {"train": 2, "valid": 1, "test": 1}


def sequence(
    split: str, name: str, item: list[int], step: list[int], time: list[int], target: list[int]
) -> dict[str, Any]:
    return {
        "split": split, "sequence_id": name, "user_id": name.split("#")[0],
        "weight": float(any(item)), "item": item, "event_type": item, "gap_seconds": item,
        "session_start": item, "step": step, "timestamp": time, "target": target,
        "purchase": [wanted * (2 if place == 1 else 1) for place, wanted in enumerate(target)],
    }  # fmt: skip


def sound() -> dict[str, dict[str, Any]]:
    rows = [
        sequence("train", "ann#1", [7, 3, 1, 1], [0, 1, 1, 2], [10, 20, 20, 30], [0, 1, 0, 1]),
        sequence("valid", "ann#3", [1, 9, 0, 0], [0, 1, -1, -1], [30, 150, 0, 0], [0, 1, 0, 0]),
        sequence("test", "ann#4", [1, 9, 2, 0], [0, 1, 2, -1], [30, 150, 200, 0], [0, 0, 1, 0]),
        sequence("train", "#0", [0] * 4, [-1] * 4, [0] * 4, [0] * 4),
    ]
    return {str(row["sequence_id"]): row for row in rows}


_KINDS = {
    "string": pa.string(), "float": pa.float32(), "array<int>": pa.list_(pa.int32()),
    "array<bigint>": pa.list_(pa.int64()),
}  # fmt: skip


def written(spark: SparkSession, rows: dict[str, dict[str, Any]]) -> DataFrame:
    schema = pa.schema([(name, _KINDS[kind]) for name, kind in SEQUENCES.items()])
    files = []
    for split in SPLITS:
        of_split = [row for row in rows.values() if row["split"] == split]
        file = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(of_split, schema), file)
        files.append((f"split={split}/part-0.parquet", file.getvalue().to_pybytes(), split))
    return facts(spark.createDataFrame(files, "path string, content binary, split string"))


STORED = "user_id string, start bigint, events bigint"


def seen_of(on_disk: DataFrame, rows: DataFrame) -> Found:
    files = [(b"", as_bytes(rows.where(F.expr(f"hash(user_id) % 2 = {of}")).toArrow()))
             for of in (0, 1, -1)]  # fmt: skip
    stored = on_disk.sparkSession.createDataFrame(files, "items binary, spans binary")
    return subjects.seen(on_disk, stored, buckets=2)


def of_subjects(spark: SparkSession, on_disk: DataFrame, prepare: Prepare) -> list[Check]:
    found = seen_of(on_disk, spark.createDataFrame([("ann", 10, 7)], STORED))
    return subject_checks(found, 7, sums(on_disk), prepare)


def checked(spark: SparkSession, rows: dict[str, dict[str, Any]], prepare: Prepare) -> list[Check]:
    on_disk = written(spark, rows)
    found = sums(on_disk)
    by_time = time_checks(found, TIMES) if prepare.split == "time" else []
    return [*row_checks(found, PLANNED), *by_time, *of_subjects(spark, on_disk, prepare)]


def test_a_file_that_is_cut_off_is_named(spark: SparkSession) -> None:
    damaged = [("split=train/part-7.parquet", b"PAR1", "train")]
    frame = spark.createDataFrame(damaged, "path string, content binary, split string")
    with (
        pytest.raises(DataError, match=r"part-7.parquet: expected a whole Parquet file, found"),
        tables.reading("sequences"),
    ):
        facts(frame).collect()


def test_a_file_with_arrays_of_unequal_length_is_named(spark: SparkSession) -> None:
    rows = sound()
    rows["ann#1"]["step"].append(-1)
    with (
        pytest.raises(DataError, match=r"part-0.parquet: expected arrays of one length, found 4 "),
        tables.reading("sequences"),
    ):
        written(spark, rows).collect()


def test_how_far_a_row_is_filled_up_is_no_part_of_its_hash(spark: SparkSession) -> None:
    rows, wider = sound(), sound()
    for row in wider.values():
        for name in SEQUENCE_ARRAYS:
            row[name] = row[name] + [-1 if name == "step" else 0] * 2
    assert fingerprint(sums(written(spark, rows))) == fingerprint(sums(written(spark, wider)))
    wider["ann#1"]["item"] = [8, *wider["ann#1"]["item"][1:]]
    assert fingerprint(sums(written(spark, rows))) != fingerprint(sums(written(spark, wider)))


def test_what_rows_say_of_themselves(spark: SparkSession) -> None:
    found = sums(written(spark, sound()))
    train = found["train"].asDict()
    assert train.pop("hash") is not None
    assert train == {
        "split": "train", "rows": 1, "first_target_time": 20, "case_steps": 2,
        "session_time": 20,
        "targets": 2, "unknown_targets": 1, "labels": 2, "bought": 1,
        "falling_times": 0, "uneven_times": 0, "targets_without_input": 0,
        "targets_in_input": 0,
        "most_steps": 3, "most_step_events": 2, "most_case_targets": 1, "last_time": 30,
        "tied_steps": 1,
    }  # fmt: skip
    checks = checked(spark, sound(), Prepare())
    assert all(check.holds for check in checks)
    assert certificate(checks)["holds"] is True


def _later_event(rows: dict[str, dict[str, Any]]) -> None:
    rows["ann#1"]["timestamp"] = [10, 20, 20, 100]


def _early_target(rows: dict[str, dict[str, Any]]) -> None:
    rows["ann#4"]["timestamp"] = [30, 150, 199, 0]


def _session_of_train(rows: dict[str, dict[str, Any]]) -> None:
    rows["ann#3"]["session_start"] = [1, 0, 0, 0]


def _two_splits(rows: dict[str, dict[str, Any]]) -> None:
    rows["ann#3"]["sequence_id"] = "ann#2"


def _falling_time(rows: dict[str, dict[str, Any]]) -> None:
    rows["ann#4"]["timestamp"] = [151, 150, 200, 0]


def _step_out_of_order(rows: dict[str, dict[str, Any]]) -> None:
    rows["ann#4"]["step"] = [0, 2, 1, -1]


def _instants_in_one_step(rows: dict[str, dict[str, Any]]) -> None:
    rows["ann#1"]["timestamp"] = [10, 20, 21, 30]


def _target_in_the_first_step(rows: dict[str, dict[str, Any]]) -> None:
    rows["ann#1"]["target"] = [1, 0, 0, 1]


def _target_in_the_padding(rows: dict[str, dict[str, Any]]) -> None:
    rows["ann#3"] |= {"target": [0, 1, 1, 0], "timestamp": [30, 150, 150, 0]}


def _lost_case(rows: dict[str, dict[str, Any]]) -> None:
    rows["ann#1"]["target"] = [0, 1, 0, 0]


def _lost_row(rows: dict[str, dict[str, Any]]) -> None:
    del rows["ann#4"]


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (_later_event, "train: last event: expected <= 99 s, found 100 s"),
        (_early_target, "test: first target: expected >= 200 s, found 199 s"),
        (_session_of_train, "valid: first session with a target: expected >= 100 s, found 30 s"),
        (_two_splits, "valid: target steps in two rows: expected 0, found 1"),
        (_falling_time, "test: events out of time order: expected 0, found 1"),
        (_step_out_of_order, "test: events out of time order"),
        (_instants_in_one_step, "train: events of one step at several times: expected 0, found 1"),
        (_target_in_the_first_step, "train: targets without an earlier step: expected 0, found 1"),
        (_target_in_the_padding, "valid: targets without an earlier step"),
        (_lost_case, "train: every target step: expected 2, found 1"),
        (_lost_row, "test: every target step: expected 1, found 0"),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
def test_a_planted_leak_is_seen(spark: SparkSession, plant: Any, words: str) -> None:
    rows = sound()
    plant(rows)
    with pytest.raises(DataError, match=f"leakage certificate: {words}"):
        certificate(checked(spark, rows, Prepare()))


@pytest.mark.parametrize(
    ("train_last", "valid_first", "failed"),
    [(99, 100, []), (100, 100, []), (101, 100, ["train: last event"]),
     (99, 99, ["valid: first target", "valid: first session with a target"])],
)  # fmt: skip
def test_borders_between_two_seconds(train_last: int, valid_first: int, failed: list[str]) -> None:
    def row(first: int, last: int) -> Any:
        return Row(first_target_time=first, session_time=first, last_time=last)

    splits = {"train": row(10, train_last), "valid": row(valid_first, 199), "test": row(200, 300)}
    for valid_start in (100_000_001, 100_999_999):
        checks = time_checks(splits, SplitTimes(valid_start, test_start=200_000_000))
        assert [check.name for check in checks if not check.holds] == failed
    checks = time_checks(splits, TIMES)
    assert {check.name for check in checks if not check.holds} == {
        *failed, *(["train: last event"] if train_last >= 100 else [])
    }  # fmt: skip


def test_a_target_inside_its_own_input_is_seen(spark: SparkSession) -> None:
    rows = sound()
    rows["ann#4"] |= {"item": [1, 2, 2, 0], "timestamp": [30, 200, 200, 0]}
    on_disk = written(spark, rows)
    found = sums(on_disk)
    assert found["test"]["targets_in_input"] == 1

    def check(*log: tuple[str, str, int], targets: tuple[str, ...] = ()) -> Check:
        names = "user_id string, item_id string, timestamp bigint"
        events = spark.createDataFrame(log, names).withColumn("event_type", F.lit("view"))
        return input_check(found, on_disk, events, "user_id", targets)

    once = [("ann", "one", 30_000_000), ("ann", "two", 200_000_000)]
    others = [("bob", "two", 200_000_000), ("bob", "two", 200_000_001)]
    with pytest.raises(DataError, match="certificate: targets in their input: expected <= 0, of"):
        certificate([check(*once, *others)])
    assert check(*once, ("ann", "two", 200_000_001)).holds
    # A view that came again excuses no purchase, nor another item's purchase that did another's.
    assert not check(*once, ("ann", "two", 200_000_001), targets=("purchase",)).holds
    found = sums(written(spark, sound()))
    assert check(*once).holds


def test_the_certificate_says_how_ties_are_treated(spark: SparkSession) -> None:
    found = ties(sums(written(spark, sound())))
    assert found["tied_steps"] == {"train": 1, "valid": 0, "test": 0}
    assert "their order is neither input nor target" in found["ties"]


def _second_test_step(rows: dict[str, dict[str, Any]]) -> None:
    rows["ann#4"] |= {
        "item": [1, 9, 2, 5],
        "step": [0, 1, 2, 3],
        "target": [0, 0, 1, 1],
        "timestamp": [30, 150, 200, 201],
    }


def _valid_left_out(rows: dict[str, dict[str, Any]]) -> None:
    del rows["ann#3"]


def _first_target_of_train_again(rows: dict[str, dict[str, Any]]) -> None:
    rows["ann#4"] |= {
        "item": [7, 3, 0, 0], "step": [0, 1, -1, -1], "timestamp": [10, 20, 0, 0],
        "target": [0, 1, 0, 0],
    }  # fmt: skip


def _train_sees_the_target_of_valid(rows: dict[str, dict[str, Any]]) -> None:
    rows["ann#1"] |= {"step": [0, 1, 2, 3], "target": [0, 1, 0, 0]}


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (_second_test_step, "test: target steps of a sequence: expected <= 1, found 2"),
        (_valid_left_out, "sequences with a test target and none of valid: expected 0, found 1"),
        (
            _train_sees_the_target_of_valid,
            "rows that reach into a later split: expected 0, found 1",
        ),
        (
            _first_target_of_train_again,
            "rows that reach into a later split: expected 0, found 1",
        ),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
def test_a_leak_of_leave_one_out_is_seen(spark: SparkSession, plant: Any, words: str) -> None:
    prepare = Prepare(split="leave_one_out")
    certificate(of_subjects(spark, written(spark, sound()), prepare))
    rows = sound()
    plant(rows)
    with pytest.raises(DataError, match=words):
        certificate(of_subjects(spark, written(spark, rows), prepare))


def test_events_that_were_lost_are_seen(spark: SparkSession) -> None:
    rows = spark.createDataFrame([("ann", 10, 4), ("ann", 40, 2)], STORED)
    found = seen_of(written(spark, sound()), rows)
    certificate(subject_checks(found, 6, {}, Prepare()))
    with pytest.raises(DataError, match="events of histories and earlier ones: expected 7, found"):
        certificate(subject_checks(found, 7, {}, Prepare()))


@given(
    st.lists(st.integers(1, 40), max_size=8), st.integers(0, 10**6), st.integers(1, 5),
    st.sampled_from([1, 2, 2**16]),
)  # fmt: skip
def test_subjects_are_seen_alike_in_whatever_pieces(
    cuts: list[int], seed: int, buckets: int, steps_of_chunk: int
) -> None:
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame({"user_id": rng.integers(0, 9, 40).astype(str)})
    for name in ("split", "last_step", "first_step", "end_step", "case_steps"):
        rows[name] = rng.integers(0, 4, 40)
    for name in ("first_target_time", "last_time", "start", "events"):
        rows[name] = rng.integers(0, 9, 40)
    table, pieces = pa.Table.from_pandas(rows, preserve_index=False), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subjects, "_CHUNK", steps_of_chunk)
        for begin, end in itertools.pairwise([0, *sorted({cut for cut in cuts if cut < 40}), 40]):
            for batch in subjects._scatter([table.slice(begin, end - begin)], buckets):
                pieces += batch.to_pylist()
    found = defaultdict(Bucket)
    pieces.sort(key=itemgetter("bucket", "chunk"))
    for (bucket, _), own in itertools.groupby(pieces, key=itemgetter("bucket", "chunk")):
        found[bucket].feed([as_table(piece["rows"]) for piece in own])
    by_hand = rows.sort_values(["user_id", "first_step", "last_step"])
    together = reduce(Found.and_those, (bucket.finish() for bucket in found.values()))
    assert together == _found_by_hand(by_hand.to_dict("records"))


def _found_by_hand(rows: list[dict[str, Any]]) -> Found:
    found = Found(0, [0] * 3, 0, 0, 0, [0] * 3, [NEVER] * 3, [-NEVER] * 3)
    for _, group in itertools.groupby(rows, key=lambda row: row["user_id"]):
        whole = list(group)
        own = [[row for row in whole if row["split"] == split] for split in range(3)]
        for before, row in itertools.pairwise(whole):
            if row["split"] < 3 and row["first_step"] <= before["last_step"]:
                found.overlaps[row["split"]] += 1
        start = min(row["start"] for row in whole)
        found.events += sum(row["events"] for row in whole)
        found.several += sum(map(bool, own)) > 1
        found.alone += bool(own[2]) and not own[1]
        found.reaching += any(
            row["end_step"] >= later["first_step"] or row["last_time"] > later["first_target_time"]
            for split in range(2) for row in own[split]
            for then in own[split + 1 :] for later in then
        )  # fmt: skip
        for split in range(3):
            cases = sum(row["case_steps"] for row in own[split])
            found.most_case_steps[split] = max(found.most_case_steps[split], cases)
            if own[split]:
                found.first_start[split] = min(found.first_start[split], start)
                found.last_start[split] = max(found.last_start[split], start)
    return found


# Split, session, user, start of the session in seconds; what is wrong with them as a split by
# time, by the last sessions, by users.
WHOLE = [("train", "a1", "ann", 99), ("valid", "a2", "ann", 150), ("test", "a3", "ann", 200)]


@pytest.mark.parametrize(
    ("split", "rows", "words"),
    [
        ("time", WHOLE, ""),
        ("time", [("train", "a1", "ann", 100)], "train: last session: expected <= 99 s, found 100"),
        ("time", [("test", "a3", "ann", 199)], "test: first session: expected >= 200 s, found 199"),
        (
            "time",
            [*WHOLE, ("test", "a1", "ann", 99)],
            "sessions in two splits: expected 0, found 1",
        ),
        ("last_sessions", WHOLE, ""),
        ("last_sessions", [*WHOLE, ("train", "a4", "ann", 201)], "out of the splits' order"),
        ("users", WHOLE[:1], ""),
        ("users", WHOLE, "users or sessions in two splits: expected 0, found 1"),
    ],
)
def test_what_stays_whole_is_on_one_side(
    spark: SparkSession, split: Any, rows: list[tuple[str, str, str, int]], words: str
) -> None:
    times = TIMES if split == "time" else None
    share = 0.1 if split == "users" else None
    prepare = Prepare(split=split, valid_share=share, test_share=share)
    events = spark.createDataFrame(
        [row[1:] for row in rows], "session_id string, user_id string, timestamp bigint"
    )
    # A session's later events are no start.
    began = [(session, start + more, 1) for _, session, _, start in rows for more in (150, 0)]
    stored_rows = spark.createDataFrame(began, STORED)
    sequences = {}
    for number, (side, session, _, _) in enumerate(rows):
        time, name = [10 * number, 10 * number + 1], f"{session}#{3 * number + 1}"
        sequences[name] = sequence(side, name, [7, 3], [0, 1], time, [0, 1])
    on_disk = written(spark, sequences)
    parted = Parted(events, by_session=True, named=True, in_order=False, times=times)
    found = seen_of(on_disk, stored_rows)
    checks = subject_checks(found, len(began), sums(on_disk), prepare, times)
    checks += whole_checks(on_disk, parted, prepare)
    assert checks
    if not words:
        certificate(checks)
        return
    with pytest.raises(DataError, match=words):
        certificate(checks)


HEAD = [(2, "jam", 2, 0), (3, "tea", 2, 1)]
TAIL = [(4, "fig", 1, 2), (5, "ale", 0, 0)]


@pytest.mark.parametrize(
    ("tail", "rows", "wrong"),
    [
        ("none", HEAD, ""),
        ("catalogue", HEAD + TAIL, ""),
        ("none", [(2, "tea", 4, 1), (3, "jam", 2, 0)], "from train alone"),  # counted with test
        ("none", [(2, "tea", 2, 1), (3, "jam", 2, 0)], "from train alone"),  # ties not by id
        ("none", HEAD[:1], "entries"),
        ("none", [*HEAD, (4, "new", 1, 0)], "behind train"),
        ("valid", [(2, "fig", 1, 2), *HEAD], "from train alone"),  # validation decides the order
        ("catalogue", [*HEAD, (4, "ale", 0, 0), (5, "fig", 1, 2)], "behind train"),
        ("catalogue", [*HEAD, (4, "fig", 1, 9), TAIL[1]], "behind train"),
        ("catalogue", [*HEAD, TAIL[0], (5, "ale", 1, 0)], "behind train"),  # which nobody met
    ],
)
def test_the_vocabulary_is_counted_again(
    spark: SparkSession, tail: Any, rows: list[tuple[int, str, int, int]], wrong: str
) -> None:
    parts = {"tea": [0, 0, 1, 2, 2], "jam": [0, 0], "rye": [0, 2], "fig": [0, 1, 1]}
    frame = [(item, part) for item, own in parts.items() for part in own]
    events = spark.createDataFrame(frame, "item_id string, part int")
    offered = spark.createDataFrame([("ale",), ("jam",)], "item_id string")
    prepare = Prepare(vocabulary_min_count=2, vocabulary_tail=tail)
    table = spark.createDataFrame(rows, ddl(VOCABULARY))
    checks = vocabulary_checks(table, recounted(events, (), prepare), offered, prepare)
    failed = [check.name for check in checks if not check.holds]
    assert failed[:1] == ([f"vocabulary {wrong}"] if wrong else [])


def test_the_first_check_that_fails_is_named() -> None:
    checks = [Check("a", "1", "1", True), Check("b", "2", "3", False), Check("c", "4", "5", False)]
    with pytest.raises(DataError, match="leakage certificate: b: expected 2, found 3"):
        certificate(checks)
