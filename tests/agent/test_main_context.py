"""The main context: its sections in order, and a beginning that stays the same."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import orjson
import pytest

from memgpt_proxy.agent.main_context import Head, MainContext, application_prompt
from memgpt_proxy.memory.queue import Queue
from memgpt_proxy.memory.tokens import TokenCounter
from memgpt_proxy.memory.transcript import Message
from memgpt_proxy.stores.records import Counts, NodeId, QueueState, WorkingContext
from tests.agent.build import COUNTER, assistant, user
from tests.stores.build import message

CONTEXT = WorkingContext(2, "Name: Chad\nBirthday is February 7")


def node(name: str, *entries: Message) -> Any:
    return message(name, entries=orjson.dumps(entries).decode(), tokens=COUNTER.messages(entries))


def state(summary: str = "", **counts: int) -> QueueState:
    return QueueState(NodeId("m0"), 0, summary, CONTEXT, Counts(**{"messages": 1234, **counts}))


def context(
    *nodes: Any,
    summary: str = "",
    application: str = "You are a pirate.",
    live: WorkingContext | None = None,
) -> MainContext:
    head = Head("You are MemGPT.", application, 8000, live)
    return MainContext(head, Queue(state(summary, passages=1), list(nodes)), COUNTER)


def written(composed: MainContext) -> bytes:
    return orjson.dumps(composed.messages())


def read(composed: MainContext) -> list[Message]:
    messages: list[Message] = json.loads(written(composed))
    return messages


def called(number: int) -> Message:
    function = {"name": "archival_storage_search", "arguments": "{}"}
    call = {"id": f"c{number}", "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def result(number: int, text: str) -> Message:
    return {"role": "tool", "tool_call_id": f"c{number}", "content": text}


def test_the_system_message_has_its_sections_in_order() -> None:
    assert read(context(node("m0", user("hi")))) == [
        {
            "role": "system",
            "content": "You are MemGPT.\n\n"
            "# Application\nYou are a pirate.\n\n"
            "# Working context (33 / 8 000 characters)\nName: Chad\nBirthday is February 7\n\n"
            "# External context\n"
            "Recall storage holds 1 234 messages. Archival storage holds 1 passage.",
        },
        user("hi"),
    ]


def test_a_client_without_a_system_prompt_has_no_section() -> None:
    [system, _] = read(context(node("m0", user("hi")), application=""))
    assert "# Application" not in system["content"]


def test_the_working_context_may_be_shown_as_it_is_now() -> None:
    [system, _] = read(context(node("m0", user("hi")), live=WorkingContext(3, "Name: Al")))
    assert "# Working context (8 / 8 000 characters)\nName: Al\n" in system["content"]
    assert "Chad" not in system["content"]


def test_the_summary_comes_first_in_the_queue_and_what_the_turn_added_last() -> None:
    composed = context(
        node("m4", user("day alert"), user("hi")), node("m5", assistant("ho")), summary="They met."
    )
    composed.add(called(1))
    composed.add(result(1, "Showing 0 of 0 results (page 1/1)."))
    messages = read(composed)
    assert [m["role"] for m in messages].count("system") == 1
    assert messages[1]["content"].startswith("System Alert: Conversation Summary.")
    assert messages[1]["content"].endswith("\nThey met.")
    assert messages[2:] == [
        user("day alert"),
        user("hi"),
        assistant("ho"),
        called(1),
        result(1, "Showing 0 of 0 results (page 1/1)."),
    ]


def test_each_step_begins_with_the_one_before() -> None:
    composed = context(node("m0", user("hi")), summary="They met.")
    prompts = [written(composed)]
    for number in range(3):
        composed.add(called(number))
        composed.add(result(number, f'found "{number}"\n'))
        prompts.append(written(composed))
    for before, after in pairwise(prompts):
        assert after.startswith(before.removesuffix(b"]"))
        assert len(after) > len(before)


def test_the_next_turn_begins_with_the_one_before() -> None:
    first = context(node("m0", user("hi")))
    first.add(called(1))
    first.add(result(1, "found"))
    first.add(assistant("ho"))
    second = context(node("m0", user("hi")), node("m1", *first.added), node("m2", user("and?")))
    assert written(second).startswith(written(first).removesuffix(b"]"))


def test_a_flush_is_seen() -> None:
    composed = context(node("m0", user("old")), node("m1", user("new")))
    before = composed.tokens
    composed.queue.evict(composed.queue.nodes[1].tokens)
    composed.queue.flushed(NodeId("m1"), "They met.", WorkingContext(5, "Al"), Counts(2, 0))
    messages = read(composed)
    assert "# Working context (2 / 8 000 characters)\nAl\n" in messages[0]["content"]
    assert (
        "Recall storage holds 2 messages. Archival storage holds 0 passages."
        in (messages[0]["content"])
    )
    assert "They met." in messages[1]["content"]
    assert messages[2:] == [user("new")]
    assert composed.tokens != before


def test_tokens_are_those_of_all_parts() -> None:
    composed = context(node("m0", user("hi there")), node("m1", assistant("ho")))
    empty = composed.tokens
    assert empty == COUNTER.text(read(composed)[0]["content"]) + composed.queue.tokens
    composed.add(user("one"))
    composed.add(user("two"))
    assert composed.added_tokens == COUNTER.messages([user("one"), user("two")])
    assert composed.tokens == empty + composed.added_tokens


def searched(pages: int) -> MainContext:
    composed = context(node("m0", user("hi")))
    for number in range(pages):
        composed.add(called(number))
        composed.add(result(number, f"page {number}: " + "word " * 200))
    return composed


@pytest.mark.parametrize(("surplus", "evicted"), [(0, 0), (1, 1), (190, 2), (500, 3)])
def test_the_oldest_results_are_emptied_the_last_never(surplus: int, evicted: int) -> None:
    composed = searched(4)
    before = composed.added_tokens
    assert composed.fit(composed.tokens - surplus) is (surplus > 0)
    results = [m["content"] for m in composed.added if m["role"] == "tool"]
    emptied = [n for n, text in enumerate(results) if "evicted" in text]
    assert emptied == list(range(evicted))
    assert [m["role"] for m in composed.added] == ["assistant", "tool"] * 4
    assert composed.added_tokens == COUNTER.messages(composed.added)
    assert composed.added_tokens <= before - surplus


class Counting(TokenCounter):
    """Counts what it is asked to count, too."""

    def __init__(self) -> None:
        super().__init__("cl100k_base")
        self.messages_counted = 0

    def messages(self, messages: Iterable[Mapping[str, Any]], enough: int = sys.maxsize) -> int:
        counted = list(messages)
        self.messages_counted += len(counted)
        return super().messages(counted, enough)


def test_emptying_results_counts_each_once() -> None:
    counter = Counting()
    composed = MainContext(Head("You are MemGPT.", "", 0), Queue(state(passages=0), []), counter)
    for number in range(100):
        composed.add(called(number))
        composed.add(result(number, "word " * 200))
    room = composed.tokens - 90 * 180
    counter.messages_counted = 0
    composed.fit(room)
    assert composed.tokens <= room
    emptied = sum("evicted" in m["content"] for m in composed.added if m["content"])
    assert 85 <= emptied < 99
    # Each emptied one as it was and as it is, and then once all of them.
    assert counter.messages_counted <= 2 * emptied + 200


def test_reasoning_counts_and_goes_before_any_result() -> None:
    thought = {**called(1), "reasoning_content": "word " * 300}
    composed = context(node("m0", user("hi")), node("m1", thought, result(1, "found")))
    composed.add({**called(2), "reasoning": "word " * 300})
    composed.add(result(2, "found"))
    plain = context(node("m0", user("hi")), node("m1", called(1), result(1, "found")))
    plain.add(called(2))
    plain.add(result(2, "found"))
    assert composed.tokens >= plain.tokens + 600
    composed.fit(composed.tokens)
    assert "reasoning" in written(composed).decode()
    composed.fit(composed.tokens - 1)
    assert written(composed) == written(plain)
    assert composed.tokens == plain.tokens


def test_reasoning_of_the_turn_is_forgotten() -> None:
    composed = context(node("m0", user("hi")))
    composed.add({**called(1), "reasoning_details": [{"text": "Hm."}], "reasoning": "Hm."})
    composed.forget_reasoning()
    assert composed.added == [called(1)]
    assert composed.added_tokens == COUNTER.messages([called(1)])


def test_nothing_to_shorten() -> None:
    composed = context(node("m0", user("hi")))
    composed.add(user("an alert"))
    before = written(composed)
    composed.fit(composed.tokens)
    assert written(composed) == before


def test_where_the_instructions_alone_are_too_long_nothing_is_shortened() -> None:
    composed = context(node("m0", user("word " * 100)), application="pirate " * 500)
    before = written(composed)
    composed.fit(400)
    assert written(composed) == before


def test_the_applications_prompt_is_one_text() -> None:
    assert application_prompt(["You are a pirate.", "", "Be brief."]) == (
        "You are a pirate.\n\nBe brief."
    )
