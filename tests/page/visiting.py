"""Somebody at the memory page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from tests.e2e.chatting import send
from tests.support.backend import ScriptedBackend
from tests.support.chromium import Browser
from tests.support.gateway import GatewayProcess
from tests.support.process import until
from tests.support.replies import call

VIEWS = ("Working context", "Recall storage", "Archival storage", "Turns", "Live", "All of it")


APPEND = "working_context_append"
INSERT = "archival_storage_insert"


def ask(gateway: GatewayProcess, method: str, path: str, key: str, **more: Any) -> httpx.Response:
    """Ask the API itself, as the owner of a key."""
    url = f"{gateway.origin}/memgpt/{path}"
    answer = httpx.request(method, url, headers={"authorization": f"Bearer {key}"}, **more)
    assert answer.status_code == 200, answer.text
    return answer


def remembering(backend: ScriptedBackend, name: str, words: str, reply: str = "Noted.") -> None:
    """Let the model write something to memory, and reply."""
    backend.reply(call(name, {"content": words, "request_heartbeat": True}), send(reply))


class Visitor:
    """A tab with the page; what it does is done with mouse and keyboard."""

    def __init__(self, browser: Browser, gateway: GatewayProcess) -> None:
        self._browser = browser
        self.tab = browser.open(f"{gateway.origin}/memgpt/")

    def enter(self, key: str, user: str = "") -> None:
        """Open a memory."""
        self.offer(key, user)
        self.tab.find("heading", "Working context")
        self.tab.until("document.querySelector('textarea').readOnly === false")

    def offer(self, key: str, user: str = "") -> None:
        """Give a key, whatever comes of it."""
        self.tab.fill("textbox", "API key", key)
        self.tab.fill("textbox", "User (optional)", user)
        self.tab.press("button", "Open")

    def show(self, view: str) -> None:
        """Go to a view."""
        self.tab.press("link", view)
        self.tab.find("heading", view)

    def entries(self) -> list[str]:
        """What the list that is shown has, an entry each."""
        script = """Array.from(document.querySelectorAll(".entries > li"))
            .filter(each => each.checkVisibility()).map(each => each.innerText)"""
        return [" ".join(each.split()) for each in self.tab.run(script)]

    def settled(self) -> None:
        """Wait until nothing is under way."""
        self.tab.until("document.querySelector('[aria-busy]') === null")

    def unfold(self) -> None:
        """Open what is folded."""
        self.tab.run("for (const each of document.querySelectorAll('details')) each.open = true")

    def focused(self) -> str:
        """What has the focus, by its label or its words."""
        now = "document.activeElement"
        return str(self.tab.run(f"{now}.labels?.[0]?.textContent ?? {now}.textContent"))

    def take_in(self, file: Path) -> None:
        """Import a file."""
        chosen = self.tab.call(
            "Runtime.evaluate", expression="document.querySelector('[type=file]')"
        )
        self.tab.choose_file(chosen["result"]["objectId"], file)
        self.tab.press("button", "Import")

    def text(self) -> str:
        """The working context, as it stands in its field."""
        element = self.tab.find("textbox", "Text")
        return str(self.tab.on(element, "function () { return this.value }"))

    def downloaded(self) -> Path:
        """Wait for the one file that is downloaded."""
        until(lambda: bool(self.tab.downloaded))
        (name,) = self.tab.downloaded
        return self._browser.downloads / name
