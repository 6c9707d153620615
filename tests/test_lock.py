import json
import multiprocessing
import os
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from recsys import lock
from recsys.errors import DataError

RUNS, ROUNDS = 6, 20


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


def _left(folder: Path, **changes: object) -> Path:
    content = {
        "run": "other", "by": "jobs/score.py", "host": socket.gethostname(), "pid": os.getpid(),
        "processes": lock.processes(), "touched": time.time(), "is_held": True,
    }  # fmt: skip
    path = folder / "lock-other.json"
    path.write_text(json.dumps({**content, **changes}))
    return path


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


def test_a_lock_of_another_machine_holds_while_it_is_touched(tmp_path: Path) -> None:
    _left(tmp_path, host="elsewhere", touched=time.time() - lock.STALE_SECONDS / 2)
    with pytest.raises(DataError, match="elsewhere"), lock.held(str(tmp_path), "jobs/score.py"):
        pass


def test_a_lock_of_another_container_of_this_name_holds(tmp_path: Path) -> None:
    """Its processes have numbers of their own, of which nothing is known here."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    _left(tmp_path, pid=gone.pid, processes="elsewhere")
    with pytest.raises(DataError, match=r"found jobs/score.py"), lock.held(str(tmp_path), "x"):
        pass


@pytest.mark.parametrize("hours", [-3, 3])
def test_another_machines_clock_is_not_believed_but_its_beats_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.1)
    clock = time.time() + 3600 * hours
    path = _left(tmp_path, host="elsewhere", touched=clock)
    beats = threading.Event()

    def beat() -> None:
        while not beats.wait(0.05):
            _left(tmp_path, host="elsewhere", touched=clock + time.monotonic())

    alive = threading.Thread(target=beat)
    alive.start()
    with pytest.raises(DataError, match="elsewhere"), lock.held(str(tmp_path), "jobs/score.py"):
        pass
    beats.set()
    alive.join()
    with lock.held(str(tmp_path), "jobs/score.py"):  # nobody touches it any more
        assert not path.exists()


def test_a_claim_that_nobody_can_read_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "_WRITTEN_SECONDS", 0.1)
    _left(tmp_path).write_text('{"run"')
    message = r"lock-other.json: expected the claim of a run, found .* remove the file"
    with pytest.raises(DataError, match=message), lock.held(str(tmp_path), "jobs/score.py"):
        pass


def test_one_that_another_has_taken_refuses_to_publish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lock.held(str(tmp_path), "jobs/versions.py") as stopped:
        stopped.check()
        with monkeypatch.context() as long_after:
            long_after.setattr(lock, "STALE_SECONDS", -1.0)
            second = lock.held(str(tmp_path), "jobs/score.py")
            holder = second.__enter__()
        holder.check()
        message = "expected no other run to this place, found jobs/score.py .* has taken the lock"
        with pytest.raises(DataError, match=message):
            stopped.check()
        stopped._write()  # as it does who is stopped between looking and touching
        holder.check()
        with pytest.raises(DataError, match=message):
            stopped.check()
        second.__exit__(None, None, None)
    assert list(tmp_path.iterdir()) == []


def test_one_whose_file_is_gone_refuses_to_publish(tmp_path: Path) -> None:
    with lock.held(str(tmp_path), "jobs/score.py") as stopped:
        next(tmp_path.iterdir()).unlink()
        with pytest.raises(DataError, match="expected the lock of this run, found none"):
            stopped.check()


def test_one_that_is_just_being_written_is_waited_for(tmp_path: Path) -> None:
    whole = _left(tmp_path)
    text = whole.read_text()
    whole.write_text("")
    threading.Timer(0.2, whole.write_text, [text]).start()
    with pytest.raises(DataError, match=r"found jobs/score.py as"), lock.held(str(tmp_path), "x"):
        pass


@pytest.mark.parametrize("place", ["memory://lock-test", "file"])
def test_of_many_at_once_one_gets_it(place: str, tmp_path: Path) -> None:
    """Each round they start together, and keep what they have until all have tried."""
    where = str(tmp_path) if place == "file" else place
    together, tried = (threading.Barrier(RUNS, timeout=60) for _ in range(2))

    def attempt(_: int) -> list[bool]:
        won = []
        for _ in range(ROUNDS):
            together.wait()
            try:
                with lock.held(where, "jobs/score.py"):
                    won.append(True)
                    tried.wait()
            except DataError:
                won.append(False)
                tried.wait()
        return won

    with ThreadPoolExecutor(RUNS) as pool:
        rounds = list(zip(*pool.map(attempt, range(RUNS)), strict=True))
    assert [sum(won) for won in rounds] == [1] * ROUNDS


def test_it_is_touched_while_it_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.05)
    with lock.held(str(tmp_path), "jobs/score.py"):
        path = next(tmp_path.glob("lock-*.json"))
        first = json.loads(path.read_text())["touched"]
        deadline = time.time() + 10
        while json.loads(path.read_text())["touched"] == first:
            assert time.time() < deadline
            time.sleep(0.02)


def test_a_beat_goes_on_after_a_store_that_failed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class HttpError(Exception):
        """As gcsfs raises, which is no OSError."""

    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.02)
    with lock.held(str(tmp_path), "jobs/score.py") as held:
        write, failures = held._write, iter([HttpError("unavailable")])

        def fails_once() -> None:
            if failure := next(failures, None):
                raise failure
            write()

        monkeypatch.setattr(held, "_write", fails_once)
        path = next(tmp_path.glob("lock-*.json"))
        deadline = time.time() + 10
        while "tried again: unavailable" not in caplog.text:
            assert time.time() < deadline
            time.sleep(0.02)
        before = json.loads(path.read_text())["touched"]
        while json.loads(path.read_text())["touched"] == before:
            assert time.time() < deadline
            time.sleep(0.02)


def test_a_beat_ends_when_another_has_taken_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.02)
    with lock.held(str(tmp_path), "jobs/score.py"):
        [own] = tmp_path.iterdir()
        path = _left(tmp_path, host="elsewhere")
        deadline = time.time() + 10
        while "found jobs/score.py" not in caplog.text:
            assert time.time() < deadline
            time.sleep(0.02)
    assert path.exists()
    assert not own.exists()
