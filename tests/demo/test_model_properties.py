"""Whatever is said, the model answers, never says the same call twice, and comes to an end."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memgpt_proxy.demo.model import MOST_CALLS, answer
from tests.demo.conversation import MEMORY_TOOLS, SIX_FLAGS, Conversation, system, tool, user

pytestmark = pytest.mark.slow

PHRASES = st.sampled_from(
    [
        *("my name is", "i'm", "Sam", "my bf", "james", "and i", "broke up", "birthday", "today"),
        *("did i ever mention", "six flags", "?", "what's my", "remember that", "remember", "."),
        *("search my documents for", "note this down:", "more", "yesterday", "forget", "i live in"),
        *("a0000000-0000-4000-8000-000000000001", "the weather", "in Paris", "\n", "who is", "’"),
    ]
)
TALK = st.one_of(st.text(), st.lists(PHRASES, max_size=12).map(" ".join))
RESULTS = st.one_of(
    st.text(),
    st.just(SIX_FLAGS),
    st.builds(
        "Showing {} of {} results (page {}/{}): {}".format,
        *[st.integers(0, 30)] * 4,
        TALK.map('"{}"'.format),
    ),
    TALK.map("Error: {}".format),
)
TOOLS = [*MEMORY_TOOLS, tool("get_weather", "Weather in a city", city={"type": "string"})]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = {
    "content": TALK | JSON,
    "tool_calls": JSON
    | st.lists(
        st.fixed_dictionaries(
            {
                "id": JSON,
                "function": st.fixed_dictionaries(
                    {
                        "name": st.sampled_from([t["function"]["name"] for t in TOOLS]),
                        "arguments": JSON | JSON.map(json.dumps),
                    }
                )
                | JSON,
            }
        )
    ),
    "tool_call_id": JSON,
}
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant", "tool"])}, optional=FIELDS
    ),
    max_size=6,
)


@settings(max_examples=200)
@given(st.lists(TALK, min_size=1, max_size=3), st.data())
def test_every_turn_ends_in_a_reply_and_repeats_no_call(talk: list[str], data: st.DataObject):
    def result(**given: Any) -> str:
        return data.draw(RESULTS)

    names = [t["function"]["name"] for t in TOOLS if t["function"]["name"] != "send_message"]
    offered = data.draw(st.lists(st.sampled_from(TOOLS), unique_by=lambda t: t["function"]["name"]))
    conversation = Conversation(tools=offered, functions=dict.fromkeys(names, result), passages=3)
    for text in talk:
        assert conversation.say(text).strip()
        assert len(conversation.calls) <= MOST_CALLS
        made = [json.dumps(call, sort_keys=True) for call in conversation.asked]
        assert len(made) == len(set(made))


@settings(max_examples=300)
@given(MESSAGES, JSON | st.lists(JSON | st.just(TOOLS[-1])))
def test_any_messages_get_an_answer(messages: list[dict[str, Any]], tools: Any):
    said = answer(messages, tools if isinstance(tools, list) else [])
    assert said.calls or said.content.strip()


@given(TALK, TALK)
def test_the_working_context_is_never_written_twice(known: str, said: str):
    calls = answer([system(known), user(said)], MEMORY_TOOLS).calls
    lines = [line.strip() for line in known.splitlines()]
    appended = [c.arguments["content"] for c in calls if c.name == "working_context_append"]
    assert not set(appended) & set(lines)
