"""`horovodrun` for ranks on this machine alone: nothing of it can be reached from outside.

Horovod 0.28.1's rendezvous server listens on every interface, whatever --network-interfaces says,
and runs code that it is sent (CVE-2024-10190). Takes the same arguments as `horovodrun`.
"""

import socketserver
import sys
from typing import Any

from horovod.runner.launch import run_commandline

_listen = socketserver.TCPServer.__init__


def _listen_on_loopback(self: Any, address: tuple[str, int], *rest: Any, **named: Any) -> None:
    _listen(self, (address[0] or "127.0.0.1", address[1]), *rest, **named)


if __name__ == "__main__":
    socketserver.TCPServer.__init__ = _listen_on_loopback
    sys.argv[1:1] = ["--network-interfaces", "lo"]
    sys.exit(run_commandline())
