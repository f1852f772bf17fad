"""The conversations of the poster's figures, and those that a newcomer would try."""

import json
from itertools import pairwise
from typing import Any

import pytest

from memgpt_proxy.demo.model import MOST_CALLS, answer
from tests.demo.conversation import (
    EMPTY,
    MEMORY_TOOLS,
    PRESSURE,
    SIX_FLAGS,
    Conversation,
    assistant,
    called,
    system,
    tool,
    user,
)

PERSON = (
    "Name is Sam",
    "Birthday is February 7",
    "Boyfriend named James",
    "Lives in Porto",
    "Allergic to peanuts",
    "Dog named Rex",
    "Favourite colour is green",
)


def recalls(result: str) -> dict[str, Any]:
    return {"recall_storage_search": lambda query, page=1: result}


# Figure 1


def test_the_birthday_cake_is_saved_as_on_the_poster():
    talk = Conversation()
    talk.queue.append(assistant("How was your day today?"))
    reply = talk.say("fun my bf james baked me a birthday cake", PRESSURE)
    assert {name for name, _ in talk.asked} == {"working_context_append"}
    assert sorted(talk.lines) == ["Birthday is February 7", "Boyfriend named James"]
    assert reply


def test_memory_pressure_saves_what_older_messages_told():
    talk = Conversation()
    talk.queue += [user("my name is Sam"), assistant("Hello!"), user("i live in Lisbon")]
    talk.queue += [assistant("I see."), user("i moved to Porto"), assistant("I see.")]
    talk.say("lol", PRESSURE)
    assert sorted(talk.lines) == ["Lives in Porto", "Name is Sam"]


def test_memory_pressure_does_not_bring_back_what_was_replaced():
    talk = Conversation(known=["Ex-boyfriend named James"])
    old, new = "Boyfriend named James", "Ex-boyfriend named James"
    replaced = called("working_context_replace", "Replaced.", old_content=old, new_content=new)
    talk.queue += [user("my bf james is here"), *replaced, assistant("I see.")]
    talk.say("lol", PRESSURE)
    assert talk.lines == ["Ex-boyfriend named James"]


# Figure 2


@pytest.mark.parametrize(
    "question",
    [
        "remember when we talked about six flags?",
        "did i ever mention six flags?",
        "did I mention six flags before",
        "what did i say about six flags",
        "do you remember six flags?",
        "have we talked about six flags?",
    ],
)
def test_six_flags_is_found_in_recall_storage(question: str):
    talk = Conversation(functions=recalls(SIX_FLAGS))
    reply = talk.say(question)
    assert talk.asked == [("recall_storage_search", {"query": "six flags"})]
    for part in ("3", "james", "six flags", "October 12, 2023", "January 24, 2024"):
        assert part in reply


def test_the_question_itself_is_no_recollection():
    found = (
        'Showing 2 of 2 results (page 1/1): [02/07/2026] "did i ever mention six flags?", '
        '[01/24/2024] "lol yeah six flags"'
    )
    reply = Conversation(functions=recalls(found)).say("did i ever mention six flags?")
    assert "1 result " in reply
    assert "did i ever" not in reply


def test_what_was_never_said_is_not_made_up():
    talk = Conversation()
    assert talk.say("did i ever mention disneyland?") == "I found nothing about disneyland."
    assert [name for name, _ in talk.asked] == ["recall_storage_search", "archival_storage_search"]


@pytest.mark.parametrize(
    ("question", "first", "last"),
    [
        ("what did i say yesterday?", "2026-02-06", "2026-02-06"),
        ("what did i say on February 7", "2026-02-07", "2026-02-07"),
        ("what did we talk about last week?", "2026-01-26", "2026-02-01"),
    ],
)
def test_a_day_is_looked_up_by_its_date(question: str, first: str, last: str):
    found = 'Showing 1 of 1 results (page 1/1): [02/06/2026] "the sea was cold"'
    talk = Conversation(functions={"recall_storage_search_date": lambda **dates: found})
    assert "the sea was cold" in talk.say(question)
    dates = {"start_date": first, "end_date": last}
    assert talk.asked == [("recall_storage_search_date", dates)]


# Figure 4


def test_a_break_up_replaces_and_does_not_append():
    talk = Conversation(known=["Birthday is February 7", "Boyfriend named James"])
    talk.say("actually james and i broke up")
    old, new = "Boyfriend named James", "Ex-boyfriend named James"
    assert talk.asked == [("working_context_replace", {"old_content": old, "new_content": new})]
    assert "ex-boyfriend is James" in talk.say("who is my boyfriend?")


# Figures 6 and 8


def test_documents_are_searched_page_by_page():
    def search(query: str, page: int = 1) -> str:
        return f'Showing 1 of 12 results (page {page}/2): "Nobel {page}"'

    talk = Conversation(functions={"archival_storage_search": search})
    first = talk.say("search my documents for nobel physics")
    assert talk.asked == [("archival_storage_search", {"query": "nobel physics"})]
    assert "12" in first
    assert "Nobel 1" in first
    second = talk.say("more")
    assert talk.asked == [("archival_storage_search", {"query": "nobel physics", "page": 2})]
    assert "Nobel 2" in second
    assert talk.say("more") == "That was all I found about nobel physics."


def test_days_have_further_pages_too():
    def search(start_date: str, end_date: str, page: int = 1) -> str:
        return f'Showing 1 of 2 results (page {page}/2): [02/06/2026] "message {page}"'

    talk = Conversation(functions={"recall_storage_search_date": search})
    assert "message 1" in talk.say("what did i say yesterday?")
    assert "message 2" in talk.say("more")
    days = {"start_date": "2026-02-06", "end_date": "2026-02-06", "page": 2}
    assert talk.asked == [("recall_storage_search_date", days)]


def test_any_question_is_looked_up_where_there_are_documents():
    found = 'Showing 1 of 1 results (page 1/1): "Long ago. The plumber is Ada King. She is good."'
    functions = {"archival_storage_search": lambda query, page=1: found}
    talk = Conversation(functions=functions, passages=1)
    assert talk.say("who is the plumber?") == "From your documents: “The plumber is Ada King.”"


def test_a_note_goes_to_archival_storage():
    talk = Conversation()
    talk.say("note this down: my name is on the door")
    note = ("archival_storage_insert", {"content": "my name is on the door"})
    assert talk.asked == [note]


@pytest.mark.parametrize("levels", range(5))
@pytest.mark.parametrize("form", ["Key: {} Value: {}", "{}: {}", '{{"{}": "{}"}}'])
def test_nested_keys_are_followed_to_the_end(levels: int, form: str):
    keys = [f"{n:08x}-0000-4000-8000-{n:012x}" for n in range(levels + 2)]
    entries = [form.format(*pair) for pair in pairwise(keys)]

    def search(query: str, page: int = 1) -> str:
        hits = [entry for entry in entries if query in entry]
        quoted = ", ".join(f'"{hit}"' for hit in hits)
        return f"Showing {len(hits)} of {len(hits)} results (page 1/1): {quoted}"

    talk = Conversation(functions={"archival_storage_search": search})
    assert talk.say(f"find the value of key {keys[0]}") == f"The value is {keys[-1]}."
    assert talk.asked == [("archival_storage_search", {"query": key}) for key in keys]


def test_keys_in_a_circle_come_to_an_end():
    one, two = (f"{n:08x}-0000-4000-8000-000000000000" for n in (1, 2))
    found = f'Showing 2 of 2 results (page 1/1): "{one}: {two}", "{two}: {one}"'
    talk = Conversation(functions={"archival_storage_search": lambda query, page=1: found})
    assert talk.say(f"look up {one}") == f"The value is {two}."


# Questions about oneself


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("what's my name?", "Your name is Sam."),
        ("who am i", "Your name is Sam."),
        ("can you tell me my name?", "Your name is Sam."),
        ("when is my birthday?", "Your birthday is February 7."),
        ("who is my boyfriend?", "Your boyfriend is James."),
        ("who's my bf", "Your boyfriend is James."),
        ("who is James?", "Your boyfriend is James."),
        ("where do i live?", "You live in Porto."),
        ("what am i allergic to", "You are allergic to peanuts."),
        ("what is my dog's name?", "Your dog is Rex."),
        ("what's my favorite color?", "Your favourite colour is green."),
    ],
)
def test_what_is_known_is_answered_at_once(question: str, expected: str):
    talk = Conversation(known=PERSON)
    assert talk.say(question) == expected
    assert talk.asked == []


def test_everything_that_is_known():
    reply = Conversation(known=PERSON).say("what do you know about me?")
    for known in ("Sam", "February 7", "James", "Porto", "peanuts", "Rex", "green"):
        assert known in reply
    assert "don't know anything" in Conversation().say("what do you know about me?")


def test_what_is_not_known_is_searched_and_quoted_with_its_date():
    found = (
        'Showing 2 of 2 results (page 1/1): [01/20/2024] "what is my cat called?", '
        '[01/14/2024] "the cat tom is on the roof"'
    )
    talk = Conversation(functions=recalls(found))
    reply = talk.say("what is my cat called?")
    assert talk.asked == [("recall_storage_search", {"query": "cat"})]
    assert reply == "I found this from January 14, 2024: “the cat tom is on the roof”"


def test_what_was_to_be_forgotten_is_no_answer():
    found = 'Showing 2 of 2 results (page 1/1): [02/07/2026] "forget my name", [02/07/2026] "hi"'
    reply = Conversation(functions=recalls(found)).say("what's my name?")
    assert reply.startswith("I don't know that yet.")


def test_what_is_nowhere_is_admitted():
    talk = Conversation(known=PERSON)
    assert talk.say("what's my shoe size?").startswith("I don't know that yet.")


def test_what_was_just_told_is_known_in_the_same_conversation():
    talk = Conversation()
    talk.say("my name is Sam")
    assert talk.say("what's my name?") == "Your name is Sam."
    talk.say("my name is Sam")
    assert talk.asked == []


# The turn


def test_what_finds_no_room_is_kept_in_archival_storage():
    def full(content: str) -> str:
        return "Error: the working context would hold 8 010 characters; its limit is 8 000."

    talk = Conversation(functions={"working_context_append": full})
    talk.say("my name is Sam")
    assert talk.asked[-1] == ("archival_storage_insert", {"content": "Name is Sam"})


def test_a_failure_to_save_is_admitted():
    tools = [t for t in MEMORY_TOOLS if "archival" not in t["function"]["name"]]
    functions = {"working_context_append": lambda content: "Error: no room."}
    reply = Conversation(functions=functions, tools=tools).say("my name is Sam")
    assert reply == "I could not save that: Error: no room."


@pytest.mark.parametrize(
    "alert",
    [
        "System Alert: The user is still waiting for a reply. Call send_message now.",
        "System Alert: The limit of steps for one turn is reached; call send_message now.",
    ],
)
def test_an_alert_that_urges_gets_the_reply_at_once(alert: str):
    talk = Conversation()
    assert talk.say("did i ever mention six flags?", alert)
    assert talk.asked == []


def test_heartbeats_are_asked_for_before_the_reply_only():
    talk = Conversation(functions=recalls(SIX_FLAGS))
    talk.say("i'm Sam. did i ever mention six flags?")
    beats = [call.arguments["request_heartbeat"] for call in talk.calls]
    assert beats == [True] * (len(beats) - 1) + [False]
    assert len(beats) == 3


def test_an_upload_is_announced():
    queue = [user("System Alert: Archive Storage Upload Complete. 124 passages.")]
    said = answer([system(), *queue], MEMORY_TOOLS)
    assert "documents" in said.calls[0].arguments["message"]


def test_many_facts_at_once_stay_within_the_turn():
    talk = Conversation()
    talk.say(" ".join(f"My friend {name} is here." for name in "Ana Bob Cid Dee Eva Flo".split()))
    assert len(talk.calls) <= MOST_CALLS
    assert talk.lines[0] == "Friend named Ana"


def test_without_send_message_the_reply_is_content_and_no_thought_shows():
    talk = Conversation(functions=recalls(SIX_FLAGS), tools=MEMORY_TOOLS[1:])
    assert "james" in talk.say("did i ever mention six flags?")
    assert [m["content"] for m in talk.queue if m.get("tool_calls")] == [""]


def test_functions_that_are_not_offered_are_not_called():
    talk = Conversation(tools=MEMORY_TOOLS[:1])
    assert talk.say("my name is Sam")
    assert talk.say("did i ever mention six flags?")
    assert talk.asked == []


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("hello", "Hello, Sam! How was your day today?"),
        ("thanks!", "You are welcome, Sam!"),
        ("what day is it?", "Today is Saturday, February 7, 2026."),
        ("write me a poem", "only the demo model"),
        ("what's the capital of France?", "--backend-url"),
        ("lol yeah", "I see, Sam."),
        ("who are you?", "demo model"),
    ],
)
def test_small_talk_is_friendly_and_honest(said: str, expected: str):
    assert expected in Conversation(known=["Name is Sam"]).say(said)


def test_a_birthday_is_not_forgotten():
    assert "Happy birthday" in Conversation(known=["Birthday is February 7"]).say("hi")


# The client's own tools

WEATHER = tool("get_weather", "Current weather in a city", city={"type": "string"})


def test_a_clients_tool_is_called_and_its_result_told():
    talk = Conversation(
        tools=[*MEMORY_TOOLS, WEATHER], functions={"get_weather": lambda city: f"{city}: 18 °C"}
    )
    assert talk.say("what's the weather in Paris?") == "Paris: 18 °C"
    assert talk.asked == [("get_weather", {"city": "Paris"})]
    assert set(talk.calls[0].arguments) == {"city"}


def test_other_requests_leave_the_clients_tools_alone():
    talk = Conversation(tools=[*MEMORY_TOOLS, WEATHER], known=["Name is Sam"])
    for said in ("hello", "what's my name?", "write me a poem"):
        talk.say(said)
        assert talk.asked == []


def test_arguments_are_found_in_the_sentence():
    convert = tool(
        "convert_currency",
        "Converts money",
        amount={"type": "number"},
        currency={"type": "string", "enum": ["EUR", "USD"]},
    )
    talk = Conversation(tools=[convert], functions={"convert_currency": lambda **given: "ok"})
    talk.say("convert 12.50 currency units to usd")
    assert talk.asked == [("convert_currency", {"amount": 12.5, "currency": "USD"})]


def test_a_forced_function_is_called():
    said = answer([user("hello in Rome")], [WEATHER], forced="get_weather")
    assert [(call.name, dict(call.arguments)) for call in said.calls] == [
        ("get_weather", {"city": "Rome"})
    ]


# Tasks without functions


def test_a_summary_keeps_what_the_user_stated():
    request = (
        "Summary so far:\n(none)\n\nMessages:\nuser: my bf james baked me a cake\n"
        "assistant: nice\nuser: what's up?\nuser: i live in Porto"
    )
    task = {"role": "system", "content": "You keep the summary of a conversation."}
    said = answer([task, user(request)], [])
    expected = "The user said:\n- my bf james baked me a cake\n- i live in Porto"
    assert (said.calls, said.content) == ((), expected)


def test_a_summary_is_recursive():
    before = "The user said:\n- my bf james baked me a cake"
    request = f"Write a new summary.\nSummary so far:\n{before}\n\nMessages:\nuser: i live in Porto"
    expected = "The user said:\n- my bf james baked me a cake\n- i live in Porto"
    assert answer([user(request)], []).content == expected


def test_a_title_comes_as_json_where_that_is_asked_for():
    request = (
        '### Task:\nGenerate a concise title.\nJSON format: { "title": "..." }\n'
        "<chat_history>\nUSER: my boyfriend baked a cake\nASSISTANT: nice\n</chat_history>"
    )
    assert json.loads(answer([user(request)], []).content) == {"title": "Boyfriend Baked Cake"}


def test_a_conversation_without_functions_is_no_task():
    head = system("Name is Sam")
    head["content"] = f"Write a summary of what matters.\n{head['content']}"
    assert answer([head, user("what's my name?")], []).content == "Your name is Sam."


def test_an_empty_result_is_no_error():
    assert Conversation(functions=recalls(EMPTY)).say("what did i say about x?")
