"""What of a model's output the client sees, however the chunks are cut."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.agent.habits import Habit
from memgpt_proxy.agent.reply import Step, StepCall, StepListener
from memgpt_proxy.wire.step import StepReader
from tests.agent.build import (
    Call,
    Said,
    call,
    delta,
    forwarded,
    hear,
    new_reply,
    offer,
    said,
    send,
    visible,
)

TAGS = re.compile("think|thought", re.IGNORECASE)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    lambda text: not TAGS.search(text)  # a block of thinking in front of a message is none of it
)


@given(
    thoughts=st.sampled_from(["", "The user is sad.", "Six flags?\n\nI must look."]),
    message=TEXTS,
    piece=st.integers(1, 9),
    habit=st.sampled_from([Habit.HELD, Habit.FUNCTION]),
    escaped=st.booleans(),
)
def test_the_message_is_seen_and_the_thoughts_are_not(
    thoughts: str, message: str, piece: int, habit: Habit, *, escaped: bool
) -> None:
    arguments = json.dumps({"message": message}, ensure_ascii=escaped)
    reply = new_reply()
    deltas, step = hear(
        reply,
        offer(),
        Said(thoughts, (Call("send_message", arguments),), piece=piece).chunks(),
        habit,
    )
    assert visible(deltas) == message == reply.text
    (made,) = step.calls
    assert step == Step(thoughts, (StepCall(made.id, "send_message", arguments),), "tool_calls")


@given(first=TEXTS, second=TEXTS, piece=st.integers(1, 9), apart=st.booleans())
def test_two_messages_are_joined_by_a_blank_line_and_none_is_said_twice(
    first: str, second: str, piece: int, *, apart: bool
) -> None:
    reply = new_reply()
    calls = [(send(first),), (send(second),)] if apart else [(send(first), send(second))]
    deltas = []
    for several in calls:
        deltas += hear(reply, offer(), Said("", several, piece=piece).chunks())[0]
    expected = first if first == second else f"{first}\n\n{second}"
    assert visible(deltas) == expected == reply.text


@pytest.mark.parametrize("apart", [True, False], ids=["in two steps", "in one step"])
def test_a_repeated_message_is_not_said_twice(apart: bool) -> None:
    reply = new_reply()
    once, twice = said(send("Happy birthday!")), said(*[send("Happy birthday!")] * 2)
    deltas = [
        d for s in ([once, once] if apart else [twice]) for d in hear(reply, offer(), s.chunks())[0]
    ]
    assert visible(deltas) == "Happy birthday!"
    assert reply.messages == ["Happy birthday!"]


def test_a_message_is_seen_while_it_is_written() -> None:
    reader, listener = StepReader(), StepListener(new_reply(), offer(), Habit.FUNCTION)
    seen = []
    for chunk in Said("", (send("Hello there"),), piece=4).chunks():
        seen.append(visible(listener.hear(chunk, reader.add(chunk))))
    # {"message": "Hello there"} in pieces of four
    assert [text for text in seen if text] == ["Hel", "lo t", "here"]


@given(
    arguments=st.dictionaries(st.text(max_size=5), st.text(max_size=10)).map(json.dumps),
    piece=st.integers(1, 9),
    message=st.sampled_from(["", "I look."]),
)
def test_the_clients_calls_arrive_whole(arguments: str, piece: int, message: str) -> None:
    ours = (send(message),) if message else ()
    theirs = (
        Call("get_weather", arguments, "w1"),
        Call("recall_storage_search", '{"query": "x"}', "r1"),
        Call("get_time", "{}", "t1"),
    )
    reply = new_reply()
    deltas, step = hear(
        reply,
        offer("get_weather", "get_time"),
        Said("Hm.", (*ours, *theirs), piece=piece).chunks(),
    )
    assert forwarded(deltas) == [("w1", "get_weather", arguments), ("t1", "get_time", "{}")]
    assert visible(deltas) == message
    assert len(step.calls) == len(ours) + len(theirs)
    assert reply.message() == {
        "role": "assistant",
        "content": message or None,
        "tool_calls": [
            {"id": id, "type": "function", "function": {"name": name, "arguments": text}}
            for id, name, text in forwarded(deltas)
        ],
    }


@pytest.mark.parametrize("name", ["send_message", "get_weather"])
def test_pieces_of_one_call_in_one_chunk_are_heard_once(name: str) -> None:
    head = {"index": 0, "id": "a", "function": {"name": name, "arguments": '{"mess'}}
    more, end = ({"index": 0, "function": {"arguments": text}} for text in ('age": "Hi', '."}'))
    chunks = [delta({"tool_calls": [head, more]}), delta({"tool_calls": [end]})]
    deltas, _ = hear(new_reply(), offer("get_weather"), [*chunks, delta({}, "tool_calls")])
    if name == "send_message":
        assert visible(deltas) == "Hi."
    else:
        assert forwarded(deltas) == [("a", name, '{"message": "Hi."}')]


def test_a_clients_call_without_arguments_arrives_too() -> None:
    deltas, _ = hear(new_reply(), offer("get_time"), said(Call("get_time", "", "t1")).chunks())
    assert forwarded(deltas) == [("t1", "get_time", "{}")]


def test_a_clients_call_without_arguments_keeps_its_place() -> None:
    reply = new_reply()
    made = [Call("get_time", "", "t1"), call("get_weather", id="w1", city="Oslo")]
    deltas, _ = hear(reply, offer("get_time", "get_weather"), said(*made).chunks())
    assert forwarded(deltas) == [
        ("t1", "get_time", "{}"),
        ("w1", "get_weather", '{"city": "Oslo"}'),
    ]
    assert [told.name for told in reply.calls] == ["get_time", "get_weather"]


def test_a_client_that_names_its_tool_as_ours_keeps_it() -> None:
    theirs = offer("send_message", without=["send_message"])
    deltas, _ = hear(new_reply(), theirs, said(send("to Bob", id="s1")).chunks(), Habit.CONTENT)
    assert visible(deltas) == ""
    assert forwarded(deltas) == [("s1", "send_message", '{"message": "to Bob"}')]


CONTENT_ALONE = {
    Habit.HELD: ("Hello.", "at the end"),
    Habit.CONTENT: ("Hello.", "at once"),
    Habit.FUNCTION: ("", "at the end"),
}


@pytest.mark.parametrize("habit", CONTENT_ALONE)
def test_content_alone(habit: Habit) -> None:
    expected, when = CONTENT_ALONE[habit]
    reader, listener = StepReader(), StepListener(new_reply(), offer(), habit)
    chunks = list(said(content="Hello.").chunks())
    at_once = visible(d for chunk in chunks for d in listener.hear(chunk, reader.add(chunk)))
    rest, step = listener.close(reader)
    assert at_once == (expected if when == "at once" else "")
    assert at_once + visible(rest) == expected
    assert step.content == "Hello."


@pytest.mark.parametrize("habit", [Habit.HELD, Habit.FUNCTION])
def test_content_beside_a_call_is_thought(habit: Habit) -> None:
    reply = new_reply()
    search = said(call("recall_storage_search", query="x"), content="Hm.")
    deltas, _ = hear(reply, offer(), search.chunks(), habit)
    assert visible(deltas) == ""
    assert reply.messages == []


def test_after_a_message_by_function_content_is_thought() -> None:
    reply = new_reply()
    first, _ = hear(reply, offer(), said(send("Hi.")).chunks(), Habit.CONTENT)
    second, _ = hear(reply, offer(), said(content="I said hi.").chunks(), Habit.CONTENT)
    assert visible(first + second) == "Hi."


@pytest.mark.parametrize(
    "silent",
    [send(""), call("send_message", text="Hi."), Call("send_message", '{"mess')],
    ids=["empty", "another argument", "broken off"],
)
def test_after_a_call_that_said_nothing_content_may_be_the_reply(silent: Call) -> None:
    reply = new_reply()
    first, _ = hear(reply, offer(), said(silent).chunks(), Habit.HELD)
    second, _ = hear(reply, offer(), said(content="Hello.").chunks(), Habit.HELD)
    assert (visible(first), visible(second)) == ("", "Hello.")


@pytest.mark.parametrize("piece", [1, 3, 1000])
@pytest.mark.parametrize(
    "written",
    [
        '{"name": "send_message", "arguments": {"message": "Hi."}}',
        '<tool_call>{"name": "send_message", "arguments": {"message": "Hi."}}</tool_call>',
        '```json\n{"function": "send_message", "parameters": {"message": "Hi."}}\n```',
        'send_message({"message": "Hi."})',
    ],
)
@pytest.mark.parametrize("habit", Habit)
def test_a_call_written_as_text_is_a_call(habit: Habit, written: str, piece: int) -> None:
    deltas, step = hear(new_reply(), offer(), Said(written, piece=piece).chunks(), habit)
    assert visible(deltas) == "Hi."
    assert [c.name for c in step.calls] == ["send_message"]


@pytest.mark.parametrize("piece", [1, 7, 1000])
@pytest.mark.parametrize("behind", ["\n", "\n\n", " "], ids=repr)
@pytest.mark.parametrize("habit", Habit)
def test_a_call_written_behind_a_text_is_a_call_too(habit: Habit, behind: str, piece: int) -> None:
    written = '{"name": "working_context_append", "arguments": {"content": "Likes tea"}}'
    text = Said(f"Sure!{behind}{written}", finish_reason="stop", piece=piece)
    deltas, step = hear(new_reply(), offer(), text.chunks(), habit)
    assert visible(deltas).strip() == ("Sure!" if habit is Habit.CONTENT else "")
    [made] = step.calls
    assert (made.name, json.loads(made.arguments)) == (
        "working_context_append", {"content": "Likes tea"},
    )  # fmt: skip


def test_a_clients_call_written_as_text_goes_to_the_client() -> None:
    written = '{"name": "get_weather", "arguments": {"city": "Lisbon"}}'
    deltas, step = hear(
        new_reply(), offer("get_weather"), said(content=written).chunks(), Habit.CONTENT
    )
    assert visible(deltas) == ""
    [(id, name, arguments)] = forwarded(deltas)
    assert (id, name, json.loads(arguments)) == (
        step.calls[0].id, "get_weather", {"city": "Lisbon"},
    )  # fmt: skip


def test_thinking_in_the_content_is_not_seen() -> None:
    written = "<think>She means James.</think>\nHello."
    deltas, _ = hear(new_reply(), offer(), said(content=written).chunks(), Habit.CONTENT)
    assert visible(deltas) == "Hello."


def test_malformed_arguments_of_a_message_are_read_where_that_is_certain() -> None:
    # An object encoded twice: the decoder cannot read it, the whole text can be.
    twice = json.dumps(json.dumps({"message": "Hi."}))
    deltas, _ = hear(new_reply(), offer(), said(Call("send_message", twice)).chunks())
    assert visible(deltas) == "Hi."


def test_what_a_stop_text_held_back_is_given_at_the_end() -> None:
    reply = new_reply(stop=["END"])
    deltas, _ = hear(reply, offer(), said(send("The E")).chunks())
    assert visible(deltas) == reply.text == "The E"


def test_what_a_stop_text_held_back_belongs_to_its_own_message() -> None:
    reply = new_reply(stop=["END"])
    deltas, _ = hear(reply, offer(), said(send("The E"), send("E"), send("So.")).chunks())
    assert reply.messages == ["The E", "E", "So."]
    assert visible(deltas) == reply.text == "The E\n\nE\n\nSo."


def test_what_a_stop_text_held_back_is_not_said_twice() -> None:
    reply = new_reply(stop=["END"])
    deltas, _ = hear(reply, offer(), said(send("E"), send("E")).chunks())
    assert visible(deltas) == reply.text == "E"
