from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from recsys import files
from recsys import manifest as manifests
from recsys.errors import DataError
from recsys.evaluate.histories import whole
from recsys.evaluate.story import story
from recsys.manifest import Manifest
from tests.evaluate import dataset

IN_ROWS = sum(len(items) for steps in dataset.histories().values() for items in steps)
CLEAN = sum(dataset.EVENTS_BY_DAY.values())


def test_events_are_those_of_the_manifest_and_users_those_of_the_rows(report: Path) -> None:
    told = files.read_json(files.as_url(str(report / "metrics.json")))["story"]
    assert told["days"] == dataset.EVENTS_BY_DAY
    assert (told["clean_events"], told["row_events"]) == (CLEAN, IN_ROWS)
    assert told["funnel"] == [
        {"event_type": "purchase", "events": CLEAN - 2, "users": dataset.USERS},
        {"event_type": "types that train lacks", "events": 2, "users": 0},
    ]
    lengths = Counter(
        sum(len(items) for items in steps[start : start + 2])
        for steps in dataset.histories().values()
        for start in (0, 2, 4)
    )
    bands = {"2": (2, 2), "3–4": (3, 4), "5–9": (5, 9)}
    for name, (least, most) in bands.items():
        assert told["sessions"][name] == sum(lengths[n] for n in range(least, most + 1)), name
    page = (report / "report.html").read_text()
    assert "Events a day: all that prepare kept." in page
    assert f"Events are the {CLEAN} that prepare kept" in page
    assert f"which hold {IN_ROWS / CLEAN:.1%} of these events" in page


def test_a_dataset_of_before_is_told_of_by_its_rows(
    spark: SparkSession, manifest: Manifest
) -> None:
    url = files.join(manifest.url, "sequences", "split=train")
    rows = whole(spark.read.parquet(files.local_copy(url)))
    former = dataclasses.replace(manifest, events_by_day={}, events_by_type={})
    told = story(rows, former)
    days = Counter(
        f"1970-01-0{step + 1}"
        for steps in dataset.histories().values()
        for step, items in enumerate(steps[:3])
        for _ in items
    )
    assert told["days"] == days
    assert told["clean_events"] is None
    assert told["row_events"] == sum(days.values())
    assert [kind["events"] for kind in told["funnel"]] == [sum(days.values())]


def test_a_manifest_may_lack_what_came_later(manifest: Manifest, tmp_path: Path) -> None:
    content = files.read_json(files.join(manifest.url, files.MANIFEST))
    del content["events_by_day"], content["events_by_type"]
    assert _read(content, tmp_path / "before").events_by_day == {}
    del content["steps"]
    with pytest.raises(DataError, match=r"manifest.json: expected the key steps, found none"):
        _read(content, tmp_path / "broken")


def _read(content: dict, place: Path) -> Manifest:
    version = files.new_version(str(place))
    files.write_json(files.join(version, files.MANIFEST), content)
    files.publish(version)
    return manifests.read(str(place))
