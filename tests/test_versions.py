from pathlib import Path

import pytest

from recsys import files, versions
from recsys.errors import ConfigError, DataError


def _published(place: str, *names: str) -> None:
    for name in names:
        version = files.join(files.as_url(place), "versions", name)
        files.write_json(files.join(version, files.MANIFEST), {})
        files.publish(version)


@pytest.mark.parametrize("scheme", ["", "memory:/"])
def test_back_to_an_earlier_version_and_old_ones_removed(tmp_path: Path, scheme: str) -> None:
    place = f"{scheme}{tmp_path}/place"
    _published(place, "1", "2", "4")
    files.write_json(files.join(files.as_url(place), "versions", "3", "half.json"), {})
    assert versions.listed(place) == [
        "1  published",
        "2  published",
        "3  not finished",
        "4  current",
    ]
    versions.back_to(place, "2")
    assert files.current(place, "") == files.join(files.as_url(place), "versions", "2")
    with pytest.raises(DataError, match=r"expected a published version \(1, 2, 4\), found '3'"):
        versions.back_to(place, "3")
    assert versions.prune(place, keep=1) == ["1", "3"]
    assert versions.listed(place) == ["2  current", "4  published"]
    with pytest.raises(DataError, match=r"\(2, 4\), found '1'"):
        versions.back_to(place, "1")
    with pytest.raises(
        ConfigError, match=r"--prune: expected a positive number of versions, found 0"
    ):
        versions.prune(place, keep=0)
