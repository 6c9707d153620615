"""One writer to a place at a time, on any file system.

Whoever wants to write puts a file of its own into the place, its claim, and then looks at those of
others. Of two who do so at once at least one sees the other, wherever what is written is listed at
once: on local disks, HDFS, S3, Google's and Azure's stores. Who sees nobody else holds the lock.
Who sees a holder gives up; of those who see only each other the one with the first name waits until
the others have given up. No file is ever written by two, so nothing must be created or replaced
atomically.

A holder touches its claim while it works. A claim is over when it is withdrawn, when its process on
this machine, and in this container, is gone, or when nobody has touched it for a while, so that a
run that was killed stands in nobody's way for long. What the clock of another machine says is
believed only as long as it agrees with this one's: a claim that looks old, or of the future, is
watched for some beats, and is over if nobody touches it meanwhile. One that was stopped for so long
and goes on finds its claim gone: it must ask before it publishes (Held.check).
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from recsys import files
from recsys.errors import DataError

log = logging.getLogger(__name__)

BEAT_SECONDS = 10.0
STALE_SECONDS = 60.0
# So long is a claim of a machine with another clock watched.
_WATCHED_BEATS = 3
# For others who started at the same moment to give up.
_PATIENCE_SECONDS = 20.0
# For a file that is seen before all of it is written, as on HDFS.
_WRITTEN_SECONDS = 2.0
_PREFIX, _SUFFIX = "lock-", ".json"


class Held:
    """The lock of a place, once it is taken.

    Args:
        place: what is written to
        by: the job, for whoever finds the lock
    """

    def __init__(self, place: str, by: str) -> None:
        self._place = files.as_url(place)
        self._run = uuid.uuid4().hex
        self._about = {
            "run": self._run, "by": by, "host": socket.gethostname(), "pid": os.getpid(),
            "processes": processes(), "is_held": False,
        }  # fmt: skip
        self._over: set[str] = set()  # claims of others that had ended before

    def check(self) -> None:
        """Makes sure that the lock is still this run's; to be called before anything is published.

        Raises:
            DataError: another run has taken it, or its file is gone
        """
        claims = self._claims()
        for found in claims.values():
            if found["run"] != self._run and found["is_held"]:
                raise self._refusal(f"{_named(found)}, which has taken the lock meanwhile")
        if self._run not in claims:
            raise DataError(f"{self._url(self._run)}: expected the lock of this run, found none")

    def take(self) -> None:
        """Claims the place.

        Raises:
            DataError: another run holds it, or is about to
        """
        self._write()
        try:
            self._wait_for_others()
            self._about["is_held"] = True
            self._write()
        except BaseException:
            self.release()
            raise

    def _wait_for_others(self) -> None:
        until = time.monotonic() + _PATIENCE_SECONDS
        while others := self._others():
            first = min(others, key=lambda found: (not found["is_held"], found["run"]))
            if first["is_held"] or first["run"] < self._run or time.monotonic() > until:
                raise self._refusal(_named(first))
            time.sleep(0.05)

    def is_ours(self) -> bool:
        """Whether the lock is still this run's, and why not in the log."""
        try:
            self.check()
        except DataError as error:  # as after this process was stopped for long
            log.error("%s", error)
            return False
        return True

    def touch(self) -> None:
        """Says that the run is alive.

        Raises:
            DataError: the disk is full
        """
        self._write()

    def release(self) -> None:
        """Withdraws the claim."""
        if files.exists(self._url(self._run)):
            files.remove(self._url(self._run))

    def _others(self) -> list[dict[str, Any]]:
        """The claims of others; removes those that are over."""
        claims = self._claims()
        claims.pop(self._run, None)
        doubtful = {run for run, found in claims.items() if _is_doubtful(found)}
        after = claims
        if doubtful:
            watched = ", ".join(_named(claims[run]) for run in doubtful)
            log.warning("%s: waiting whether %s is alive", self._place, watched)
            time.sleep(_WATCHED_BEATS * BEAT_SECONDS)
            after = self._claims()
        others = []
        for run, found in claims.items():
            if _is_over(found) or (run in doubtful and after.get(run) in (None, found)):
                self._over.add(run)
                _remove(self._url(run))
            else:
                others.append(found)
        return others

    def _claims(self) -> dict[str, dict[str, Any]]:
        """Whose claims there are, without those that were over when this run took the lock."""
        files.filesystem(self._place)[0].invalidate_cache()
        found = {}
        for name in files.names(self._place):
            run = name.removeprefix(_PREFIX).removesuffix(_SUFFIX)
            is_claim = name == f"{_PREFIX}{run}{_SUFFIX}" and run not in self._over
            if is_claim and (claim := _read(self._url(run))):
                found[run] = claim
        return found

    def _write(self) -> None:
        files.write_json(self._url(self._run), {**self._about, "touched": time.time()})

    def _url(self, run: str) -> str:
        return files.join(self._place, f"{_PREFIX}{run}{_SUFFIX}")

    def _refusal(self, found: str) -> DataError:
        return DataError(f"{self._place}: expected no other run to this place, found {found}")


@contextmanager
def held(place: str, by: str) -> Iterator[Held]:
    """Holds the place's lock.

    Args:
        place: what is written to
        by: the job, for whoever finds the lock

    Raises:
        DataError: another run holds it
    """
    lock = Held(place, by)
    lock.take()
    done = threading.Event()
    beat = threading.Thread(target=_beat, args=(lock, done), daemon=True)
    beat.start()
    try:
        yield lock
    finally:
        done.set()
        beat.join()
        lock.release()


def _beat(lock: Held, done: threading.Event) -> None:
    while not done.wait(BEAT_SECONDS):
        try:
            if not lock.is_ours():
                return
            lock.touch()
        except Exception as error:  # a store out of reach, whatever its library raises then
            log.warning("the lock was not touched, tried again: %s", error)


def _named(found: dict[str, Any]) -> str:
    return f"{found['by']} as process {found['pid']} on {found['host']}"


def _read(url: str) -> dict[str, Any] | None:
    """A claim; none where it was withdrawn meanwhile.

    Raises:
        DataError: it is not JSON, and not because it is just being written
    """
    until = time.monotonic() + _WRITTEN_SECONDS
    while True:
        try:
            return dict(files.read_json(url))
        except DataError:
            if not files.exists(url):
                return None
            if time.monotonic() > until:
                raise DataError(
                    f"{url}: expected the claim of a run, found what is no JSON; remove the file "
                    "if no job writes to the place"
                ) from None
        time.sleep(0.02)


def _remove(url: str) -> None:
    with suppress(FileNotFoundError):  # another has
        files.remove(url)


def processes() -> str:
    """What tells whose process numbers these are: this machine's since its start, this container's.

    Containers on one machine may share its name, and not know each other's processes.
    """
    try:
        started = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{started} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # no Linux
        return ""


def _is_of_here(found: dict[str, Any]) -> bool:
    here = (socket.gethostname(), processes())
    return (found["host"], found.get("processes", "")) == here


def _is_over(found: dict[str, Any]) -> bool:
    """Whether a claim is, of a process that can be seen from here."""
    if not _is_of_here(found):
        return False
    return not _is_alive(int(found["pid"])) or _age(found) > STALE_SECONDS


def _is_doubtful(found: dict[str, Any]) -> bool:
    """Whether a run that cannot be seen from here has ended, or its clock is another."""
    return not _is_of_here(found) and abs(_age(found)) > STALE_SECONDS


def _age(found: dict[str, Any]) -> float:
    """Seconds since it was touched, by the clock of whoever did."""
    return time.time() - float(found["touched"])


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
