"""A conversation with the demo model: prompts as the gateway writes them, calls really answered."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from memgpt_proxy.demo.model import MOST_CALLS, answer
from memgpt_proxy.demo.prompt import Call

EMPTY = "Showing 0 of 0 results (page 1/1)."
SIX_FLAGS = (
    'Showing 3 of 3 results (page 1/1): [01/24/2024] "lol yeah six flags", '
    '[01/14/2024] "I love six flags been like 100 times", '
    '[10/12/2023] "james and I actually first met at six flags"'
)
TODAY = "System Alert: Today is Saturday, February 7, 2026."
PRESSURE = "System Alert: Memory Pressure. Save what is worth keeping."

Function = Callable[..., str]
Message = dict[str, Any]


def tool(name: str, description: str = "", **properties: Any) -> Message:
    """A function as a request offers it; all its properties are required."""
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    function = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": function}


MEMORY_TOOLS = [
    tool("send_message"),
    tool("working_context_append"),
    tool("working_context_replace"),
    tool("archival_storage_insert"),
    tool("archival_storage_search"),
    tool("recall_storage_search"),
    tool("recall_storage_search_date"),
]


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


def called(name: str, result: str, **arguments: Any) -> list[Message]:
    """A function call in the history with its result."""
    call = {"name": name, "arguments": json.dumps(arguments)}
    return [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "call_1", "type": "function", "function": call}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": result},
    ]


def system(working_context: str = "", application: str = "", passages: int = 0) -> Message:
    """The system message of a main context."""
    text = (
        f"You manage your memory yourself.\n\n# Application\n{application}\n\n"
        f"# Working context ({len(working_context)} / 8 000 characters)\n{working_context}\n\n"
        "# External context\n"
        f"Recall storage holds 12 messages. Archival storage holds {passages} passages."
    )
    return {"role": "system", "content": text}


@dataclass
class Conversation:
    """Messages so far, and the functions that answer the model's calls.

    `functions` gives results by name; the working context is kept here, as the gateway would.
    """

    known: Sequence[str] = ()
    functions: Mapping[str, Function] = field(default_factory=dict)
    tools: Sequence[Message] = field(default_factory=lambda: MEMORY_TOOLS)
    passages: int = 0
    queue: list[Message] = field(default_factory=lambda: [user(TODAY)])
    calls: list[Call] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lines = list(self.known)

    def say(self, text: str, *alerts: str) -> str:
        """What the model replies to a message of the user, after all its calls."""
        self.queue += [user(text), *map(user, alerts)]
        self.calls = []
        head = system("\n".join(self.known), passages=self.passages)
        while len(self.calls) <= MOST_CALLS:
            said = answer([head, *self.queue], self.tools)
            if not said.calls:
                self.queue.append(assistant(said.content))
                return said.content
            self._run(said.thoughts, said.calls)
            if said.calls[-1].name == "send_message":
                return str(said.calls[-1].arguments["message"])
        raise AssertionError(f"no reply after {self.calls}")

    @property
    def asked(self) -> list[tuple[str, dict[str, Any]]]:
        """The calls of the newest turn but the reply, without their heartbeats."""
        return [(call.name, _bare(call)) for call in self.calls if call.name != "send_message"]

    def _run(self, thoughts: str, calls: Sequence[Call]) -> None:
        ids = [f"call_{len(self.queue)}_{n}" for n, _ in enumerate(calls)]
        self.calls += calls
        sent = [
            {"id": id_, "type": "function", "function": _on_the_wire(call)}
            for id_, call in zip(ids, calls, strict=True)
        ]
        self.queue.append({"role": "assistant", "content": thoughts, "tool_calls": sent})
        for id_, call in zip(ids, calls, strict=True):
            result = {"role": "tool", "tool_call_id": id_, "content": self._result(call)}
            self.queue.append(result)

    def _result(self, call: Call) -> str:
        given = _bare(call)
        if call.name in self.functions:
            return self.functions[call.name](**given)
        match call.name:
            case "working_context_append":
                self.lines.append(given["content"])
                return "Appended. Working context: 9 / 8 000 characters."
            case "working_context_replace":
                at = self.lines.index(given["old_content"])
                self.lines[at : at + 1] = [given["new_content"]] if given["new_content"] else []
                return "Replaced. Working context: 9 / 8 000 characters."
            case "archival_storage_insert":
                return "Inserted."
            case "send_message":
                return "Sent."
            case _:
                return EMPTY


def _bare(call: Call) -> dict[str, Any]:
    return {key: value for key, value in call.arguments.items() if key != "request_heartbeat"}


def _on_the_wire(call: Call) -> dict[str, str]:
    return {"name": call.name, "arguments": json.dumps(dict(call.arguments))}
