"""Versions, pointers, manifests and hashes on any file system (fsspec).

A place holds `versions/<id>/`, each written once, and `current.json`, one small file written
last: a reader sees the old version or the new, never half. Nothing is renamed, so that object
stores serve as well as disks.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import posixpath
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import fsspec

from recsys.errors import DataError

POINTER = "current.json"
MANIFEST = "manifest.json"


def as_url(path: str) -> str:
    """The path with its scheme; without one it is on the local file system, made absolute.

    >>> as_url("hdfs://name/shop/dataset")
    'hdfs://name/shop/dataset'
    """
    if "://" in path:
        return path.rstrip("/")
    if path.startswith("file:/"):
        return "file:///" + path[len("file:/") :].strip("/")
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
    write_json(join(place, POINTER), content)


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
    pointer = join(as_url(place), POINTER)
    return list(read_json(pointer).get("published", [])) if exists(pointer) else []


def forget(place: str, version_ids: Iterable[str]) -> None:
    """Takes removed versions from those that were published."""
    pointer = join(as_url(place), POINTER)
    gone = set(version_ids)
    kept = [name for name in published(place) if name not in gone]
    write_json(pointer, {**read_json(pointer), "published": kept})


def current(place: str, made_by: str) -> str:
    """The URL of the current version.

    Raises:
        DataError: nothing was published there; names the place and the job that fills it
    """
    pointer = join(as_url(place), POINTER)
    if not exists(pointer):
        raise DataError(f"{place}: expected a version published by {made_by}, found none")
    content = read_json(pointer)
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
        raise DataError(f"{url}: expected a file system that opens, found: {error}") from error
    return fs, str(path)


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


def write_bytes(url: str, content: bytes) -> None:
    """Writes a whole file; on a local disk a reader never sees half of it."""
    fs, path = filesystem(url)
    fs.makedirs(posixpath.dirname(path), exist_ok=True)
    if "file" in fs.protocol:
        try:
            fs.pipe_file(path + ".writing", content)
        except OSError:
            with suppress(OSError):
                fs.rm(path + ".writing")
            raise
        fs.mv(path + ".writing", path)
    else:
        fs.pipe_file(path, content)


def local_copy(url: str) -> str:
    """A local path with the file's or folder's content: itself where it is local already."""
    fs, path = filesystem(url)
    if "file" in fs.protocol:
        return str(path)
    target = os.path.join(tempfile.mkdtemp(prefix="recsys-"), posixpath.basename(path))
    fs.get(path, target, recursive=True)
    return target


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
