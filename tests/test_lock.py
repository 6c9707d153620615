import json
import multiprocessing
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from recsys import lock
from recsys.errors import DataError


def test_the_second_is_refused_until_the_first_is_done(tmp_path: Path) -> None:
    with lock.held(str(tmp_path), "jobs/score.py"):
        expected = rf"expected no other run .* found jobs/score.py as process {os.getpid()} on "
        with pytest.raises(DataError, match=expected), lock.held(str(tmp_path), "jobs/score.py"):
            pass
    with lock.held(str(tmp_path), "jobs/score.py"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_failure_releases_it(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), lock.held(str(tmp_path), "jobs/score.py"):
        raise ZeroDivisionError
    with lock.held(str(tmp_path), "jobs/score.py"):
        pass


def _left(folder: Path, **changes: object) -> None:
    content = {
        "run": "other", "by": "jobs/score.py", "host": socket.gethostname(), "pid": os.getpid(),
        "touched": time.time(),
    }  # fmt: skip
    (folder / lock.LOCK).write_text(json.dumps({**content, **changes}))


def test_a_lock_of_a_process_that_is_gone_is_over(tmp_path: Path) -> None:
    gone = multiprocessing.get_context("spawn").Process(target=int)
    gone.start()
    gone.join()
    _left(tmp_path, pid=gone.pid)
    with lock.held(str(tmp_path), "jobs/score.py"):
        pass


def test_a_lock_of_a_process_that_ended_unasked_is_over(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # a zombie until somebody asks
    os.kill(ended.pid, 0)
    _left(tmp_path, pid=ended.pid)
    with lock.held(str(tmp_path), "jobs/score.py"):
        pass
    ended.wait()


def test_a_lock_of_another_machine_is_over_when_nobody_touched_it_for_long(tmp_path: Path) -> None:
    _left(tmp_path, host="elsewhere", touched=time.time() - lock.STALE_SECONDS / 2)
    with pytest.raises(DataError, match="elsewhere"), lock.held(str(tmp_path), "jobs/score.py"):
        pass
    _left(tmp_path, host="elsewhere", touched=time.time() - lock.STALE_SECONDS - 1)
    with lock.held(str(tmp_path), "jobs/score.py"):
        pass


def test_one_that_another_has_taken_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.02)
    with lock.held(str(tmp_path), "jobs/score.py"):
        deadline = time.time() + 10
        while "taken by jobs/score.py" not in caplog.text:
            assert time.time() < deadline
            _left(tmp_path, host="elsewhere")  # again, where it was being touched just then
            time.sleep(0.02)
    assert json.loads((tmp_path / lock.LOCK).read_text())["host"] == "elsewhere"


def test_it_is_touched_while_it_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.05)
    with lock.held(str(tmp_path), "jobs/score.py"):
        path = tmp_path / lock.LOCK
        first = json.loads(path.read_text())["touched"]
        deadline = time.time() + 10
        while json.loads(path.read_text())["touched"] == first:
            assert time.time() < deadline
            time.sleep(0.02)
