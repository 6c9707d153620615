"""Which ranks are missing where the others wait: asked through the launcher's key-value server.

Horovod 0.28.1 has a check for that, which says nothing where Gloo connects the ranks.
"""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from recsys.train.batches import Shard

_GRACE_SECONDS = 1.0


def expected(shard: Shard, place: str) -> tuple[str, Callable[[], str]]:
    """What a watch says of a rank that waits for all others, and how it finds who is missing."""
    what = f"rank {shard.rank}: expected all {shard.ranks} ranks at {place}"
    return what, lambda: found(shard, place)


def found(shard: Shard, place: str) -> str:
    """Says that this rank waits at a place, and which of the others don't say so.

    Args:
        shard: of this rank
        place: the same for all ranks that wait for each other; letters, digits and -
    """
    try:
        _request("PUT", f"waiting-{place}", shard.rank)
        time.sleep(_GRACE_SECONDS)  # the others have waited about as long
        missing = [rank for rank in range(shard.ranks) if not _says_so(place, rank)]
    except (OSError, KeyError) as error:
        return f"not all, and no launcher to ask which ({error})"
    return " and ".join(f"no rank {rank}" for rank in missing) or "all of them waiting"


def _says_so(place: str, rank: int) -> bool:
    try:
        _request("GET", f"waiting-{place}", rank)
    except urllib.error.HTTPError:
        return False
    return True


def _request(method: str, scope: str, rank: int) -> None:
    address, port = (os.environ[f"HOROVOD_GLOO_RENDEZVOUS_{part}"] for part in ("ADDR", "PORT"))
    data = b"here" if method == "PUT" else None
    url = f"http://{address}:{port}/{scope}/{rank}"
    request = urllib.request.Request(url, data=data, method=method)
    urllib.request.urlopen(request, timeout=5).close()
