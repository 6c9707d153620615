"""One writer to a place at a time, on any file system.

A lock is a small file that its owner touches while it works. It is over when it is released, when
its process on this machine is gone, or when nobody has touched it for a while, so that a run that
was killed stands in nobody's way for long.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from recsys import files
from recsys.errors import DataError

log = logging.getLogger(__name__)

LOCK = "lock.json"
BEAT_SECONDS = 10.0
STALE_SECONDS = 60.0


@contextmanager
def held(place: str, by: str) -> Iterator[None]:
    """Holds the place's lock.

    Args:
        place: what is written to
        by: the job, for whoever finds the lock

    Raises:
        DataError: another run holds it
    """
    url = files.join(files.as_url(place), LOCK)
    mine = {"run": uuid.uuid4().hex, "by": by, "host": socket.gethostname(), "pid": os.getpid()}
    _take(url, mine)
    done = threading.Event()
    beat = threading.Thread(target=_touch, args=(url, mine, done), daemon=True)
    beat.start()
    try:
        yield
    finally:
        done.set()
        beat.join()
        if _holder(url).get("run") == mine["run"]:
            files.remove(url)


def _take(url: str, mine: dict[str, Any]) -> None:
    found = _holder(url)
    if found and not _is_over(found):
        raise DataError(
            f"{url}: expected no other run to this place, found {found['by']} as process "
            f"{found['pid']} on {found['host']}"
        )
    if found:
        files.remove(url)
    if not _create(url, {**mine, "touched": time.time()}) or _holder(url)["run"] != mine["run"]:
        raise DataError(f"{url}: expected no other run to this place, found one that just started")


def _create(url: str, content: dict[str, Any]) -> bool:
    """Whether the file was not there; where exclusive creation is unknown, the last one wins."""
    fs, path = files.filesystem(url)
    if "file" not in fs.protocol:
        files.write_json(url, content)
        return True
    fs.makedirs(os.path.dirname(path), exist_ok=True)
    # A link is made whole or not at all, and never over another.
    draft = f"{path}.{content['run']}"
    files.write_json(f"file://{draft}", content)
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        os.remove(draft)
    return True


def _holder(url: str) -> dict[str, Any]:
    """Who holds the lock; empty where nobody does."""
    try:
        return dict(files.read_json(url))
    except DataError:
        return {}


def _is_over(found: dict[str, Any]) -> bool:
    if found["host"] == socket.gethostname() and not _is_alive(int(found["pid"])):
        return True
    return time.time() - float(found["touched"]) > STALE_SECONDS


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Whether it has ended and nobody has asked for its end yet, as after its parent was killed."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2][:1] == b"Z"
    except OSError:  # gone meanwhile, or no Linux
        return False


def _touch(url: str, mine: dict[str, Any], done: threading.Event) -> None:
    while not done.wait(BEAT_SECONDS):
        if (found := _holder(url)) and found["run"] != mine["run"]:
            # As after this process was stopped for long: the lock is not its own any more.
            log.error("%s: taken by %s as process %s", url, found["by"], found["pid"])
            return
        try:
            files.write_json(url, {**mine, "touched": time.time()})
        except OSError as error:
            log.warning("%s: not touched, tried again: %s", url, error)
