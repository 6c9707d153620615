"""Versions, pointers, manifests and hashes on any file system (fsspec).

A place holds `versions/<id>/`, each written once, and `current.json`, one small file written
last: a reader sees the old version or the new, never half. No folder is renamed, so that object
stores serve as well as disks.
"""

from __future__ import annotations

import datetime
import errno
import hashlib
import json
import os
import posixpath
import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import fsspec

from recsys import cache
from recsys.errors import ConfigError, DataError

POINTER = "current.json"
MANIFEST = "manifest.json"

# What the system says of a full disk, or of a quota that is used up.
FULL = (errno.ENOSPC, errno.EDQUOT)
_DRAFT = ".writing"
# Where a file is seen before it is whole, and a rename does not go over one that is there. On an
# object store a file is there at once, and a rename would be a copy.
_HDFS = ("hdfs", "arrow_hdfs", "webhdfs")
_OPEN = "file, hdfs; s3 and s3a with s3fs, gs with gcsfs, abfs and abfss with adlfs installed"

# One letter is no scheme.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(.*)", re.DOTALL)


def as_url(path: str) -> str:
    """The path with its scheme; without one it is on the local file system, made absolute.

    >>> as_url("hdfs://name/shop/dataset")
    'hdfs://name/shop/dataset'
    >>> as_url("hdfs:/shop/dataset")
    'hdfs:///shop/dataset'

    Raises:
        ConfigError: one slash where a scheme needs to know whose place it is
    """
    if "://" in path:
        return path.rstrip("/")
    if found := _SCHEME.match(path):
        scheme, below = found.groups()
        if scheme not in ("file", *_HDFS):
            raise ConfigError(f"{path}: expected {scheme}:// and a place, found one slash alone")
        return f"{scheme}:///{below.strip('/')}"
    return "file://" + os.path.abspath(path)


def join(url: str, *parts: str) -> str:
    """A URL below another."""
    return posixpath.join(url, *parts)


def new_version(place: str) -> str:
    """The URL of a version that nobody has written yet, with an id that sorts by time."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S")
    return join(as_url(place), "versions", f"{now}-{uuid.uuid4().hex[:8]}")


def publish(version: str) -> None:
    """Makes a finished version the current one of its place."""
    place, version_id = version.rsplit("/versions/", 1)
    former = [name for name in published(place) if name != version_id]
    content = {"version": version_id, "published": [*former, version_id]}
    _write_pointer(place, content)


def _write_pointer(place: str, content: Any) -> None:
    pointer = join(as_url(place), POINTER)
    fs, path = filesystem(pointer)
    if not _is_of(fs, _HDFS):
        write_json(pointer, content)
        return
    if not fs.exists(path) and _pointer(place) is not None:
        fs.mv(path + _DRAFT, path)  # as the last run would have done, had it not been killed
    write_json(pointer + _DRAFT, content)
    if fs.exists(path):
        fs.rm(path)  # until the draft has its name it is read in its place
    fs.mv(path + _DRAFT, path)


def _pointer(place: str) -> Any:
    """What the pointer says; none where there is no pointer."""
    pointer = join(as_url(place), POINTER)
    on_hdfs = _is_of(filesystem(pointer)[0], _HDFS)
    for url in (pointer, pointer + _DRAFT, pointer) if on_hdfs else (pointer,):
        if exists(url):
            try:
                return read_json(url)
            except DataError:  # just moved, or half a draft
                if url == pointer and exists(url):
                    raise
    return None


@contextmanager
def drafted(place: str) -> Iterator[str]:
    """The URL of a new version, which is published when all that is done inside ends well.

    What fails, or is interrupted, leaves nothing of it.
    """
    version = new_version(place)
    with removed_on_failure(version):
        yield version
    publish(version)


@contextmanager
def removed_on_failure(url: str) -> Iterator[None]:
    """Leaves nothing at a URL when what is done inside fails."""
    try:
        yield
    except BaseException:
        if exists(url):
            remove(url)
        raise


def published(place: str) -> list[str]:
    """The ids of the versions that were published and not removed, in that order."""
    return list((_pointer(place) or {}).get("published", []))


def is_published(version: str) -> bool:
    """Whether the version of the URL was published and not removed."""
    place, _, name = version.rpartition("/versions/")
    return name in published(place)


def forget(place: str, version_ids: Iterable[str]) -> None:
    """Takes removed versions from those that were published."""
    gone = set(version_ids)
    kept = [name for name in published(place) if name not in gone]
    _write_pointer(place, {**_pointer(place), "published": kept})


def current(place: str, made_by: str) -> str:
    """The URL of the current version.

    Raises:
        DataError: nothing was published there; names the place and the job that fills it
    """
    pointer = join(as_url(place), POINTER)
    content = _pointer(place)
    if content is None:
        raise DataError(f"{place}: expected a version published by {made_by}, found none")
    if not isinstance(content, dict) or "version" not in content:
        raise DataError(f"{pointer}: expected the key version, found {content!r}")
    return join(as_url(place), "versions", str(content["version"]))


def versions(place: str) -> list[str]:
    """The ids of a place's versions, oldest first; finished or not."""
    return names(join(as_url(place), "versions"))


def filesystem(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system that a URL names, and the path in it.

    Raises:
        DataError: Python has no access to file systems of this kind
    """
    try:
        fs, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError, OSError) as error:
        raise DataError(
            f"{url}: expected a file system that opens in Python ({_OPEN}; or another of "
            f"fsspec's), found: {error}"
        ) from error
    return fs, str(path)


def is_local(url: str) -> bool:
    """Whether a URL names a place on a local disk."""
    return _is_of(filesystem(url)[0], ("file",))


def exists(url: str) -> bool:
    """Whether a file or folder is there."""
    fs, path = filesystem(url)
    return bool(fs.exists(path))


def names(url: str) -> list[str]:
    """The names of what a folder holds, sorted; none where it is not there."""
    fs, path = filesystem(url)
    if not fs.exists(path):
        return []
    return sorted(posixpath.basename(entry) for entry in fs.ls(path, detail=False))


def remove(url: str) -> None:
    """Removes a file, or a folder with all that it holds."""
    fs, path = filesystem(url)
    fs.rm(path, recursive=True)


def read_bytes(url: str) -> bytes:
    """A file's bytes.

    Raises:
        DataError: the file is not there
    """
    fs, path = filesystem(url)
    try:
        with fs.open(path, "rb") as file:
            return bytes(file.read())
    except FileNotFoundError:
        raise DataError(f"{url}: expected a file, found none") from None


def write_bytes(url: str, content: bytes, attempt: str = "") -> None:
    """Writes a whole file; on a local disk a reader never sees half of it.

    Args:
        url: of the file
        content: all of it
        attempt: tells several apart that may write the file at once, to a folder that is there

    Raises:
        DataError: the disk is full
    """
    fs, path = filesystem(url)
    try:
        folder, name = posixpath.split(path)
        if not attempt:
            fs.makedirs(folder, exist_ok=True)
        if _is_of(fs, ("file",)):
            # What an attempt leaves is hidden from Spark, which reads all that a folder shows.
            draft = f".{name}{attempt}{_DRAFT}" if attempt else f"{name}{_DRAFT}"
            _write_local(fs, path, content, posixpath.join(folder, draft))
        else:
            fs.pipe_file(path, content)
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise DataError(f"{url}: expected room to write, found a full disk") from error


def _write_local(fs: fsspec.AbstractFileSystem, path: str, content: bytes, draft: str) -> None:
    try:
        fs.pipe_file(draft, content)
    except OSError:
        with suppress(OSError):
            fs.rm(draft)
        raise
    fs.mv(draft, path)


def _is_of(fs: fsspec.AbstractFileSystem, protocols: Sequence[str]) -> bool:
    own = [fs.protocol] if isinstance(fs.protocol, str) else fs.protocol
    return any(name in protocols for name in own)


def local_copy(url: str) -> str:
    """A local path with the file's or folder's content: itself where it is local already.

    A copy is the machine's (recsys.cache): its processes share it, and it goes when none uses it.
    """
    fs, path = filesystem(url)
    if _is_of(fs, ("file",)):
        return str(path)
    name = posixpath.basename(path)

    def copy_to(folder: Path) -> None:
        folder.mkdir()
        fs.get(path, str(folder / name), recursive=True)

    content = [f"{found} {fs.ukey(found)}" for found in sorted(fs.find(path))]
    return str(cache.shared(fingerprint([url, *content]), copy_to) / name)


def copy(source: str, target: str) -> None:
    """Copies a file, or a folder with all that it holds, within one file system."""
    fs, path = filesystem(source)
    for found in fs.find(path):
        below = filesystem(target)[1] + found[len(path) :]
        fs.makedirs(posixpath.dirname(below), exist_ok=True)
        fs.cp_file(found, below)


def upload(folder: str, url: str) -> None:
    """Copies a local folder to where nothing is yet."""
    fs, path = filesystem(url)
    fs.makedirs(posixpath.dirname(path), exist_ok=True)
    fs.put(folder, path, recursive=True)


def read_json(url: str) -> Any:
    """A JSON file's content.

    Raises:
        DataError: the file is not there or not JSON
    """
    try:
        return json.loads(read_bytes(url))
    except json.JSONDecodeError as error:
        raise DataError(f"{url}: expected JSON, found {error}") from None


def write_json(url: str, content: Any) -> None:
    """Writes readable JSON with sorted keys."""
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False)
    write_bytes(url, text.encode() + b"\n")


def fingerprint(parts: Iterable[str | bytes]) -> str:
    """Sixteen hexadecimal digits that stand for the parts and their order."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()[:16]
