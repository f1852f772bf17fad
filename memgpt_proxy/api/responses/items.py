"""Input items, read into the messages of a chat.

An assistant's message and the calls beside it are items of their own here, and one message
there. Reasoning is left out: inner thoughts are the gateway's own business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from memgpt_proxy.api.checks import invalid
from memgpt_proxy.api.responses.parts import content_of, output_of
from memgpt_proxy.errors import InvalidRequest
from memgpt_proxy.memory.transcript import Message

REFERENCE = "item_reference"
_ROLES = frozenset({"user", "assistant", "system", "developer"})
_CALLS = frozenset({"function_call", "custom_tool_call"})
_RESULTS = frozenset({"function_call_output", "custom_tool_call_output"})
_LEFT_OUT = frozenset({"reasoning"})
KINDS = frozenset({"message", REFERENCE}) | _CALLS | _RESULTS | _LEFT_OUT
"""The kinds of items that can be put in a chat."""


def kind_of(item: Mapping[str, Any]) -> str:
    """Return the kind of an item, which messages and references need not tell."""
    kind = item.get("type")
    if kind is None:
        return "message" if "role" in item else REFERENCE
    return str(kind)


def messages_of(items: Sequence[Any], *, newest_only: bool) -> list[Message]:
    """Return the messages that items amount to.

    Args:
        newest_only: The items go on from others, whose calls they may answer.

    Raises:
        InvalidRequest: An item cannot be put in a chat, or a call and its output do not meet.
    """
    reading = _Reading(newest_only=newest_only)
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise invalid(f"input[{index}]", "an object")
        reading.read(item, f"input[{index}]")
    reading.close()
    return reading.messages


def uncalled(call: str) -> InvalidRequest:
    """Return the error that an output comes for a call of this id, which was not made."""
    return InvalidRequest(
        f"No tool call found for function call output with call_id {call}.", param="input"
    )


class _Reading:
    """Items on their way to messages.

    Attributes:
        messages: Those that are complete, and the one that grows.
    """

    def __init__(self, *, newest_only: bool) -> None:
        self.messages: list[Message] = []
        self._newest_only = newest_only
        self._grows = False  # the last message is an assistant's, to which items may be added
        self._open: list[str] = []  # calls that wait for their outputs

    def read(self, item: Mapping[str, Any], param: str) -> None:
        kind = kind_of(item)
        if kind == "message":
            self._message(item, param)
        elif kind in _CALLS:
            self._call(item, param, custom=kind == "custom_tool_call")
        elif kind in _RESULTS:
            self._result(item, param)
        elif kind not in _LEFT_OUT:
            known = ", ".join(map(repr, sorted(KINDS)))
            raise InvalidRequest(
                f"Invalid value: {kind!r}. Supported values are: {known}.",
                param=f"{param}.type",
                code="invalid_value",
            )

    def close(self) -> None:
        """Every call has its output. Raises InvalidRequest."""
        if self._open:
            raise InvalidRequest(
                f"No tool output found for function call {self._open[0]}.", param="input"
            )

    def _message(self, item: Mapping[str, Any], param: str) -> None:
        role = item.get("role")
        if not isinstance(role, str) or role not in _ROLES:
            raise InvalidRequest(
                f"Invalid value for '{param}.role'. Supported values are: "
                "'user', 'assistant', 'system' and 'developer'.",
                param=f"{param}.role",
                code="invalid_value",
            )
        said = {"role": role, **content_of(item, role, f"{param}.content")}
        if role == "assistant" and self._grows and self.messages[-1].get("tool_calls"):
            last = self.messages[-1]
            words = filter(None, (last["content"], said["content"]))
            last |= {**said, "content": "\n\n".join(words) or None}
            return
        self.close()
        self.messages.append(said)
        self._grows = role == "assistant"

    def _call(self, item: Mapping[str, Any], param: str, *, custom: bool) -> None:
        given = "input" if custom else "arguments"
        name, call, text = (_text(item, each, param) for each in ("name", "call_id", given))
        if not self._grows:
            self.close()
            self.messages.append({"role": "assistant", "content": None})
            self._grows = True
        kind = "custom" if custom else "function"
        made = {"id": call, "type": kind, kind: {"name": name, given: text}}
        self.messages[-1].setdefault("tool_calls", []).append(made)
        self._open.append(call)

    def _result(self, item: Mapping[str, Any], param: str) -> None:
        call = _text(item, "call_id", param)
        self._grows = False
        if call in self._open:
            self._open.remove(call)
        elif not self._answers_earlier():
            raise uncalled(call)
        content = output_of(item.get("output"), f"{param}.output")
        self.messages.append({"role": "tool", "tool_call_id": call, "content": content})

    def _answers_earlier(self) -> bool:
        """Return whether the calls may be in what these items go on from."""
        return self._newest_only and all(each["role"] == "tool" for each in self.messages)


def _text(item: Mapping[str, Any], name: str, param: str) -> str:
    value = item.get(name)
    if value is None:
        raise InvalidRequest(
            f"Missing required parameter: '{param}.{name}'.",
            param=f"{param}.{name}",
            code="missing_required_parameter",
        )
    if not isinstance(value, str):
        raise invalid(f"{param}.{name}", "a string")
    return value
