from pathlib import Path

import pytest

from recsys import files
from recsys.errors import DataError


def test_a_reader_sees_what_was_published_last(tmp_path: Path) -> None:
    place = str(tmp_path / "place")
    with pytest.raises(DataError, match=r"place: expected a version published by jobs/prepare.py"):
        files.current(place, "jobs/prepare.py")
    first = files.new_version(place)
    files.write_json(files.join(first, "content.json"), 1)
    files.publish(first)
    second = files.new_version(place)
    files.write_json(files.join(second, "content.json"), 2)
    assert files.read_json(files.join(files.current(place, ""), "content.json")) == 1
    files.publish(second)
    assert files.read_json(files.join(files.current(place, ""), "content.json")) == 2
    assert files.read_json(files.join(first, "content.json")) == 1


def test_versions_work_on_another_file_system() -> None:
    place = "memory://shop/place"
    version = files.new_version(place)
    files.write_json(files.join(version, "content.json"), {"a": 1})
    files.publish(version)
    assert files.current(place, "") == version
    assert files.read_json(files.join(version, "content.json")) == {"a": 1}
    files.remove(place)
    assert not files.exists(version)


def test_what_is_no_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text("{")
    with pytest.raises(DataError, match=r"manifest\.json: expected JSON"):
        files.read_json(files.as_url(str(path)))
    with pytest.raises(DataError, match=r"other\.json: expected a file, found none"):
        files.read_json(files.as_url(str(tmp_path / "other.json")))


def test_a_file_system_that_python_lacks_is_named() -> None:
    with pytest.raises(DataError, match="unknown://bucket/x: expected a file system that opens"):
        files.exists("unknown://bucket/x")


def test_a_pointer_without_its_key_is_named(tmp_path: Path) -> None:
    (tmp_path / files.POINTER).write_text("{}")
    with pytest.raises(DataError, match=r"current\.json: expected the key version, found \{\}"):
        files.current(str(tmp_path), "jobs/prepare.py")


def test_a_fingerprint_knows_the_parts_and_their_order() -> None:
    assert files.fingerprint(["a", "b"]) == files.fingerprint([b"a", "b"])
    assert (
        len({files.fingerprint(parts) for parts in (["a", "b"], ["b", "a"], ["ab"], ["ab", ""])})
        == 4
    )
