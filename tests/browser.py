"""Debian's Chromium without a window, spoken to through a pipe (the DevTools protocol)."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
# Width and height in CSS pixels.
DESKTOP, PHONE, PAPER = (1280, 900), (390, 844), (718, 1000)
_SECONDS = 180

# What every page is asked, once it is there.
_LOOK = """JSON.stringify({
  text: document.body.innerText,
  width: document.documentElement.scrollWidth,
  pictures: [...document.images].map(picture => picture.complete ? picture.naturalWidth : 0),
  narrow: [...document.images].filter(picture => picture.clientWidth < 250).length,
  scrolling: [...document.querySelectorAll('.wide')].filter(
    frame => frame.scrollWidth > frame.clientWidth).length,
  // Text or pictures that stick out of the window, but for what scrolls in a frame of its own.
  beyond: [...document.querySelectorAll('body *')].filter(element =>
    element.getBoundingClientRect().right > innerWidth + 1 &&
    !element.closest('.wide')).map(element => element.outerHTML.slice(0, 80)),
})"""


@dataclass
class Look:
    """What a page is like at some width.

    Args:
        text: that a person can read
        width: of all there is, in CSS pixels
        pictures: the own width of each, 0 where it did not load
        narrow: pictures that are shown too small to be read
        scrolling: tables that scroll in a frame of their own
        beyond: elements that stick out of the window
        errors: of scripts, of the console, and of what could not be loaded
        addresses: that were asked for, but for the page itself and the data in it
    """

    text: str
    width: int
    pictures: list[int]
    narrow: int
    scrolling: int
    beyond: list[str]
    errors: list[str]
    addresses: list[str]


def find() -> str | None:
    """The browser's path; none where none is installed."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


@dataclass
class Browser:
    """A running browser.

    Args:
        send: file descriptor that it reads messages from, each ended by a zero byte
        receive: file descriptor that it writes answers and events to, likewise
    """

    send: int
    receive: int
    _sent: int = 0
    _rest: bytes = b""
    _events: list[dict[str, Any]] = field(default_factory=list)

    def look(self, page: Path, size: tuple[int, int], medium: str = "screen") -> Look:
        """Opens a page in a fresh tab of this size and looks at it."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        tab = {"session": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable", **tab)
        width, height = size
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height,
            deviceScaleFactor=1, mobile=size == PHONE, **tab,
        )  # fmt: skip
        self.ask("Emulation.setEmulatedMedia", media=medium, **tab)
        self._events.clear()
        self.ask("Page.navigate", url=page.as_uri(), **tab)
        self.wait_for("Page.loadEventFired")
        found = self.ask("Runtime.evaluate", expression=_LOOK, returnByValue=True, **tab)
        self.ask("Target.closeTarget", targetId=target)
        own = {page.as_uri(), "about:blank"}
        addresses = [address for address in self.addresses() if address not in own]
        return Look(
            **json.loads(found["result"]["value"]), errors=self.errors(), addresses=addresses
        )

    def ask(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Sends a command and waits for its answer; what else arrives is kept as events."""
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self.send, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._sent:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])
            self._events.append(answer)

    def wait_for(self, event: str) -> None:
        while all(known.get("method") != event for known in self._events):
            self._events.append(self._next())

    def addresses(self) -> list[str]:
        """That pages asked for since the last navigation, but for data within them."""
        sent = self._of("Network.requestWillBeSent")
        asked = [event["request"]["url"] for event in sent]
        return [address for address in asked if not address.startswith("data:")]

    def errors(self) -> list[str]:
        """Since the last navigation: exceptions, console errors, loads that failed."""
        thrown = [str(event["exceptionDetails"]) for event in self._of("Runtime.exceptionThrown")]
        said = [
            str(event["args"]) for event in self._of("Runtime.consoleAPICalled")
            if event["type"] in ("error", "assert")
        ]  # fmt: skip
        entries = [event["entry"] for event in self._of("Log.entryAdded")]
        logged = [entry["text"] for entry in entries if entry["level"] in ("error", "warning")]
        failed = [event["errorText"] for event in self._of("Network.loadingFailed")]
        return thrown + said + logged + failed

    def _of(self, method: str) -> list[dict[str, Any]]:
        return [event["params"] for event in self._events if event.get("method") == method]

    def _next(self) -> dict[str, Any]:
        until = time.monotonic() + _SECONDS
        while b"\0" not in self._rest:
            left = until - time.monotonic()
            ready = left > 0 and select.select([self.receive], [], [], left)[0]
            assert ready, f"expected an answer of the browser within {_SECONDS} s, found none"
            read = os.read(self.receive, 1 << 16)
            assert read, "the browser ended"
            self._rest += read
        message, self._rest = self._rest.split(b"\0", 1)
        return dict(json.loads(message))


@contextmanager
def running(path: str, folder: Path) -> Iterator[Browser]:
    """A browser that can reach no other machine; it is gone afterwards.

    Args:
        path: of the browser
        folder: for its profile and its log
    """
    there, send = os.pipe()
    receive, back = os.pipe()
    options = [
        "--headless=new", "--remote-debugging-pipe", f"--user-data-dir={folder / 'profile'}",
        "--host-resolver-rules=MAP * ~NOTFOUND", "--disable-background-networking",
        "--disable-component-update", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--hide-scrollbars",
    ]  # fmt: skip
    if os.geteuid() == 0:  # Chromium has no sandbox for root
        options.append("--no-sandbox")
    # It reads from descriptor 3 and writes to 4; the shell puts our ends there.
    shell = f'exec "$0" "$@" 3<&{there} 4>&{back}'
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-c", shell, path, *options],
            pass_fds=(there, back), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        os.close(there)
        os.close(back)
        browser = Browser(send, receive)
        try:
            yield browser
            browser.ask("Browser.close")
        finally:
            os.close(send)
            os.close(receive)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
