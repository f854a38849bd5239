"""A headless Chromium, driven by the DevTools protocol over a pipe: opens pages as their readers do."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest

from tools.reporting.wording import NONE

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_SECONDS = 90
"""Seconds within which the browser is to answer, on a busy machine."""

Scheme = Literal["light", "dark"]


def executable() -> str | None:
    """Return the path of a browser on this machine; None without one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """A page in the browser.

    Attributes
    ----------
    errors
        Console messages of errors and warnings, exceptions of scripts, and what the policy refused.
    requests
        URLs that the page asked for, but for itself and embedded data.
    """

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self.errors: list[str] = []
        self.requests: list[str] = []

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command of the protocol, and return its result."""
        return self._browser.send(method, self._session, **params)

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression in the page."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key: Tab or Enter."""
        codes = {"Tab": 9, "Enter": 13}
        more = {"text": "\r"} if key == "Enter" else {}
        shared = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
        self.send("Input.dispatchKeyEvent", type="keyDown", **shared, **more)
        self.send("Input.dispatchKeyEvent", type="keyUp", **shared)

    def screenshot(self, path: Path) -> None:
        """Write a picture of the whole page."""
        size = self.run("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1}
        made = self.send("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(made["data"]))

    def printed(self) -> bytes:
        """Return the page printed as PDF."""
        return base64.b64decode(self.send("Page.printToPDF")["data"])


class Browser:
    """A running browser."""

    def __init__(self, path: str, profile: str) -> None:
        self._commands, out = os.pipe()
        into, self._answers = os.pipe()
        # The browser reads commands from descriptor 3 and answers on 4.
        words = [path, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
        words += [f"--user-data-dir={profile}", "--disable-dev-shm-usage", "--no-first-run", "about:blank"]
        script = f'exec 3<&{self._commands} 4>&{self._answers}; exec "$@"'
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", script, "browser", *words],
            pass_fds=(self._commands, self._answers),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(self._commands)
        os.close(self._answers)
        self._write, self._read = os.fdopen(out, "wb", 0), os.fdopen(into, "rb", 0)
        self._number = 0
        self._pending = b""
        self._pages: dict[str, Page] = {}

    def open(self, url: str, *, scheme: Scheme = "light", width: int = 1100) -> Page:
        """Open a page and wait until it is there."""
        target = self.send("Target.createTarget", None, url="about:blank")["targetId"]
        session = self.send("Target.attachToTarget", None, targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.send(f"{domain}.enable")
        page.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        page.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
        )
        page.send("Page.navigate", url=url)
        for _ in range(10 * _SECONDS):
            if page.run("document.readyState === 'complete' && location.href !== 'about:blank'"):
                break
        page.requests = [one for one in page.requests if one != url and not one.startswith("data:")]
        return page

    def send(self, method: str, session: str | None, **params: Any) -> dict[str, Any]:
        """Send a command, and return its result; events meanwhile are noted with their page."""
        self._number += 1
        command: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if session is not None:
            command["sessionId"] = session
        self._write.write(json.dumps(command).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._pending:
            more = os.read(self._read.fileno(), 1 << 16)
            assert more, "the browser ended"
            self._pending += more
        message, _, self._pending = self._pending.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def _note(self, event: dict[str, Any]) -> None:
        page, params = self._pages.get(event.get("sessionId", "")), event.get("params", {})
        if page is None:
            return
        if event["method"] == "Runtime.exceptionThrown":
            page.errors.append(json.dumps(params["exceptionDetails"]))
        elif event["method"] == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            page.errors.append(json.dumps(params["args"]))
        elif event["method"] == "Log.entryAdded":
            page.errors.append(params["entry"]["text"])
        elif event["method"] == "Network.requestWillBeSent":
            page.requests.append(params["request"]["url"])

    def close(self) -> None:
        """End the browser."""
        self._write.close()
        self._process.terminate()
        self._process.wait(_SECONDS)
        self._read.close()


@contextmanager
def running() -> Iterator[Browser]:
    """Start a browser; skip where there is none, except in continuous integration, which installs one."""
    path = executable()
    if path is None:
        reason = f"no browser is installed (one of {', '.join(NAMES)})"
        if os.environ.get("CI"):
            pytest.fail(f"{reason}, and CI must have one")
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="trainer-browser-", ignore_cleanup_errors=True) as profile:
        browser = Browser(path, profile)
        try:
            yield browser
        finally:
            browser.close()


def reached(page: Page, most: int = 300) -> Sequence[str]:
    """Press Tab through a page, and return what has had the focus: tags with their texts."""
    seen: list[str] = []
    for _ in range(most):
        page.press("Tab")
        now = page.run(
            "(() => { const e = document.activeElement; return e === document.body ? '' : "
            "e.tagName + ' ' + (e.getAttribute('aria-label') || e.textContent).trim().slice(0, 60) })()"
        )
        if not now:
            break
        seen.append(now)
    return seen


FOCUSABLE = "button, summary, a[href], [tabindex='0']"
_SHOWN = f'[...document.querySelectorAll("{FOCUSABLE}")].filter((one) => one.checkVisibility()).length'
_DRAWN = (
    "[...document.querySelectorAll('svg[role=img]')].filter((one) => { const box = "
    "one.getBoundingClientRect(); return box.width > 20 && box.height > 5 && one.childElementCount > 1 "
    "}).length"
)
_UNNAMED = (
    "[...document.querySelectorAll('svg[role=img]')].filter((one) => !one.getAttribute('aria-label') && "
    "!one.getAttribute('aria-labelledby')).length"
)
_WIDE = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
_WIDEST = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
_PAPER = "getComputedStyle(document.body).backgroundColor"
_COLUMN = (
    "(i) => [...document.querySelector('table.sortable').tBodies[0].rows].map((row) => "
    "row.cells[i].textContent)"
)


def check(browser: Browser, file: Path, *, charts: int) -> Page:
    """Assert what every page promises, in both color schemes; return it, light.

    No console message, no request, drawings that are there and have text alternatives, nothing wider than a
    telephone's or a desk's screen, everything reached by keyboard, and a page that prints.
    """
    papers = {}
    for scheme in ("dark", "light"):
        page = browser.open(file.as_uri(), scheme=scheme)
        papers[scheme] = page.run(_PAPER)
        assert page.errors == []
        assert page.requests == []
        assert page.run(_DRAWN) >= charts
        assert page.run(_UNNAMED) == 0
        assert not page.run(_WIDE)
    assert papers["dark"] != papers["light"]
    assert len(reached(page)) == page.run(_SHOWN)
    assert page.printed().startswith(b"%PDF")
    narrow = browser.open(file.as_uri(), width=380)
    assert not narrow.run(_WIDE), (file, narrow.run(_WIDEST))
    return page


def check_sorting(page: Page, column: int) -> None:
    """Assert that a column of the first sortable table is sorted by its heading, by keyboard, both ways."""
    before = page.run(f"({_COLUMN})({column})")
    page.run(f"document.querySelectorAll('table.sortable thead button')[{column}].focus()")
    page.press("Enter")
    up = page.run(f"({_COLUMN})({column})")
    page.press("Enter")
    down = page.run(f"({_COLUMN})({column})")
    assert sorted(up) == sorted(before)
    # Cells without a figure stay last.
    filled = [text for text in up if text != NONE]
    assert len(filled) > 1
    assert down == [*filled[::-1], *up[len(filled) :]]
