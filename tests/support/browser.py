"""Chromium, without a window, and a page of the test's own for it to open."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")

DEADLINE = 60.0

_PAGE = """<!doctype html><title>a test's page</title><script type=module>
const tell = what => fetch("/told", {method: "POST", body: JSON.stringify(what)})
try { await tell({answer: await (async () => {%s})()}) }
catch (error) { await tell({error: String(error)}) }
</script>"""


def told_by_a_page(
    script: str,
    directory: Path,
    host: str = "127.0.0.1",
    on_the_way: Callable[[Any], object] = lambda told: None,
) -> Any:
    """Return what a script returns in a page of its own origin.

    Args:
        script: The body of an async function in JavaScript.
        directory: An existing folder for the browser's profile.
        host: The page's; names under ``localhost`` are this machine to the browser.
        on_the_way: Called with what the script tells by ``await tell(…)`` before it returns.

    Raises AssertionError for what the script throws.
    """
    told: Queue[dict[str, Any]] = Queue()
    with _page(_PAGE % script, told) as port, _browser(f"http://{host}:{port}/", directory):
        while not {*(said := told.get(timeout=DEADLINE))} & {"answer", "error"}:
            on_the_way(said)
    assert "error" not in said, said["error"]
    return said["answer"]


@contextmanager
def _page(html: str, told: Queue[dict[str, Any]]) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(html.encode(), "text/html; charset=utf-8")

        def do_POST(self) -> None:
            told.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self._answer(b"{}", "application/json")

        def _answer(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def _browser(url: str, directory: Path) -> Iterator[None]:
    assert BROWSER is not None, "no Chromium"
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += ["--no-first-run", "--disable-background-networking", "--remote-debugging-port=0"]
    with (directory / "browser.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"--user-data-dir={directory / 'profile'}", url], stdout=log, stderr=log
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(DEADLINE)
