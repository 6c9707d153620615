"""What the processes of a machine share on its disk: made by the first that needs it.

/tmp/recsys-1000/6f1c…/           arrays of items that every worker maps, one copy in memory
/tmp/recsys-1000/6f1c….used       locked by each process that uses them
/tmp/recsys-1000/03ab…            a copy of a distant model

What nobody uses any more is removed when something else is made, so that there is never more than
what is in use and what was used last.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from recsys.errors import DataError

# The locks of what this process uses.
_used: dict[Path, IO[str]] = {}


def folder() -> Path:
    """The machine's folder of this user, which nobody else may write to."""
    place = Path(tempfile.gettempdir()) / f"recsys-{os.getuid()}"
    place.mkdir(mode=0o700, exist_ok=True)
    if place.stat().st_uid != os.getuid():
        raise DataError(f"{place}: expected a folder of this user, found one of another")
    return place


def shared(key: str, make: Callable[[Path], None], suffix: str = "") -> Path:
    """The machine's file (or folder) of a key; it stays until this process ends or lets go.

    Args:
        key: a fingerprint of all that the file depends on
        make: writes it to the path it is given
        suffix: of the file
    """
    path, draft = (folder() / f"{key}{middle}{suffix}" for middle in ("", ".writing"))
    _use(path.with_name(f"{key}.used"))
    with open(path.with_name(f"{key}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _remove_unused()
            _remove(draft)  # of a try that was killed
            try:
                make(draft)
                os.replace(draft, path)
            finally:
                _remove(draft)
    return path


def let_go() -> None:
    """Says that this process uses nothing of it any more."""
    for lock in _used.values():
        lock.close()
    _used.clear()


def _use(place: Path) -> None:
    while place not in _used:
        lock = open(place, "w")  # noqa: SIM115  # held until let_go()
        fcntl.flock(lock, fcntl.LOCK_SH)
        if place.exists():
            _used[place] = lock
        else:  # removed by another between opening and locking it
            lock.close()


def _remove_unused() -> None:
    for used in folder().glob("*.used"):
        with suppress(OSError), open(used) as lock:  # in use, or just removed by another
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for path in folder().iterdir():
                if path.name.partition(".")[0] == used.stem:
                    _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
