"""The launcher of the ranks, and what they tell each other through its key-value server.

Nothing here loads TensorFlow, so that a rank's guard starts at once and stays small.
"""

from __future__ import annotations

import os
import urllib.error
import urllib.request


def is_elastic() -> bool:
    """Whether the launcher lets ranks come and go."""
    return os.environ.get("HOROVOD_ELASTIC") == "1"


def tell(scope: str, rank: int) -> None:
    """Notes something that is so of a rank, until the ranks change.

    Args:
        scope: what is so; letters, digits and -
        rank: that it is so of

    Raises:
        OSError: the server does not answer
        KeyError: no launcher has started this process
    """
    _request("PUT", scope, rank)


def take_back(scope: str, rank: int) -> None:
    """Something that was noted of a rank is so no more; raises as `tell`."""
    _request("DELETE", scope, rank)


def is_told(scope: str, rank: int) -> bool:
    """Whether something was noted of a rank; raises as `tell`."""
    try:
        _request("GET", scope, rank)
    except urllib.error.HTTPError:
        return False
    return True


def _request(method: str, scope: str, rank: int) -> None:
    address, port = (os.environ[f"HOROVOD_GLOO_RENDEZVOUS_{part}"] for part in ("ADDR", "PORT"))
    data = b"here" if method == "PUT" else None
    url = f"http://{address}:{port}/{scope}/{rank}"
    request = urllib.request.Request(url, data=data, method=method)
    urllib.request.urlopen(request, timeout=5).close()
