"""The memory page in a real browser: whose memory it opens, and who can use it."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.conftest import StartGateway
from tests.e2e.chatting import Person, send
from tests.page.conftest import Visit
from tests.page.visiting import APPEND, INSERT, VIEWS, ask, remembering
from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.replies import call

pytestmark = pytest.mark.slow


def test_a_key_that_is_not_taken_is_asked_for_again(start_gateway: StartGateway, visit: Visit):
    gateway = start_gateway("--accepted-keys", "right")
    visitor = visit(gateway)
    visitor.offer("wrong")
    visitor.tab.until_shown("The API key provided is not accepted here.")
    assert visitor.tab.run("document.activeElement.id") == "key"
    assert visitor.tab.run("sessionStorage.length") == 0
    visitor.offer("")
    visitor.tab.until_shown("You didn't provide an API key.")
    visitor.enter("right")
    assert "not accepted" not in visitor.tab.shown()


def test_a_key_that_is_withdrawn_takes_nothing_away_that_was_typed(
    start_gateway: StartGateway, visit: Visit, tmp_path: Path
):
    config = tmp_path / "config.yaml"
    config.write_text("accepted_keys: [old]")
    gateway = start_gateway("--config", str(config))
    visitor = visit(gateway, "old")
    visitor.tab.fill("textbox", "Text", "not saved yet")
    for keys in ("[new]", "[old, new]"):
        gateway.stop()
        config.write_text(f"accepted_keys: {keys}")
        gateway.start()
        if keys == "[new]":
            visitor.tab.press("button", "Save")
            visitor.tab.until_shown("The API key provided is not accepted here.")
            assert "Working context" not in visitor.tab.shown()
    visitor.enter("old")
    assert visitor.text() == "not saved yet"
    visitor.tab.press("button", "Forget key")
    visitor.enter("new")
    assert visitor.text() == ""


def test_a_late_refusal_of_another_key_closes_nothing(start_gateway: StartGateway, visit: Visit):
    visitor = visit(start_gateway("--accepted-keys", "old,new"), "old")
    visitor.tab.run("""
        const ask = window.fetch.bind(window);
        const refused = new Response("", { status: 401 });
        window.fetch = (url, options) => {
            if (window.refuse || !String(url).includes("traces")) return ask(url, options);
            return new Promise((answer) => (window.refuse = () => answer(refused)));
        };
    """)
    visitor.show("Turns")
    visitor.tab.until("window.refuse !== undefined")
    visitor.tab.press("button", "Forget key")
    visitor.offer("new")
    visitor.tab.find("button", "Forget key")
    visitor.tab.run("window.refuse()")
    visitor.tab.run("new Promise((done) => setTimeout(done, 50))")
    assert "API key" not in visitor.tab.shown()


def test_an_open_gateway_needs_no_key(start_gateway: StartGateway, visit: Visit):
    visit(start_gateway("--anonymous"), "")


def test_a_key_may_have_any_letters(
    backend: ScriptedBackend, gateway: GatewayProcess, api_key: str, visit: Visit
):
    key = f"{api_key}-schlüssel-鍵"
    note = {"content": "of this key"}
    url = f"{gateway.origin}/memgpt/archival-storage"
    headers = {b"authorization": f"Bearer {key}".encode()}
    assert httpx.post(url, headers=headers, json=note).status_code == 200
    visitor = visit(gateway, key)
    visitor.show("Archival storage")
    visitor.tab.until_shown("of this key")


def test_the_key_stays_in_the_tab_until_it_is_forgotten(
    gateway: GatewayProcess, api_key: str, visit: Visit
):
    note = {"content": "a secret note"}
    ask(gateway, "POST", "archival-storage", api_key, json=note, params={"user": "ann"})
    visitor = visit(gateway, api_key, user="ann")
    visitor.show("Archival storage")
    visitor.tab.until_shown("a secret note")
    assert visitor.tab.run("location.href") == f"{gateway.origin}/memgpt/#archival-storage"
    visitor.tab.reload()
    visitor.tab.until_shown("Memory of user ann")
    visitor.tab.until_shown("a secret note")
    assert visitor.tab.run("localStorage.length + document.cookie.length") == 0
    visitor.tab.press("button", "Forget key")
    visitor.tab.until_shown("The key is forgotten.")
    assert visitor.tab.run("sessionStorage.length") == 0
    typed = "[...document.querySelectorAll('input')].map(each => each.value)"
    left = visitor.tab.run(f"document.documentElement.outerHTML + {typed}")
    assert "a secret note" not in left
    assert api_key not in left
    visitor.tab.reload()
    visitor.tab.find("textbox", "API key")


def test_each_user_has_their_own(gateway: GatewayProcess, api_key: str, visit: Visit):
    for user in ("ann+1@example.org", "bob"):
        note = {"content": f"about {user}"}
        ask(gateway, "POST", "archival-storage", api_key, json=note, params={"user": user})
        visitor = visit(gateway, api_key, user=user)
        visitor.show("Archival storage")
        visitor.tab.until_shown(f"about {user}")
        assert len(visitor.entries()) == 1


def test_a_gateway_that_is_gone_is_told_of(start_gateway: StartGateway, api_key: str, visit: Visit):
    gateway = start_gateway()
    visitor = visit(gateway, api_key)
    gateway.stop()
    visitor.show("Turns")
    visitor.tab.until_shown("The gateway cannot be reached.")
    gateway.start()
    visitor.tab.press("button", "Reload")
    visitor.tab.until_shown("No turn is kept here.")


def test_the_keyboard_is_enough(gateway: GatewayProcess, api_key: str, visit: Visit):
    visitor = visit(gateway)
    assert visitor.tab.run("document.activeElement.id") == "key"
    visitor.tab.call("Input.insertText", text=api_key)
    visitor.tab.key("Enter")
    visitor.tab.until("document.activeElement.textContent === 'Working context'")
    visitor.tab.run("document.querySelector('#forget').focus()")
    for _ in range(3):
        visitor.tab.key("Tab")
    visitor.tab.key("Enter")
    visitor.tab.until("document.activeElement.textContent === 'Archival storage'")
    assert visitor.tab.run("document.title") == "Archival storage – Memory"
    for name in ("Words", "Search", "Add a note"):
        visitor.tab.key("Tab")
        assert visitor.focused() == name
    visitor.tab.key("Enter")
    visitor.tab.find("textbox", "Note")


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_wider_than_the_window(
    backend: ScriptedBackend, gateway: GatewayProcess, person: Person, visit: Visit, width: int
):
    remembering(backend, APPEND, "unbroken" * 60)
    backend.reply(call(INSERT, {"content": "y" * 500}), send("z" * 500))
    person.say("w" * 500)
    person.say("once more")
    visitor = visit(gateway)
    visitor.tab.window(width, 800)
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert visitor.tab.run(wide) == 0
    visitor.enter(person.api_key)
    for view in VIEWS:
        visitor.show(view)
        visitor.settled()
        visitor.unfold()
        assert visitor.tab.run(wide) == 0, view


def test_every_control_has_a_name_and_every_view_one_heading(
    backend: ScriptedBackend, gateway: GatewayProcess, person: Person, visit: Visit
):
    remembering(backend, APPEND, "Likes tea")
    person.say("I like tea.")
    visitor = visit(gateway, person.api_key)
    nameless = """Array.from(document.querySelectorAll("input, textarea, button, summary, a"))
        .filter(each => !(each.labels?.length || each.textContent.trim())).length"""
    for view in VIEWS:
        visitor.show(view)
        visitor.settled()
        assert visitor.tab.run(nameless) == 0
        headings = "[...document.querySelectorAll('h2')].filter(each => each.checkVisibility())"
        assert visitor.tab.run(f"{headings}.map(each => each.textContent)") == [view]
        current = "document.querySelectorAll('[aria-current=page]')"
        assert visitor.tab.run(f"[...{current}].map(each => each.textContent)") == [view]
