"""The chat-completions wire of OpenAI's API, as far as a gateway reads or writes it.

Names are OpenAI's. A backend may leave out or add fields, so that no field is promised to be there.
"""

from typing import Any, Literal, NotRequired, TypedDict, cast

_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
_DETAILS = ("prompt_tokens_details", "completion_tokens_details")

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]


class FunctionCall(TypedDict, total=False):
    """The function that a model calls, and the JSON text of its arguments."""

    name: str
    arguments: str


class ToolCall(TypedDict, total=False):
    """One call among an assistant message's `tool_calls`."""

    id: str
    type: str
    function: FunctionCall


class Message(TypedDict, total=False):
    """One message, of a request or of a completion."""

    role: str
    content: str | list[dict[str, Any]] | None
    name: str
    refusal: str | None
    reasoning_content: str | None
    tool_calls: list[ToolCall]
    tool_call_id: str
    function_call: FunctionCall


class FunctionDefinition(TypedDict):
    """A function that a request offers to the model; `parameters` is a JSON schema."""

    name: str
    description: NotRequired[str]
    parameters: NotRequired[dict[str, Any]]
    strict: NotRequired[bool | None]


class Tool(TypedDict):
    """One entry of a request's `tools`."""

    type: Literal["function"]
    function: FunctionDefinition


class PromptTokensDetails(TypedDict, total=False):
    """Parts of `prompt_tokens`."""

    cached_tokens: int
    audio_tokens: int


class CompletionTokensDetails(TypedDict, total=False):
    """Parts of `completion_tokens`."""

    reasoning_tokens: int
    audio_tokens: int
    accepted_prediction_tokens: int
    rejected_prediction_tokens: int


class Usage(TypedDict, total=False):
    """Token counts of a completion."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails | None
    completion_tokens_details: CompletionTokensDetails | None


class FunctionCallDelta(TypedDict, total=False):
    """A piece of a function call; some backends send `arguments` as an object."""

    name: str | None
    arguments: str | dict[str, Any] | None


class CustomDelta(TypedDict, total=False):
    """A piece of a custom tool's call."""

    name: str | None
    input: str | None


class ToolCallDelta(TypedDict, total=False):
    """A piece of the tool call at `index`."""

    index: int | None
    id: str | None
    type: str | None
    function: FunctionCallDelta | None
    custom: CustomDelta | None
    extra_content: Any


class Delta(TypedDict, total=False):
    """What a chunk adds to a message."""

    role: str | None
    content: str | list[dict[str, Any]] | None
    refusal: str | None
    reasoning_content: str | None
    reasoning: str | None
    reasoning_details: list[Any] | None
    tool_calls: list[ToolCallDelta] | None
    function_call: FunctionCallDelta | None
    annotations: list[Any] | None
    audio: dict[str, Any] | None


class Choice(TypedDict, total=False):
    """One choice of a chunk."""

    index: int
    delta: Delta | None
    finish_reason: str | None
    logprobs: dict[str, Any] | None


class Chunk(TypedDict, total=False):
    """One event of a streamed completion."""

    id: str
    object: str
    created: int
    model: str
    choices: list[Choice]
    usage: Usage | None
    system_fingerprint: str | None
    service_tier: str | None
    error: dict[str, Any] | str | None


class CompletionChoice(TypedDict, total=False):
    """One choice of a completion that is not streamed."""

    index: int
    message: Message
    finish_reason: str | None
    logprobs: dict[str, Any] | None


class Completion(TypedDict, total=False):
    """A completion that is not streamed."""

    id: str
    object: str
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage | None
    system_fingerprint: str | None
    service_tier: str | None


def completion_to_chunk(completion: Completion) -> Chunk:
    """Return the one chunk that says what a whole completion says.

    OpenRouter tells an error within a choice there, and beside the choices of a chunk.
    """
    chunk = cast("dict[str, Any]", {**completion, "object": "chat.completion.chunk"})
    chunk["choices"] = choices = [_streamed(c) for c in completion.get("choices") or ()]
    if choices and (error := cast("Any", choices[0]).get("error")):
        chunk["error"] = chunk.get("error") or error
    return cast("Chunk", chunk)


def _streamed(choice: CompletionChoice) -> Choice:
    fields: dict[str, Any] = {key: value for key, value in choice.items() if key != "message"}
    delta: dict[str, Any] = {**(choice.get("message") or {})}
    if calls := delta.get("tool_calls"):
        delta["tool_calls"] = [{**call, "index": index} for index, call in enumerate(calls)]
    return cast("Choice", {**fields, "delta": delta})


def counted(usage: Usage) -> Usage:
    """Return a usage without those of its counts and details that are none, such as null."""
    given = {**usage}
    counts = {name: given.pop(name) for name in _COUNTS if name in given}
    details = {name: given.pop(name) for name in _DETAILS if name in given}
    kept = {name: value for name, value in counts.items() if _is_count(value)}
    kept |= {name: value for name, value in details.items() if isinstance(value, dict)}
    return cast("Usage", {**kept, **given})


def add_usage(total: Usage | None, more: Usage) -> Usage:
    """Return the sum of two usages, nested details and unknown counts included.

    Of a field that is no number, the first value that is not null stays.
    """
    return cast("Usage", _sum(cast("dict[str, Any]", total or {}), cast("dict[str, Any]", more)))


def reasoning_tokens(usage: Usage | None) -> int:
    """Return the tokens that were spent on reasoning which the server has taken out."""
    details = (usage or {}).get("completion_tokens_details")
    told = details.get("reasoning_tokens") if isinstance(details, dict) else None
    return told if isinstance(told, int) else 0


def _sum(left: Any, right: Any) -> Any:
    if left is None or right is None:
        return right if left is None else left
    if isinstance(left, dict) and isinstance(right, dict):
        return {key: _sum(left.get(key), right.get(key)) for key in {**left, **right}}
    return left + right if _is_count(left) and _is_count(right) else left


def _is_count(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
