"""The memory page's views, in a real browser over a real gateway."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pytest

from tests.conftest import StartGateway
from tests.e2e.chatting import Person, send
from tests.page.conftest import Visit
from tests.page.visiting import APPEND, INSERT, VIEWS, ask, remembering
from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.process import until
from tests.support.replies import Gate, call, wait

pytestmark = pytest.mark.slow

MARKUP = "<img src=x onerror=\"document.title = 'owned'\"><script>document.title = 'owned'</script>"


def test_what_was_said_is_shown_and_found(
    backend: ScriptedBackend, gateway: GatewayProcess, person: Person, visit: Visit
):
    backend.reply(send("So it is."), send("Also that."))
    person.say("My kettle is blue.")
    person.say("The pot is white.")
    visitor = visit(gateway, person.api_key)
    visitor.show("Recall storage")
    visitor.tab.until_shown("4 messages")
    newest, *_, oldest = visitor.entries()
    assert newest.startswith("Assistant ")
    assert newest.endswith(" Also that.")
    assert re.fullmatch(r"User \d{4}-\d\d-\d\d \d\d:\d\d:\d\d My kettle is blue\.", oldest)
    visitor.tab.fill("searchbox", "Words", "kettle")
    visitor.tab.press("button", "Search")
    visitor.tab.until_shown("1 message found")
    assert [each.endswith("My kettle is blue.") for each in visitor.entries()] == [True]
    visitor.tab.fill("searchbox", "Words", "saucer")
    visitor.tab.key("Enter")
    visitor.tab.until_shown("Nothing is found.")
    assert visitor.entries() == []
    visitor.tab.press("button", "Show all")
    visitor.tab.until_shown("4 messages")


def test_messages_are_found_by_their_days(
    backend: ScriptedBackend, gateway: GatewayProcess, person: Person, visit: Visit
):
    backend.reply(send("Hi."))
    person.say("Hello.")
    visitor = visit(gateway, person.api_key)
    visitor.show("Recall storage")
    visitor.tab.until_shown("2 messages")
    for day, found in (("2020-01-01", "Nothing is found."), (f"{datetime.now(UTC):%F}", "found")):
        for field in ("From day", "To day"):
            visitor.tab.set(visitor.tab.find("Date", field), day)
        visitor.tab.press("button", "Show days")
        visitor.tab.until_shown(found)


def test_dates_are_those_of_the_readers_zone(
    backend: ScriptedBackend, gateway: GatewayProcess, person: Person, visit: Visit
):
    backend.reply(send("Hi."))
    person.say("Hello.")
    (told,) = ask(gateway, "GET", "traces", person.api_key).json()["data"]
    visitor = visit(gateway)
    visitor.tab.call("Emulation.setTimezoneOverride", timezoneId="Pacific/Kiritimati")
    visitor.enter(person.api_key)
    visitor.show("Turns")
    there = datetime.fromtimestamp(int(told["created"]), ZoneInfo("Pacific/Kiritimati"))
    visitor.tab.until_shown(f"{there:%F %T}")


def test_there_are_pages(
    backend: ScriptedBackend, gateway: GatewayProcess, person: Person, visit: Visit
):
    backend.script(lambda _: send("Yes."))
    for n in range(7):
        person.say(f"number {n}")
    visitor = visit(gateway, person.api_key)
    visitor.show("Recall storage")
    visitor.tab.until_shown("page 1 of 2")
    assert len(visitor.entries()) == 10
    visitor.tab.press("button", "Next page")
    visitor.tab.until_shown("14 messages, page 2 of 2")
    assert len(visitor.entries()) == 4
    assert visitor.entries()[-1].endswith("number 0")
    visitor.tab.press("button", "Previous page")
    visitor.tab.until("document.body.innerText.includes('number 6')")


def test_a_branch_that_was_left_is_marked(
    backend: ScriptedBackend, gateway: GatewayProcess, person: Person, visit: Visit
):
    backend.reply(send("First."), send("Second."))
    person.say("Tell me.")
    del person.said[-1:]
    person.ask(person.said)  # the reply is regenerated
    visitor = visit(gateway, person.api_key)
    visitor.show("Recall storage")
    visitor.tab.until_shown("3 messages")
    marked = {each.rpartition(" ")[2]: "abandoned" in each for each in visitor.entries()}
    assert marked == {"Second.": False, "First.": True, "me.": False}


def test_the_working_context_is_edited(gateway: GatewayProcess, api_key: str, visit: Visit):
    visitor = visit(gateway, api_key)
    visitor.tab.until_shown("0 / 8 000 characters, never written yet")
    visitor.tab.fill("textbox", "Text", "Likes tea 🍵\nLives in Oslo")
    visitor.tab.until_shown("25 / 8 000 characters")
    visitor.tab.press("button", "Save")
    visitor.tab.until_shown("Saved as version 1.")
    told = ask(gateway, "GET", "working-context", api_key).json()
    assert (told["version"], told["content"]) == (1, "Likes tea 🍵\nLives in Oslo")
    visitor.tab.fill("textbox", "Text", "x" * 8_003)
    visitor.tab.until_shown("8 003 / 8 000 characters, 3 too many")
    save = visitor.tab.find("button", "Save")
    assert visitor.tab.on(save, "function () { return this.disabled }")


def test_who_edits_what_was_changed_meanwhile_loses_nothing(
    gateway: GatewayProcess, api_key: str, visit: Visit
):
    visitor = visit(gateway, api_key)
    visitor.tab.fill("textbox", "Text", "typed here")
    other = {"version": 0, "content": "written elsewhere"}
    ask(gateway, "PUT", "working-context", api_key, json=other)
    visitor.tab.press("button", "Save")
    visitor.tab.until_shown("Not saved: it was changed meanwhile.")
    assert visitor.text() == "typed here"
    visitor.tab.until_shown("Changed meanwhile: version 1 written elsewhere")
    visitor.tab.press("button", "Swap the two texts")
    assert visitor.text() == "written elsewhere"
    visitor.tab.until_shown("The other text typed here")
    visitor.tab.press("button", "Swap the two texts")
    visitor.tab.fill("textbox", "Text", "written elsewhere, and typed here")
    visitor.tab.press("button", "Save")
    visitor.tab.until_shown("Saved as version 2.")
    told = ask(gateway, "GET", "working-context", api_key).json()
    assert told["content"] == "written elsewhere, and typed here"
    assert "Swap" not in visitor.tab.shown()


def test_nor_where_it_is_changed_again(gateway: GatewayProcess, api_key: str, visit: Visit):
    visitor = visit(gateway, api_key)
    visitor.tab.fill("textbox", "Text", "typed here")
    versions = iter(range(9))

    def write_elsewhere(content: str) -> None:
        edit = {"version": next(versions), "content": content}
        ask(gateway, "PUT", "working-context", api_key, json=edit)

    write_elsewhere("written elsewhere")
    visitor.tab.press("button", "Save")
    visitor.tab.until_shown("Changed meanwhile: version 1 written elsewhere")
    write_elsewhere("and again")
    visitor.tab.press("button", "Save")
    visitor.tab.until_shown("Changed meanwhile: version 2 and again")
    assert "written elsewhere" not in visitor.tab.shown()
    visitor.tab.press("button", "Swap the two texts")
    visitor.tab.fill("textbox", "Text", "and again, edited")
    write_elsewhere("a third time")
    visitor.tab.press("button", "Save")
    visitor.tab.until_shown("Changed meanwhile: version 3 a third time")
    visitor.tab.until_shown("The other text typed here")
    assert visitor.text() == "and again, edited"
    visitor.tab.press("button", "Save")
    visitor.tab.until_shown("Saved as version 4.")
    assert "typed here" not in visitor.tab.shown()


def test_what_was_typed_outlasts_a_look_elsewhere(
    gateway: GatewayProcess, api_key: str, visit: Visit
):
    visitor = visit(gateway, api_key)
    visitor.tab.fill("textbox", "Text", "not saved yet")
    visitor.show("Turns")
    other = {"version": 0, "content": "written elsewhere"}
    ask(gateway, "PUT", "working-context", api_key, json=other)
    visitor.show("Working context")
    visitor.tab.until_shown("Changed meanwhile: version 1 written elsewhere")
    assert visitor.text() == "not saved yet"
    visitor.tab.press("button", "Put this one away")
    visitor.tab.press("button", "Save")
    visitor.tab.until_shown("Saved as version 2.")


def test_a_note_is_added_and_found(gateway: GatewayProcess, api_key: str, visit: Visit):
    visitor = visit(gateway, api_key)
    visitor.show("Archival storage")
    visitor.tab.until_shown("Nothing is stored here yet.")
    visitor.unfold()
    visitor.tab.fill("textbox", "Note", "The spare key is under the fern.")
    visitor.tab.press("button", "Add")
    visitor.tab.until_shown("Added as 1 passage.")
    visitor.tab.until_shown("The spare key is under the fern.")
    visitor.tab.fill("searchbox", "Words", "fern")
    visitor.tab.press("button", "Search")
    visitor.tab.until_shown("1 passage found")
    told = ask(gateway, "GET", "archival-storage", api_key, params={"query": "fern"}).json()
    assert [each["content"] for each in told["data"]] == ["The spare key is under the fern."]


def test_a_long_text_is_shown_on_demand(
    backend: ScriptedBackend, gateway: GatewayProcess, person: Person, visit: Visit
):
    backend.reply(send("I see."))
    told = " ".join(f"word{n}" for n in range(400))
    person.say(told)
    visitor = visit(gateway, person.api_key)
    visitor.show("Recall storage")
    visitor.tab.until_shown("word0 ")
    assert "word399" not in visitor.tab.shown()
    visitor.tab.press("button", f"Show all {len(told):,} characters".replace(",", "\u202f"))
    visitor.tab.until_shown("word399")


def test_turns_tell_what_they_did(
    backend: ScriptedBackend, gateway: GatewayProcess, person: Person, visit: Visit
):
    remembering(backend, APPEND, "Likes tea")
    person.say("I like tea.")
    visitor = visit(gateway, person.api_key)
    visitor.show("Turns")
    visitor.tab.until_shown(APPEND)
    (turn,) = visitor.entries()
    assert person.model in turn
    assert turn.count("Step") == 2
    assert "send_message “Noted.”" in turn
    visitor.unfold()
    visitor.tab.until_shown('"content": "Likes tea"')
    visitor.tab.until_shown("Appended.")


def test_older_turns_are_asked_for(
    backend: ScriptedBackend, gateway: GatewayProcess, person: Person, visit: Visit
):
    backend.script(lambda _: send("Yes."))
    for n in range(21):
        person.anew().say(f"number {n}")
    visitor = visit(gateway, person.api_key)
    visitor.show("Turns")
    until(lambda: len(visitor.entries()) == 20)
    visitor.tab.press("button", "Older turns")
    until(lambda: len(visitor.entries()) == 21)
    assert visitor.tab.all("button", "Older turns") == []


def test_a_turn_is_heard_while_it_runs(
    backend: ScriptedBackend, gateway: GatewayProcess, person: Person, visit: Visit
):
    gate = Gate()
    noted = call(APPEND, {"content": "Likes tea", "request_heartbeat": True})
    backend.reply(noted, wait(gate) + send("Noted."))
    visitor = visit(gateway, person.api_key)
    visitor.show("Live")
    visitor.tab.until_shown("Listening.")
    with ThreadPoolExecutor(1) as elsewhere:
        asked = elsewhere.submit(person.say, "I like tea.")
        visitor.tab.until_shown("Working context changed")
        assert not asked.done()
        gate.open()
        assert asked.result(10).text == "Noted."
    visitor.tab.until_shown("Turn ended")
    told = [each.split(" 2")[0] for each in visitor.entries()]
    assert told[0] == "Turn ended"
    assert told[-1] == "Turn began"
    assert "Function called" in told


def test_it_listens_again_when_the_gateway_is_back(
    backend: ScriptedBackend, start_gateway: StartGateway, api_key: str, visit: Visit
):
    gateway = start_gateway()
    visitor = visit(gateway, api_key)
    visitor.show("Live")
    visitor.tab.until_shown("Listening.")
    gateway.stop()
    visitor.tab.until_shown("It is tried again in")
    gateway.start()
    visitor.tab.until_shown("Listening.")
    backend.reply(send("Yes."))
    Person(gateway.base_url, api_key, "m").say("Are you back?")
    visitor.tab.until_shown("Turn ended")


def test_who_looks_elsewhere_does_not_listen(gateway: GatewayProcess, api_key: str, visit: Visit):
    visitor = visit(gateway, api_key)
    for _ in range(20):  # more than a namespace has places
        visitor.show("Live")
        visitor.tab.until_shown("Listening.")
        visitor.show("Turns")


@pytest.fixture
def marked_up(backend: ScriptedBackend, gateway: GatewayProcess, person: Person) -> Person:
    """Somebody whose memory has markup wherever a text can be."""
    model = f"model-{MARKUP}"
    remembering(backend, APPEND, MARKUP, MARKUP)
    remembering(backend, INSERT, MARKUP, MARKUP)
    backend.reply(call(MARKUP, MARKUP), send(MARKUP))
    person.model = model
    for _ in range(3):
        person.say(MARKUP, user=MARKUP)
    return person


def test_no_text_becomes_markup(
    gateway: GatewayProcess, backend: ScriptedBackend, marked_up: Person, visit: Visit
):
    visitor = visit(gateway, marked_up.api_key, user=MARKUP)
    visitor.show("Live")
    visitor.tab.until_shown("Listening.")
    remembering(backend, APPEND, f"again {MARKUP}", MARKUP)
    marked_up.say(MARKUP, user=MARKUP)
    visitor.tab.until_shown("Turn ended")
    for view in reversed(VIEWS):
        visitor.show(view)
        visitor.settled()
        assert visitor.tab.run("document.querySelectorAll('main img, main script').length") == 0
        assert "owned" not in visitor.tab.run("document.title")
        assert "<img src=x" in visitor.tab.shown()


def test_an_export_is_downloaded_and_taken_in_by_another_key(
    backend: ScriptedBackend, gateway: GatewayProcess, person: Person, visit: Visit
):
    remembering(backend, APPEND, "Likes tea")
    person.say("I like tea.")
    visitor = visit(gateway, person.api_key)
    visitor.show("All of it")
    visitor.tab.press("button", "Download export")
    visitor.tab.until_shown("Downloaded:")
    file = visitor.downloaded()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines[-1]["end"]["message"] == 2
    other = visit(gateway, f"{person.api_key}-other")
    other.show("All of it")
    other.take_in(file)
    other.tab.until_shown("Imported:")
    other.show("Working context")
    until(lambda: other.text() == "Likes tea")
    other.show("All of it")
    other.take_in(file)  # once more: nothing is changed
    other.tab.until_shown("Imported:")


def test_an_export_that_breaks_off_is_not_taken_for_whole(
    gateway: GatewayProcess, api_key: str, visit: Visit
):
    visitor = visit(gateway, api_key)
    visitor.show("All of it")
    (begin, _, _) = ask(gateway, "GET", "export", api_key).text.partition("\n")
    visitor.tab.run(f"fetch = async () => new Response({json.dumps(begin)} + '\\n')")
    visitor.tab.press("button", "Download export")
    visitor.tab.until_shown("The export broke off.")
    assert visitor.tab.downloaded == []


def test_a_file_that_is_no_export_is_refused(
    gateway: GatewayProcess, api_key: str, visit: Visit, tmp_path: Path
):
    visitor = visit(gateway, api_key)
    visitor.show("All of it")
    (file := tmp_path / "holiday.jsonl").write_text("no export\n")
    visitor.take_in(file)
    url = f"{gateway.origin}/memgpt/import"
    headers = {"authorization": f"Bearer {api_key}"}
    refused = httpx.post(url, headers=headers, content=b"no export\n").json()["error"]["message"]
    visitor.tab.until_shown(" ".join(refused.split()))


def test_it_is_erased_by_who_says_so(
    backend: ScriptedBackend, gateway: GatewayProcess, person: Person, visit: Visit
):
    remembering(backend, APPEND, "Likes tea")
    person.say("I like tea.")
    visitor = visit(gateway, person.api_key)
    visitor.show("All of it")
    visitor.tab.press("button", "Erase this memory …")
    visitor.tab.find("dialog", "Erase all of it?")
    erase = visitor.tab.find("button", "Erase")
    assert visitor.tab.on(erase, "function () { return this.disabled }")
    visitor.tab.key("Escape")
    until(lambda: visitor.tab.all("dialog") == [])
    assert ask(gateway, "GET", "working-context", person.api_key).json()["content"]
    visitor.tab.press("button", "Erase this memory …")
    visitor.tab.fill("textbox", "Type ERASE to go on", "ERASE")
    visitor.tab.press("button", "Erase")
    visitor.tab.until_shown("Erased: messages 2")
    assert ask(gateway, "GET", "working-context", person.api_key).json()["content"] == ""
    visitor.show("Recall storage")
    visitor.tab.until_shown("Nothing is stored here yet.")
    visitor.show("Working context")
    until(lambda: visitor.text() == "")
