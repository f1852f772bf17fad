"""A request written for a backend that takes it only in another way (see ``traits``).

Pure: a chat completion's JSON object and the traits go in, another object comes out. No text is
lost and the order stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from memgpt_proxy.traits import Profile, Trait
from memgpt_proxy.wire.call_schema import has_schema, response_format
from memgpt_proxy.wire.reasoning import with_reasoning, without_reasoning
from memgpt_proxy.wire.text_protocol import Form, calls_text, described, result_text
from memgpt_proxy.wire.tool_choice import read_tool_choice

Message = dict[str, Any]

_BEGINNING = "(The conversation goes on.)"
"""What a user says before an assistant who would speak first."""

_DROPPED = {
    Trait.NO_STREAM_OPTIONS: "stream_options",
    Trait.NO_PARALLEL_TOOL_CALLS: "parallel_tool_calls",
}
_WITHOUT_REASONING = {Trait.NO_REASONING, Trait.NO_TOOLS}
"""Without calls nothing is thought on from one message to the next."""
_ABOUT_CALLS = ("tools", "functions", "tool_choice", "function_call", "parallel_tool_calls")


def written(
    request: Mapping[str, Any], profile: Profile, *, by_call: bool = False
) -> dict[str, Any]:
    """Return ``request`` as a backend of this profile takes it.

    Args:
        by_call: It is to be answered by calls only, as the model speaks by one of them.
    """
    fields = {**request, "messages": [*request["messages"]]}
    if not _WITHOUT_REASONING.isdisjoint(profile):
        fields["messages"] = [*map(without_reasoning, fields["messages"])]
    elif Trait.REASONING in profile:
        fields["messages"] = [*map(with_reasoning, fields["messages"])]
    if Trait.NO_TOOLS in profile:
        _in_text(fields, by_call=by_call, forced=Trait.NO_JSON_SCHEMA not in profile)
    _deliver(fields, profile)
    for trait, name in _DROPPED.items():
        if trait in profile:
            fields.pop(name, None)
    _limit(fields, profile)
    if Trait.NO_TOOL_CHOICE in profile:
        _without_choice(fields)
    if Trait.FUNCTIONS in profile and Trait.NO_TOOLS not in profile:
        _as_functions(fields)
    fields["messages"] = _roles(fields["messages"], profile)
    return fields


def is_streamed(request: Mapping[str, Any], profile: Profile) -> bool:
    """Return whether a backend of this profile is to answer with a stream."""
    if Trait.NO_STREAM in profile:
        return False
    return bool(request.get("stream")) or (Trait.ONLY_STREAM in profile and not speaks(request))


def speaks(request: Mapping[str, Any]) -> bool:
    """Return whether the answer is to be sound: of most kinds there is no stream."""
    modalities = request.get("modalities")
    return bool(request.get("audio")) or (isinstance(modalities, list) and "audio" in modalities)


def _deliver(fields: dict[str, Any], profile: Profile) -> None:
    """Ask for the answer as a stream or whole, as the backend can."""
    streamed = is_streamed(fields, profile)
    if streamed == bool(fields.get("stream")):
        return
    fields["stream"] = streamed
    if streamed:
        fields["stream_options"] = {"include_usage": True}
    else:
        fields.pop("stream_options", None)


def _limit(fields: dict[str, Any], profile: Profile) -> None:
    """Give the answer's length by the name that is known there."""
    names = ("max_tokens", "max_completion_tokens")
    if Trait.MAX_COMPLETION_TOKENS in profile:
        names = names[::-1]
    elif Trait.MAX_TOKENS not in profile:
        return
    known, unknown = names
    given = [limit for limit in (fields.get(known), fields.pop(unknown, None)) if limit is not None]
    if given:
        fields[known] = min(given)


def _without_choice(fields: dict[str, Any]) -> None:
    """Leave out the choice among functions; offer those that are left by it."""
    choice = fields.pop("tool_choice", None)
    if choice == "none":
        fields.pop("tools", None)
    elif (name := _chosen(choice)) and "tools" in fields:
        fields["tools"] = [tool for tool in fields["tools"] if _chosen(tool) == name]


def _chosen(choice: object) -> str | None:
    """Return the function that a choice names, if it does."""
    if not isinstance(choice, Mapping):
        return None
    inner = choice.get("function") or choice.get("custom") or choice
    name = inner.get("name") if isinstance(inner, Mapping) else None
    return name if isinstance(name, str) else None


def _in_text(fields: dict[str, Any], *, by_call: bool, forced: bool) -> None:
    """Move functions, calls and results into the text of messages.

    Args:
        forced: A schema is to force the form of the answer, where it has one.
    """
    choice = read_tool_choice(_choice(fields))
    functions = [
        each for each in _functions(fields) if choice.names is None or each["name"] in choice.names
    ]
    form = _form(fields, by_call=by_call or choice.required) if functions and forced else Form.LINES
    if form is not Form.LINES:
        most = {"most": 1} if fields.get("parallel_tool_calls") is False else {}
        answer = fields["response_format"] if form is Form.LIST_OR_ANSWER else None
        fields["response_format"] = response_format(functions, **most, answer=answer)
    must_call = (_only(functions) or "") if choice.required else None
    told = described(functions, form, must_call)
    for name in _ABOUT_CALLS:
        fields.pop(name, None)
    messages = [*_told_in_text(fields["messages"], form)]
    if told:
        first = messages[0] if messages and messages[0].get("role") in _SYSTEM else None
        system = first or {"role": "system", "content": ""}
        messages[: 1 if first else 0] = [_joined(system, {"content": told})]
    fields["messages"] = messages


def _form(fields: Mapping[str, Any], *, by_call: bool) -> Form:
    """Return the form in which calls are to be written where a schema can force it.

    Plain text is never forced into JSON: where it may be the answer, calls stand on lines.
    """
    if by_call:
        return Form.LIST
    return Form.LIST_OR_ANSWER if has_schema(fields.get("response_format")) else Form.LINES


def _choice(fields: Mapping[str, Any]) -> object:
    """Return the choice among functions, as ``tool_choice`` has it."""
    choice = fields.get("tool_choice", fields.get("function_call"))
    if isinstance(choice, Mapping) and "type" not in choice:
        return {"type": "function", "function": choice}
    return choice


def _functions(fields: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    tools = (tool.get("function") or tool.get("custom") for tool in fields.get("tools") or ())
    return [*filter(_has_name, tools), *(fields.get("functions") or ())]


def _has_name(function: Any) -> bool:
    return bool(_name(_object(function)))


def _told_in_text(messages: Sequence[Message], form: Form) -> Iterator[Message]:
    """Write assistants' calls and their results as text."""
    names: dict[str, str] = {}
    for message in messages:
        if message.get("role") in ("tool", "function"):
            name = message.get("name") or names.get(message.get("tool_call_id") or "", "the call")
            told = result_text(name, _plain(message.get("content")))
            yield {"role": "user", "content": told}
            continue
        calls = [*_calls(message)]
        names |= {call.get("id") or "": function["name"] for call, function in calls}
        functions = [function for _, function in calls]
        yield _with_calls(message, calls_text(functions, form)) if calls else message


def _with_calls(message: Message, text: str) -> Message:
    rest = {k: v for k, v in message.items() if k not in ("tool_calls", "function_call")}
    if not rest.get("content"):
        rest["content"] = ""
    return _joined(rest, {"content": text}, between="\n")


def _calls(message: Message) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Give the calls of a message, each with its function's name and arguments."""
    for call in message.get("tool_calls") or ():
        if custom := call.get("custom"):
            given = _object(custom)
            yield call, {"name": _name(given), "arguments": given.get("input")}
        else:
            given = _object(call.get("function"))
            yield call, {**given, "name": _name(given)}
    if legacy := message.get("function_call"):
        given = _object(legacy)
        yield {}, {**given, "name": _name(given)}


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _name(function: Mapping[str, Any]) -> str:
    """Return a function's name; clients may have left it out, which is for the backend to say."""
    name = function.get("name")
    return name if isinstance(name, str) else ""


def _as_functions(fields: dict[str, Any]) -> None:
    """Offer tools as the deprecated ``functions``, which know one call to a message."""
    fields["messages"] = [*_one_call_each(fields["messages"])]
    fields.pop("parallel_tool_calls", None)
    choice = fields.pop("tool_choice", None)
    if not (tools := fields.pop("tools", None)):
        return
    fields["functions"] = _functions({"tools": tools})
    if name := _chosen(choice) or (_only(fields["functions"]) if choice == "required" else None):
        fields["function_call"] = {"name": name}
    elif choice in ("none", "auto"):
        fields["function_call"] = choice


def _only(functions: Sequence[Mapping[str, Any]]) -> str | None:
    return functions[0].get("name") if len(functions) == 1 else None


def _one_call_each(messages: Sequence[Message]) -> Iterator[Message]:
    """Write each call as a message of its own, its result behind it."""
    waiting: dict[str, Message] = {}
    for message in messages:
        if message.get("role") == "tool":
            made = waiting.pop(message.get("tool_call_id") or "", None)
            name = made["function_call"]["name"] if made else "unknown"
            if made:
                yield made
            yield {"role": "function", "name": name, "content": _plain(message.get("content"))}
            continue
        yield from waiting.values()
        waiting = {}
        if not message.get("tool_calls"):
            yield message
            continue
        rest = {k: v for k, v in message.items() if k != "tool_calls"}
        for place, (call, function) in enumerate(_calls(message)):
            said = rest if place == 0 else {"role": "assistant", "content": None}
            waiting[call.get("id") or str(place)] = {**said, "function_call": dict(function)}
    yield from waiting.values()


_SYSTEM = ("system", "developer")


def _roles(messages: Sequence[Message], profile: Profile) -> list[Message]:
    """Give messages the roles, and the order of roles, that are taken."""
    told = [*messages]
    if Trait.NO_DEVELOPER in profile:
        told = [_as(m, "system") if m.get("role") == "developer" else m for m in told]
    if Trait.NO_SYSTEM in profile:
        told = _without_system(told)
    return _alternating(told) if Trait.ALTERNATING in profile else told


def _as(message: Message, role: str) -> Message:
    return {**message, "role": role}


def _without_system(messages: Sequence[Message]) -> list[Message]:
    """Put each system message in front of the user's words that follow it."""
    folded: list[Message] = []
    is_open = False  # the last one was a system message
    for message in messages:
        is_system = message.get("role") in _SYSTEM
        if is_open and (is_system or message.get("role") == "user"):
            folded[-1] = _joined(folded[-1], message)
        else:
            folded.append(_as(message, "user") if is_system else message)
        is_open = is_system
    return folded


def _alternating(messages: Sequence[Message]) -> list[Message]:
    """Merge neighbours of one role; only leading system messages keep theirs."""
    merged: list[Message] = []
    for message in messages:
        last = merged[-1] if merged else None
        if message.get("role") in _SYSTEM and last and last.get("role") not in _SYSTEM:
            message = _as(message, "user")
        if last and _are_one(last, message):
            merged[-1] = _joined(last, message)
            continue
        if message.get("role") == "assistant" and (not last or last.get("role") in _SYSTEM):
            merged.append({"role": "user", "content": _BEGINNING})
        merged.append(message)
    return merged


def _are_one(first: Message, second: Message) -> bool:
    """Return whether two messages can be merged: calls keep their own, beside their results."""
    if first.get("role") in _SYSTEM and second.get("role") in _SYSTEM:
        return True
    if first.get("role") != second.get("role") or first.get("role") not in ("user", "assistant"):
        return False
    return not any(first.get(name) for name in ("tool_calls", "function_call"))


def _joined(first: Message, second: Message, between: str = "\n\n") -> Message:
    """Return both as one message: the fields of both, one content after the other."""
    content = _both(first.get("content"), second.get("content"), between)
    return {**second, **first, "content": content}


def _both(first: Any, second: Any, between: str) -> Any:
    if not first or not second:
        return first or second or ""
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}{between}{second}"
    return [*_parts(first), *_parts(second)]


def _parts(content: Any) -> list[Any]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else [*content]


def _plain(content: Any) -> str:
    """Return the text of a content."""
    if isinstance(content, str):
        return content
    texts = (part.get("text") for part in content or () if isinstance(part, dict))
    return "\n".join(text for text in texts if isinstance(text, str))
