"""Which requests are tasks of a user interface."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from memgpt_proxy.api.chat_request import parse_chat_request
from memgpt_proxy.api.ui_tasks import TaskPrompts

HISTORY = "### Chat History:\n<chat_history>\nUSER: Hi\nASSISTANT: Hello\n</chat_history>"
TITLE = f"### Task:\nGenerate a concise title summarizing the chat history.\n\n{HISTORY}"
TASKS = {
    "title": TITLE,
    "title of older versions": "### Task:\nGenerate a concise, 3-5 word title with an emoji "
    f"summarizing the chat history.\n{HISTORY}\n",
    "title of still older versions": "Create a concise, 3-5 word title with an emoji as a title "
    "for the chat history.\n\n<chat_history>\nUSER: Hi\n</chat_history>",
    "tags": f"### Task:\nGenerate 1-3 broad tags categorizing the main themes.\n\n{HISTORY}",
    "follow-ups": f"### Task:\nSuggest 3-5 relevant follow-up questions.\n{HISTORY}",
    "search query": "### Task:\nAnalyze the chat history to determine the necessity of generating "
    f"search queries.\n\n{HISTORY}\n",
    "image prompt": f"### Task:\nGenerate a detailed prompt for am image task.\n\n{HISTORY}",
    "autocompletion": "### Task:\nYou are an autocompletion system. Continue `<text>`.\n### "
    "Context:\n<type>General</type>  \n<text>The sun</text>  \n#### Output:\n",
    "compaction": "### Task:\nSummarize the conversation history that will be compacted out.\n\n"
    "### Messages Being Compacted:\nUSER: Hi\n\n### Recent Messages Kept In Context:\nUSER: Go on",
    "emoji": "Your task is to reflect the speaker's likely facial expression through a fitting "
    "emoji.\n\nMessage: ```Hello```",
    "merged answers": "You have been provided with a set of responses from various models to the "
    'latest user query: "Hi"\n\nResponses from models: """Hello"""\n\n"""Hey"""',
    "LibreChat's title": "Provide a concise, 5-word-or-less title for the conversation, using "
    "title case conventions.\n\nConversation:\nUser: Hi\nAI: Hello",
    "LibreChat's structured title": "Analyze this conversation and provide:\n1. The detected "
    "language of the conversation\n2. A concise title\n\nUser: Hi\nAI: ",
}
TOOL_CHOICE = (
    "Available Tools: []\n\nYour task is to choose and return the correct tool(s) from the list of "
    "available tools based on the query."
)
OWN_MEMORY = (
    "Use the `set_memory` tool to save important information about the user, but ONLY when asked."
    "\n\nThe `delete_memory` tool should only be used to forget."
)


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def system(content: str) -> dict[str, Any]:
    return {"role": "system", "content": content}


def is_task(*messages: dict[str, Any], prompts: TaskPrompts | None = None) -> bool:
    body = json.dumps({"model": "m", "messages": messages}).encode()
    return (prompts or TaskPrompts()).fit(parse_chat_request(body))


@pytest.mark.parametrize("prompt", TASKS.values(), ids=[*TASKS])
def test_a_task_is_known_by_its_prompt(prompt: str) -> None:
    assert is_task(user(prompt))
    assert is_task(system("You are a pirate."), user(prompt))
    assert is_task(user([{"type": "text", "text": prompt}]))


@pytest.mark.parametrize("instructions", [TOOL_CHOICE, OWN_MEMORY])
def test_a_task_is_known_by_its_system_prompt(instructions: str) -> None:
    assert is_task(system(instructions), user("Query: What is the weather?"))


def test_a_task_may_have_made_its_calls() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "set_memory", "arguments": "{}"}}
    asked = {"role": "assistant", "content": None, "tool_calls": [call]}
    result = {"role": "tool", "tool_call_id": "c1", "content": "set"}
    assert is_task(system(OWN_MEMORY), user("# Current Chat:\n\nHi"), asked, result)


@pytest.mark.parametrize("prompt", TASKS.values(), ids=[*TASKS])
def test_a_person_may_quote_a_prompt(prompt: str) -> None:
    assert not is_task(user(f"Where does this come from?\n\n{prompt}"))
    assert not is_task(user(f"> {prompt}"))
    assert not is_task(user(prompt.split("\n\n")[0].split("</")[0]))


@pytest.mark.parametrize("name", ["title", "tags", "follow-ups", "search query", "emoji"])
def test_a_person_may_begin_with_a_prompt(name: str) -> None:
    assert not is_task(user(f"{TASKS[name]}\n\nIs this a good prompt?"))


def test_a_prompt_inside_a_conversation_is_said_by_a_person() -> None:
    hello = [user("Hi"), {"role": "assistant", "content": "Hello"}]
    assert not is_task(*hello, user(TITLE))
    assert not is_task(user(TITLE), {"role": "assistant", "content": "Talk"}, user("Thanks."))
    assert not is_task(user(TITLE), user("Is this a good prompt?"))
    assert not is_task(user(TITLE), {"role": "assistant", "content": "A title"})


def test_instructions_are_no_user_message() -> None:
    assert not is_task(system(TITLE), user("Hi"))
    assert not is_task(system(TITLE))
    assert not is_task(user(TOOL_CHOICE))


def test_an_ordinary_message_is_no_task() -> None:
    assert not is_task(user("### Task:\nGenerate a concise title for my novel."))
    assert not is_task(system("You are a pirate."), user("Hello"))
    assert not is_task(user([{"type": "image_url", "image_url": {"url": "data:,"}}]))


def test_an_operator_adds_prompts() -> None:
    prompts = TaskPrompts([re.compile(r"Name this (chat|talk)\b"), re.compile("TITLE ONLY")])
    assert is_task(user("Name this chat: Hi"), prompts=prompts)
    assert is_task(system("TITLE ONLY."), user("Hi"), prompts=prompts)
    assert is_task(user(TITLE), prompts=prompts)
    assert not is_task(user("Please name this chat"), prompts=prompts)
    assert not is_task(user("Hi. Name this chat"), prompts=prompts)
