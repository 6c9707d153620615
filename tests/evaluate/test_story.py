from __future__ import annotations

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
from recsys.schemas import HISTORIES, ddl
from tests.evaluate import dataset
from tests.evaluate.rows import stored

EVENTS = sum(len(items) for steps in dataset.histories().values() for items in steps)


def test_all_that_is_in_histories_is_counted(report: Path) -> None:
    told = files.read_json(files.as_url(str(report / "metrics.json")))["story"]
    assert told["days"] == Counter(
        f"1970-01-0{step + 1}"
        for steps in dataset.histories().values()
        for step, items in enumerate(steps)
        for _ in items
    )
    assert (told["events"], told["users"]) == (EVENTS, dataset.USERS)
    assert told["funnel"] == [{"event_type": "purchase", "events": EVENTS, "users": dataset.USERS}]
    lengths = Counter(
        sum(len(items) for items in steps[start : start + 2])
        for steps in dataset.histories().values()
        for start in (0, 2, 4)
    )
    bands = {"2": (2, 2), "3–4": (3, 4), "5–9": (5, 9)}
    for name, (least, most) in bands.items():
        assert told["sessions"][name] == sum(lengths[n] for n in range(least, most + 1)), name
    page = (report / "report.html").read_text()
    assert "Events a day." in page
    assert f"Counted are the {EVENTS} events" in page


def test_types_that_train_lacks_come_last(spark: SparkSession, manifest: Manifest) -> None:
    rows = [
        {**stored(user, [(0, [2]), (1, [3, 4])], [0, 2]), "event_type": types}
        for user, types in {"ann": [1, 2, 1], "bob": [1, 1, 1], "cy": [2, 1, 2]}.items()
    ]
    frame = spark.createDataFrame(
        [[own[name] for name in HISTORIES] for own in rows], ddl(HISTORIES)
    )
    told = story(whole(frame), manifest)
    assert told["funnel"] == [
        {"event_type": "purchase", "events": 3, "users": 2},
        {"event_type": "types that train lacks", "events": 6, "users": 3},
    ]


def test_a_manifest_that_lacks_a_key_is_refused(manifest: Manifest, tmp_path: Path) -> None:
    content = files.read_json(files.join(manifest.url, files.MANIFEST))
    del content["steps"]
    with pytest.raises(DataError, match=r"manifest.json: expected the key steps, found none"):
        _read(content, tmp_path / "broken")


def _read(content: dict, place: Path) -> Manifest:
    version = files.new_version(str(place))
    files.write_json(files.join(version, files.MANIFEST), content)
    files.publish(version)
    return manifests.read(str(place))
