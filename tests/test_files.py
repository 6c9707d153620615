import json
import subprocess
import sys
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from recsys import cache, files
from recsys.errors import ConfigError, DataError


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


@pytest.mark.parametrize("killed_at", range(1, 7))
def test_a_pointer_that_cannot_be_replaced_at_once_is_always_old_or_new(
    monkeypatch: pytest.MonkeyPatch, killed_at: int
) -> None:
    """As on HDFS: a write is seen before it is whole, and no rename goes over a file."""
    steps = 0

    def watched(name: str) -> None:
        whole = getattr(MemoryFileSystem, name)

        def step(fs: MemoryFileSystem, path: str, *arguments: object, **more: object) -> None:
            nonlocal steps
            steps += 1
            if steps == killed_at and name == "pipe_file":
                whole(fs, path, b'{"version')
            if name == "mv":
                assert not fs.exists(arguments[0])
            if steps == killed_at:
                raise KeyboardInterrupt
            whole(fs, path, *arguments, **more)

        patched.setattr(MemoryFileSystem, name, step)

    place = f"memory://hdfs-{killed_at}"
    first, second, third = (f"{place}/versions/{name}" for name in "123")
    monkeypatch.setattr(files, "_HDFS", ("memory",))
    files.publish(first)
    with monkeypatch.context() as patched:
        for name in ("pipe_file", "rm_file", "mv"):
            watched(name)
        for version in (second, third):
            before = files.current(place, "")
            try:
                files.publish(version)
            except KeyboardInterrupt:
                assert files.current(place, "") in (before, version)
            else:
                assert files.current(place, "") == version
    assert steps >= killed_at
    assert files.published(place)[-1] == files.current(place, "").rsplit("/", 1)[-1]
    files.remove(place)


def test_half_of_the_first_pointer_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_HDFS", ("memory",))
    files.write_bytes("memory://half/current.json.writing", b'{"version')
    assert files.published("memory://half") == []
    files.publish("memory://half/versions/1")
    assert files.published("memory://half") == ["1"]
    files.remove("memory://half")


def test_what_is_no_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text("{")
    with pytest.raises(DataError, match=r"manifest\.json: expected JSON"):
        files.read_json(files.as_url(str(path)))
    with pytest.raises(DataError, match=r"other\.json: expected a file, found none"):
        files.read_json(files.as_url(str(tmp_path / "other.json")))


def test_a_file_system_that_python_lacks_is_named() -> None:
    for url in ("unknown://bucket/x", "viewfs://cluster/x", "ofs://cluster/x"):
        expected = f"{url}: expected a file system that opens in Python .*s3a with s3fs"
        with pytest.raises(DataError, match=expected):
            files.exists(url)


def test_a_scheme_with_one_slash_is_no_local_folder() -> None:
    assert files.as_url("hdfs:/shop/dataset/") == "hdfs:///shop/dataset"
    assert files.as_url("file:/shop/dataset") == "file:///shop/dataset"
    assert files.as_url("/shop/a:/b") == "file:///shop/a:/b"
    with pytest.raises(ConfigError, match="s3a:/bucket/x: expected s3a:// and a place"):
        files.as_url("s3a:/bucket/x")


def test_a_pointer_without_its_key_is_named(tmp_path: Path) -> None:
    (tmp_path / files.POINTER).write_text("{}")
    with pytest.raises(DataError, match=r"current\.json: expected the key version, found \{\}"):
        files.current(str(tmp_path), "jobs/prepare.py")


def test_a_distant_folder_is_copied_once_and_removed_when_nobody_uses_it() -> None:
    place = "memory://shop/model"
    files.write_json(f"{place}/export/variables/about.json", {"a": 1})
    first = Path(files.local_copy(f"{place}/export"))
    assert first.name == "export"
    assert json.loads((first / "variables" / "about.json").read_text()) == {"a": 1}
    assert files.local_copy(f"{place}/export") == str(first)
    single = Path(files.local_copy(f"{place}/export/variables/about.json"))
    assert json.loads(single.read_text()) == {"a": 1}
    assert first.exists()  # it is in use
    cache.let_go()
    files.write_json(f"{place}/export/variables/about.json", {"a": 2})  # another content
    again = Path(files.local_copy(f"{place}/export"))
    assert json.loads((again / "variables" / "about.json").read_text()) == {"a": 2}
    assert not first.exists()
    assert not single.exists()
    cache.let_go()
    files.remove(place)


def test_what_another_process_uses_stays() -> None:
    def make(path: Path) -> None:
        path.write_text("made")

    used, other = cache.shared("of-another", make), ["of-this-one", "of-this-one-too"]
    code = "from recsys import cache; cache.shared('of-another', None); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1) as process:
        assert process.stdout is not None
        process.stdout.readline()
        cache.let_go()
        assert cache.shared(other[0], make).exists()
        assert used.exists()
        process.communicate(b"\n")
    cache.let_go()
    assert cache.shared(other[1], make).read_text() == "made"
    names = {path.name.partition(".")[0] for path in cache.folder().iterdir()}
    assert not names & {"of-another", other[0]}
    cache.let_go()


def test_a_fingerprint_knows_the_parts_and_their_order() -> None:
    assert files.fingerprint(["a", "b"]) == files.fingerprint([b"a", "b"])
    assert (
        len({files.fingerprint(parts) for parts in (["a", "b"], ["b", "a"], ["ab"], ["ab", ""])})
        == 4
    )
