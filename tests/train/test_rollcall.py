"""Who waits for whom, through Horovod's own key-value server; the ranks are threads here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from horovod.runner.common.util.hosts import get_host_assignments, parse_hosts
from horovod.runner.elastic.rendezvous import create_rendezvous_handler
from horovod.runner.http.http_server import RendezvousHandler, RendezvousServer

from recsys.train import launcher, rollcall, watch
from recsys.train.rollcall import Others
from recsys.train.shards import Shard
from recsys.train.watch import Watch

HANDLERS = {"of-fixed-ranks": RendezvousHandler, "elastic": create_rendezvous_handler(None)}
SCOPE = "waiting-validation"
EXPECTED = "rank 0: expected all 2 ranks at validation; found"


@pytest.fixture(params=HANDLERS)
def server(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RendezvousServer]:
    """As the launcher of two ranks has it, which tell each other sooner than they do elsewhere."""
    found = RendezvousServer()
    port = found.start(HANDLERS[request.param])
    found.init(get_host_assignments(parse_hosts("localhost:2"), 2))
    monkeypatch.setenv("HOROVOD_GLOO_RENDEZVOUS_ADDR", "127.0.0.1")
    monkeypatch.setenv("HOROVOD_GLOO_RENDEZVOUS_PORT", str(port))
    monkeypatch.delenv("HOROVOD_ELASTIC", raising=False)
    monkeypatch.setattr(watch, "_TOLD_AFTER_SECONDS", 0.05)
    monkeypatch.setattr(watch, "_GONE_AFTER_SECONDS", 0.5)
    monkeypatch.setattr(rollcall, "_GRACE_SECONDS", 0.05)
    yield found
    found.stop()


def _wait(is_so: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def _others(rank: int) -> Others:
    return Others(Shard(rank, 2), "validation")


def _both_come(*ranks: Watch) -> None:
    """Both ranks wait for so long that they tell each other, and go on."""
    with ExitStack() as waits:
        for rank, own in enumerate(ranks):
            waits.enter_context(own.waiting(_others(rank)))
        _wait(lambda: all(launcher.is_told(SCOPE, rank) for rank in range(2)))
    _wait(lambda: not any(launcher.is_told(SCOPE, rank) for rank in range(2)))


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("visits", [1, 3])
def test_who_waited_at_a_place_before_is_missing_there_when_it_does_not_come_again(
    visits: int,
) -> None:
    said: list[str] = []
    ranks = [Watch(1, said.append), Watch(60)]
    for _ in range(visits):
        _both_come(*ranks)
    with ranks[0].waiting(_others(0)):
        _wait(lambda: said)
    assert said == [f"{EXPECTED} no rank 1 in 1 seconds"]


@pytest.mark.usefixtures("server")
def test_an_elastic_run_gives_up_just_the_rank_that_does_not_come_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HOROVOD_ELASTIC", "1")
    said: list[str] = []
    ranks = [Watch(1, said.append), Watch(60)]
    _both_come(*ranks)
    with ranks[0].waiting(_others(0)):
        _wait(lambda: launcher.is_told("given-up", 1))
    assert caplog.messages == [f"{EXPECTED} no rank 1 in 1 seconds; the run goes on without"]
    assert not launcher.is_told("given-up", 0)
    assert said == []


@pytest.mark.usefixtures("server")
def test_ranks_that_all_wait_find_each_other() -> None:
    said: list[str] = []
    ranks = [Watch(1, said.append), Watch(60)]
    _both_come(*ranks)
    with ranks[1].waiting(_others(1)), ranks[0].waiting(_others(0)):
        _wait(lambda: said)
    assert said == [f"{EXPECTED} all of them waiting in 1 seconds"]


def test_what_a_rank_takes_back_is_gone_and_the_rest_of_the_server_stays(
    server: RendezvousServer,
) -> None:
    for rank in range(2):
        _others(rank).tell()
        launcher.tell("global", rank)  # where Horovod has what it knows of them
    _others(0).take_back()
    _others(0).take_back()
    found = [[launcher.is_told(scope, rank) for rank in range(2)] for scope in (SCOPE, "global")]
    assert found == [[False, True], [True, True]]
    assert not server._httpd.finished_list  # or it would clear what it knows


def test_without_a_launcher_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOROVOD_GLOO_RENDEZVOUS_ADDR", raising=False)
    others = _others(0)
    others.tell()
    others.take_back()
    assert others.found().startswith("not all, and no launcher to ask which (")
