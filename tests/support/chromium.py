"""Chromium without a window, driven by its DevTools protocol over a pipe.

What the page shows is found as a screen reader finds it: by role and accessible name.
https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.browser import BROWSER
from tests.support.process import until

DEADLINE = 20.0

_PIPE = 'exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null'
"""It reads commands from descriptor 3 and writes to 4; a child has 0 and 1 alone."""
_OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--remote-debugging-pipe"),
)

Event = dict[str, Any]


class Browser:
    """One process; a context manager that starts and ends it.

    Attributes:
        downloads: Where what is downloaded lies.
    """

    def __init__(self, directory: Path) -> None:
        assert BROWSER is not None, "no Chromium"
        self.downloads = directory / "downloads"
        self._log = directory / "browser.log"
        self._command = ["sh", "-c", _PIPE, BROWSER, *_OPTIONS]
        self._command += [f"--user-data-dir={directory / 'profile'}", "about:blank"]
        self._ids = itertools.count(1)
        self._answers: dict[int, Future[dict[str, Any]]] = {}
        self._hearing: list[Callable[[Event], object]] = []
        self._writing = threading.Lock()

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        allowed = {"behavior": "allow", "downloadPath": str(self.downloads)}
        self.call("Browser.setDownloadBehavior", eventsEnabled=True, **allowed)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        assert self._process.stdin is not None
        self._process.stdin.close()

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Have something done, and return what comes of it."""
        number, told = next(self._ids), {"method": method, "params": params}
        answer = self._answers[number] = Future()
        if session is not None:
            told["sessionId"] = session
        with self._writing:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps({"id": number, **told}).encode() + b"\0")
            self._process.stdin.flush()
        said = answer.result(DEADLINE)
        assert "error" not in said, (method, said["error"])
        return said["result"]

    def hear(self, hearing: Callable[[Event], object]) -> None:
        """Have each event from now on handed to a function, in another thread."""
        self._hearing.append(hearing)

    def open(self, url: str) -> Tab:
        """Open a tab that shares nothing with others."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        allowed = {"behavior": "allow", "downloadPath": str(self.downloads)}
        self.call(
            "Browser.setDownloadBehavior", browserContextId=context, eventsEnabled=True, **allowed
        )
        made = self.call("Target.createTarget", url="about:blank", browserContextId=context)
        told = self.call("Target.attachToTarget", targetId=made["targetId"], flatten=True)
        tab = Tab(self, told["sessionId"], context)
        tab.go(url)
        return tab

    def _read(self) -> None:
        assert self._process.stdout is not None
        rest = b""
        while part := os.read(self._process.stdout.fileno(), 2**16):
            *whole, rest = (rest + part).split(b"\0")
            for said in map(json.loads, whole):
                if "id" in said:
                    self._answers.pop(said["id"]).set_result(said)
                else:
                    for hearing in self._hearing:
                        hearing(said)
        self._process.stdout.close()


class Tab:
    """A page that is open.

    Attributes:
        complaints: What its console has: exceptions, and what its policy forbade.
        downloaded: Names of files, each when it is whole.
    """

    def __init__(self, browser: Browser, session: str, context: str) -> None:
        self.complaints: list[Any] = []
        self.downloaded: list[str] = []
        self._browser, self._session, self._context = browser, session, context
        self._files: dict[str, str] = {}
        self._loads = 0
        browser.hear(self._heard)
        for domain in ("Page", "Runtime", "Log", "DOM", "Accessibility", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **params)

    def close(self) -> None:
        self._browser.call("Target.disposeBrowserContext", browserContextId=self._context)

    def go(self, url: str) -> None:
        """Go to an address and wait until it is there."""
        self._load("Page.navigate", url=url)

    def reload(self) -> None:
        """Load the page anew."""
        self._load("Page.reload")

    def _load(self, how: str, **params: Any) -> None:
        before = self._loads
        self.call(how, **params)
        until(lambda: self._loads > before, DEADLINE)

    def run(self, script: str) -> Any:
        """Return what an expression is in the page."""
        told = {"returnByValue": True, "awaitPromise": True, "userGesture": True}
        said = self.call("Runtime.evaluate", expression=script, **told)
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    def until(self, script: str) -> None:
        """Wait until an expression holds in the page."""
        until(lambda: bool(self.run(script)), DEADLINE)

    def until_shown(self, words: str) -> None:
        """Wait until the page shows these words; all white space is one space."""
        until(lambda: words in self.shown(), DEADLINE)

    def shown(self) -> str:
        """The words that the page shows, in one line."""
        return " ".join(str(self.run("document.body.innerText")).split())

    def all(self, role: str, name: str | None = None) -> list[str]:
        """The elements of a role and, where it is told, a name, as they can be acted on."""
        document = self.call("Runtime.evaluate", expression="document")["result"]["objectId"]
        asked = {"role": role} if name is None else {"role": role, "accessibleName": name}
        found = self.call("Accessibility.queryAXTree", objectId=document, **asked)["nodes"]
        seen = (each for each in found if not each["ignored"])
        return [self._resolved(each["backendDOMNodeId"]) for each in seen]

    def find(self, role: str, name: str) -> str:
        """Wait for the one element of a role and a name."""
        found: list[str] = []

        def is_there() -> bool:
            found[:] = self.all(role, name)
            return len(found) == 1

        until(is_there, DEADLINE)
        return found[0]

    def on(self, element: str, function: str) -> Any:
        """Return what a function of the page (``function () { … this … }``) says of an element."""
        told = {"returnByValue": True, "awaitPromise": True, "userGesture": True}
        said = self.call(
            "Runtime.callFunctionOn", functionDeclaration=function, objectId=element, **told
        )
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    def press(self, role: str, name: str) -> None:
        """Click on the element, where it is."""
        element = self.find(role, name)
        at = "scrollIntoView({block: 'center'}), this.getBoundingClientRect().toJSON()"
        box = self.on(element, f"function () {{ return this.{at} }}")
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def key(self, key: str) -> None:
        """Press a key of the keyboard: Tab, Enter, Escape."""
        text = {"text": "\r"} if key == "Enter" else {}
        code = {"Tab": 9, "Enter": 13, "Escape": 27}[key]
        for kind in ("keyDown", "keyUp"):
            told = text if kind == "keyDown" else {}
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
                **told,
            )

    def fill(self, role: str, name: str, text: str) -> None:
        """Type a text into a field, in place of what it has."""
        self.on(self.find(role, name), "function () { this.focus(); this.select() }")
        if text:
            self.call("Input.insertText", text=text)
        else:
            self.run("document.execCommand('delete')")

    def set(self, element: str, value: str) -> None:
        """Give a field a value, as its own control does: a date's, for one."""
        told = f"this.value = {json.dumps(value)}"
        events = "for (const each of ['input', 'change']) this.dispatchEvent(new Event(each))"
        self.on(element, f"function () {{ {told}; {events} }}")

    def choose_file(self, element: str, path: Path) -> None:
        self.call("DOM.setFileInputFiles", files=[str(path)], objectId=element)

    def window(self, width: int, height: int, *, dark: bool = False) -> None:
        """Show the page in a window of this size."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """Keep what the window shows, or the whole page, as a PNG."""
        told = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(told["data"]))

    def _resolved(self, node: int) -> str:
        return self.call("DOM.resolveNode", backendNodeId=node)["object"]["objectId"]

    def _heard(self, event: Event) -> None:
        params = event["params"]
        if event["method"] == "Browser.downloadWillBegin":
            self._files[params["guid"]] = params["suggestedFilename"]
        elif event["method"] == "Browser.downloadProgress" and params["state"] == "completed":
            if params["guid"] in self._files:
                self.downloaded.append(self._files[params["guid"]])
        elif event.get("sessionId") != self._session:
            return
        elif event["method"] == "Page.loadEventFired":
            self._loads += 1
        elif event["method"] == "Runtime.exceptionThrown":
            self.complaints.append(params["exceptionDetails"])
        elif event["method"] == "Log.entryAdded" and params["entry"]["source"] != "network":
            self.complaints.append(params["entry"])
