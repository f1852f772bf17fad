"""How servers write chat completions: from public documentation, source or recorded answers.

The words are ours; which fields there are, in which chunk, in which order, is the server's. What
could be found nowhere is marked as a guess.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

Delta = dict[str, Any]
Called = tuple[str, str, dict[str, Any]]
"""Id, name and arguments."""

USAGE = {"prompt_tokens": 21, "completion_tokens": 5, "total_tokens": 26}


def _piecewise(called: Sequence[Called], **beside: Any) -> list[Delta]:
    """Calls with their arguments in pieces, as most servers write them, ``beside`` other fields."""
    deltas: list[Delta] = []
    for index, (id, name, arguments) in enumerate(called):
        text = json.dumps(arguments)
        function = {"name": name, "arguments": ""}
        head = {"index": index, "id": id, "type": "function", "function": function}
        pieces = [text[at : at + 6] for at in range(0, len(text), 6)]
        more = [{"index": index, "function": {"arguments": piece}} for piece in pieces]
        deltas += [{**beside, "tool_calls": [each]} for each in (head, *more)]
    return deltas


def _as_by_hermes(called: Sequence[Called]) -> list[Delta]:
    """Calls of vLLM: the head of each with the first piece of its arguments behind it."""
    deltas: list[Delta] = []
    for index, (id, name, arguments) in enumerate(called):
        text = json.dumps(arguments)
        head = {"id": id, "type": "function", "index": index, "function": {"name": name}}
        pieces = [text[at : at + 6] for at in range(0, len(text), 6)]
        first, *more = ({"index": index, "function": {"arguments": piece}} for piece in pieces)
        deltas.append({"content": None, "tool_calls": [head, first]})
        deltas += [{"content": None, "tool_calls": [each]} for each in more]
    return deltas


def _whole(called: Sequence[Called]) -> list[dict[str, Any]]:
    return [
        {
            "index": index,
            "id": id,
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments)},
        }
        for index, (id, name, arguments) in enumerate(called)
    ]


def _unnumbered(called: Sequence[Called]) -> list[dict[str, Any]]:
    return [{k: v for k, v in call.items() if k != "index"} for call in _whole(called)]


def _signed(called: Sequence[Called]) -> list[dict[str, Any]]:
    """Calls of Gemini: without an index, the first of several with the thought's signature."""
    first, *others = _unnumbered(called)
    return [{**first, "extra_content": {"google": {"thought_signature": "Cs="}}}, *others]


def _split(called: Sequence[Called]) -> list[Delta]:
    """Calls of Gemini in a stream: the rest of long arguments may come without any name."""
    deltas = []
    for call in _signed(called):
        text = call["function"]["arguments"]
        begun = {**call, "function": {**call["function"], "arguments": text[:9]}}
        deltas += [begun, {"function": {"arguments": text[9:]}}]
    return [{"role": "assistant", "tool_calls": [delta]} for delta in deltas]


def _plainly(text: str, thought: str, called: Sequence[Called]) -> Delta:
    """A message as OpenAI tells it; servers without a field for thoughts keep them."""
    message: Delta = {"role": "assistant", "content": text or None}
    return {**message, "tool_calls": _unnumbered(called)} if called else message


def _thoughtfully(name: str) -> Callable[[str, str, Sequence[Called]], Delta]:
    """A message with the thought in a field of this name."""

    def message(text: str, thought: str, called: Sequence[Called]) -> Delta:
        return _plainly(text, thought, called) | ({name: thought} if thought else {})

    return message


@dataclass(frozen=True, slots=True)
class Server:
    """A server's way to write.

    Attributes:
        source: Where that is said.
        error: Status and body, or 200 and the data of an event.
        head: Fields of every chunk.
        begin: The deltas before all others; ``begin_calling``, where nothing is said.
        says, thinks, calls: The deltas of a piece of text, of reasoning, of calls.
        end: The delta of the chunk with the finish reason.
        choice: Fields of every choice beside delta, index and finish_reason; ``end_choice``, of
            the last one.
        usage: The last chunks, or, as ``in_end``, fields of the chunk with the finish reason.
        comment: Between events.
        reason: The finish reason of calls in a stream.
        message: The message of a completion that is not streamed: of text, thoughts and calls.
    """

    source: str
    error: tuple[int, Any]
    head: dict[str, Any] = field(default_factory=dict)
    begin: Sequence[Delta] = ()
    begin_calling: Sequence[Delta] | None = None
    says: Callable[[str], Delta] = lambda text: {"content": text}
    thinks: Callable[[Sequence[str]], list[Delta]] | None = None
    calls: Callable[[Sequence[Called]], list[Delta]] = _piecewise
    end: Delta = field(default_factory=dict)
    choice: dict[str, Any] = field(default_factory=dict)
    end_choice: dict[str, Any] = field(default_factory=dict)
    usage: Sequence[dict[str, Any]] = ({"choices": [], "usage": USAGE},)
    in_end: dict[str, Any] = field(default_factory=dict)
    comment: str = ""
    reason: str = "tool_calls"
    message: Callable[[str, str, Sequence[Called]], Delta] = _plainly

    def stream(
        self, text: Sequence[str] = (), thoughts: Sequence[str] = (), called: Sequence[Called] = ()
    ) -> bytes:
        """Return the body of an answer that says, thinks and calls all this."""
        calling = self.begin_calling if called and not text else None
        deltas = [*(self.begin if calling is None else calling)]
        deltas += self.thinks(thoughts) if self.thinks is not None and thoughts else []
        deltas += [self.says(piece) for piece in text]
        deltas += self.calls(called) if called else []
        chunks = [self._chunk(delta) for delta in deltas]
        reason = self.reason if called else "stop"
        end = self._chunk(self.end, finish_reason=reason, **self.end_choice)
        chunks.append({**end, **self.in_end})
        chunks += [self._head() | last for last in self.usage]
        return self.events([*map(json.dumps, chunks), "[DONE]"])

    def whole(
        self, text: Sequence[str] = (), thoughts: Sequence[str] = (), called: Sequence[Called] = ()
    ) -> bytes:
        """Return the same answer where no stream is asked for."""
        message = self.message("".join(text), "".join(thoughts), called)
        reason = "tool_calls" if called else "stop"
        choice = {"index": 0, "message": message, **self.choice, "finish_reason": reason}
        told = {**self._head(), "object": "chat.completion", "choices": [choice], "usage": USAGE}
        return json.dumps(told).encode()

    def events(self, payloads: Sequence[str]) -> bytes:
        """Return these as events."""
        comment = f": {self.comment}\n\n" if self.comment else ""
        return "".join(f"{comment}data: {payload}\n\n" for payload in payloads).encode()

    def _head(self) -> dict[str, Any]:
        head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1763000000}
        return {**head, "model": "m", **self.head}

    def _chunk(self, delta: Delta, **more: Any) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, **self.choice, "finish_reason": None, **more}
        return {**self._head(), "choices": [choice]}


def _told(message: str, type: str, code: Any = None, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": type, "param": None, "code": code, **more}}


def _each(delta: Callable[[str], Delta]) -> Callable[[Sequence[str]], list[Delta]]:
    return lambda thoughts: [delta(thought) for thought in thoughts]


def _geminis_thoughts(thoughts: Sequence[str]) -> list[Delta]:
    """The first opens the tag; it is closed in front of what follows."""
    marked = {"role": "assistant", "extra_content": {"google": {"thought": True}}}
    first, *others = thoughts
    told = [{**marked, "content": text} for text in (f"<thought>{first}", *others)]
    return [*told, {"role": "assistant", "content": "</thought>"}]


def _geminis_message(text: str, thought: str, called: Sequence[Called]) -> Delta:
    thinking = f"<thought>{thought}</thought>" if thought else ""
    message: Delta = {"role": "assistant"}
    if thinking or text:
        message["content"] = thinking + text
    if thinking:
        message["extra_content"] = {"google": {"thought": True}}
    return {**message, "tool_calls": _signed(called)} if called else message


def _openrouters_thoughts(thoughts: Sequence[str]) -> list[Delta]:
    """As of Claude: the signature comes last, without text."""
    detail = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}
    told: list[Delta] = [
        {"reasoning": text, "reasoning_details": [{**detail, "text": text}]} for text in thoughts
    ]
    last = {"reasoning_details": [{**detail, "signature": "Eq0="}]}
    return [{"content": "", "role": "assistant", **each} for each in (*told, last)]


def _openrouters_message(text: str, thought: str, called: Sequence[Called]) -> Delta:
    message = {**_plainly(text, "", called), "refusal": None, "reasoning": thought or None}
    if thought:
        detail = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}
        message["reasoning_details"] = [{**detail, "text": thought, "signature": "Eq0="}]
    return message


def _mistrals_message(text: str, thought: str, called: Sequence[Called]) -> Delta:
    message = _plainly(text, "", called)
    if thought:
        told = {"type": "thinking", "thinking": [{"type": "text", "text": thought}]}
        message["content"] = [told, {"type": "text", "text": text}]
    return message


_DETAILED = {
    **USAGE,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
}

SERVERS: dict[str, Server] = {
    # github.com/openai/openai-openapi f85dbe2 (2026-08-21), openapi.yaml, names the fields:
    # CreateChatCompletionStreamResponse, ChatCompletionMessageToolCallChunk, CompletionUsage,
    # Error. Their order, the nulls and which chunk has what: answers of gpt-4o recorded in June
    # 2026, github.com/charmbracelet/fantasy f6d4d1e, providertests/testdata/TestOpenAICommon.
    # An error inside a stream: openai-python, src/openai/_streaming.py reads "error" of any event.
    "OpenAI": Server(
        source="openai-openapi: openapi.yaml; recorded answers",
        head={
            "service_tier": "default",
            "system_fingerprint": "fp_1",
            "usage": None,
            "obfuscation": "ZvYJfUIN",
        },
        begin=[{"role": "assistant", "content": "", "refusal": None}],
        begin_calling=[{"role": "assistant", "content": None}],
        choice={"logprobs": None},
        usage=[{"choices": [], "usage": _DETAILED}],
        message=lambda text, _, called: {
            **_plainly(text, "", called),
            "refusal": None,
            "annotations": [],
        },
        error=(200, _told("The server had an error while processing.", "server_error")),
    ),
    # github.com/vllm-project/vllm 006c49d: vllm/entrypoints/openai/chat_completion/serving.py
    # and protocol.py; DeltaMessage, DeltaToolCall: vllm/entrypoints/generate/base/protocol.py.
    # Only fields that were set are written. How calls are cut is their parser's: 02bb669,
    # vllm/tool_parsers/hermes_tool_parser.py writes a name without arguments, and what is there of
    # these by then as another piece in the same delta, whose content it sets to null. Older
    # versions say reasoning_content. ErrorInfo is quoted in several public issues.
    "vLLM": Server(
        source="vllm: entrypoints/openai/chat_completion/serving.py",
        begin=[{"role": "assistant", "content": ""}],
        thinks=_each(lambda text: {"reasoning": text}),
        calls=_as_by_hermes,
        end={"content": ""},
        choice={"logprobs": None, "token_ids": None},
        end_choice={"stop_reason": None},
        message=lambda text, thought, called: {
            **_plainly(text, "", called),
            "refusal": None,
            "annotations": None,
            "audio": None,
            "function_call": None,
            "reasoning": thought or None,
        },
        error=(200, _told("EngineCore died.", "InternalServerError", 500)),
    ),
    "Ollama": Server(
        source="github.com/ollama/ollama: openai/openai.go, middleware/openai.go",
        head={"system_fingerprint": "fp_ollama"},
        says=lambda text: {"role": "assistant", "content": text},
        thinks=_each(lambda text: {"role": "assistant", "content": "", "reasoning": text}),
        calls=lambda called: [{"role": "assistant", "content": "", "tool_calls": _whole(called)}],
        end={"role": "assistant", "content": ""},
        message=lambda text, thought, called: {
            "role": "assistant",
            "content": text,
            **({"reasoning": thought} if thought else {}),
            **({"tool_calls": _whole(called)} if called else {}),
        },
        error=(404, _told("model 'm' not found", "not_found_error")),
    ),
    # Recorded, too: fantasy f6d4d1e, TestOpenAICompatibleThinking/llama-cpp-gpt-oss (b7010).
    "llama.cpp": Server(
        source="github.com/ggml-org/llama.cpp: tools/server/server-task.cpp, server-common.cpp",
        head={"system_fingerprint": "b6500-1"},
        begin=[{"role": "assistant", "content": None}],
        thinks=_each(lambda text: {"reasoning_content": text}),
        usage=[{"choices": [], "usage": USAGE, "timings": {"prompt_n": 21, "predicted_n": 5}}],
        message=_thoughtfully("reasoning_content"),
        error=(200, {"error": {"code": 500, "message": "Compute error.", "type": "server_error"}}),
    ),
    # platform.claude.com/docs/en/cli-sdks-libraries/libraries/openai-sdk (once docs.claude.com/…/
    # api/openai-sdk): the response has OpenAI's fields, one choice, and never Claude's thoughts.
    # The error: github.com/anthropics/anthropic-sdk-typescript issue 711 (2025-03). No recorded
    # stream was found: that empty fields are null, and how calls are cut, is a guess.
    "Anthropic": Server(
        source="https://platform.claude.com/docs/en/cli-sdks-libraries/libraries/openai-sdk",
        head={"id": "msg_1", "system_fingerprint": None, "service_tier": None},
        begin=[{"role": "assistant", "content": ""}],
        choice={"logprobs": None},
        message=lambda text, _, called: {**_plainly(text, "", called), "refusal": None},
        error=(500, _told("Internal server error", "invalid_request_error", "api_error")),
    ),
    # https://ai.google.dev/gemini-api/docs/openai and …/thought-signatures: extra_content, of
    # several calls at the first. The finish reason "stop" of calls in a stream, "tool_calls"
    # else: github.com/googleapis/python-genai issue 2868 (2026-08). Calls without an index, their
    # arguments split: github.com/open-webui/computer issue 224 (2026-08). Thoughts: answers of
    # gemini-2.5-flash quoted in public issues (2025-07). The error is a list: github.com/
    # Simpleyyt/ai-manus issue 101 (2025-09). With ids that are empty: test_misbehaving.
    "Gemini": Server(
        source="https://ai.google.dev/gemini-api/docs/openai, …/thought-signatures; issues",
        says=lambda text: {"role": "assistant", "content": text},
        thinks=_geminis_thoughts,
        calls=_split,
        end={"role": "assistant", "content": ""},
        usage=[],
        in_end={"usage": USAGE},
        reason="stop",
        message=_geminis_message,
        error=(400, [{"error": {"code": 400, "message": "No.", "status": "INVALID_ARGUMENT"}}]),
    ),
    # https://openrouter.ai/docs: api-reference/streaming, …/errors, …/reasoning-tokens. Recorded:
    # fantasy f6d4d1e, TestOpenRouterThinking/anthropic (2026-04); the error: github.com/pydantic/
    # pydantic-ai 4fda389, cassettes/test_openrouter/test_openrouter_stream_error.yaml (2025-11).
    "OpenRouter": Server(
        source="https://openrouter.ai/docs/api-reference/streaming; recorded answers",
        head={"id": "gen-1", "provider": "P"},
        says=lambda text: {"content": text, "role": "assistant"},
        thinks=_openrouters_thoughts,
        calls=lambda called: _piecewise(called, content=None, role="assistant"),
        end={"content": "", "role": "assistant", "reasoning": None},
        choice={"native_finish_reason": None},
        end_choice={"native_finish_reason": "end_turn"},
        usage=[
            {
                "choices": [
                    {
                        "index": 0,
                        "delta": {"content": "", "role": "assistant"},
                        "finish_reason": "stop",
                        "native_finish_reason": "end_turn",
                    }
                ],
                "usage": {**USAGE, "cost": 0.001322, "is_byok": False},
            }
        ],
        comment="OPENROUTER PROCESSING",
        message=_openrouters_message,
        error=(
            200,
            {
                "id": "gen-1",
                "object": "chat.completion.chunk",
                "provider": "P",
                "error": {"code": 400, "message": "Token limit reached"},
                "choices": [
                    {
                        "index": 0,
                        "delta": {"role": "assistant", "content": ""},
                        "finish_reason": None,
                        "native_finish_reason": None,
                    }
                ],
            },
        ),
    ),
    "Mistral": Server(
        source="https://docs.mistral.ai/api/#tag/chat, …/capabilities/reasoning",
        begin=[{"role": "assistant", "content": ""}],
        thinks=_each(
            lambda text: {
                "content": [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]
            }
        ),
        calls=lambda called: [{"content": "", "tool_calls": _whole(called)}],
        end={"content": ""},
        usage=[],
        in_end={"usage": USAGE},
        message=_mistrals_message,
        error=(422, {"object": "error", "message": "No.", "type": "invalid_request_error"}),
    ),
    # https://api-docs.deepseek.com: api/create-chat-completion, guides/thinking_mode,
    # quick_start/rate_limit (the comment). Recorded: pydantic-ai 4fda389, cassettes/test_deepseek
    # (a stream of deepseek-reasoner, 2025-07; calls of deepseek-v4-flash, not streamed, 2026-06).
    # Calls in a stream, and the error: quoted alike in several public repositories.
    "DeepSeek": Server(
        source="https://api-docs.deepseek.com/api/create-chat-completion; recorded answers",
        head={"system_fingerprint": "fp_1", "usage": None},
        begin=[{"role": "assistant", "content": None, "reasoning_content": ""}],
        says=lambda text: {"content": text, "reasoning_content": None},
        thinks=_each(lambda text: {"content": None, "reasoning_content": text}),
        end={"content": "", "reasoning_content": None},
        choice={"logprobs": None},
        usage=[],
        in_end={
            "usage": {
                **USAGE,
                "prompt_tokens_details": {"cached_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 3},
                "prompt_cache_hit_tokens": 0,
                "prompt_cache_miss_tokens": 21,
            }
        },
        comment="keep-alive",
        message=lambda text, thought, called: {
            "role": "assistant",
            "content": text,
            **({"reasoning_content": thought} if thought else {}),
            **({"tool_calls": _whole(called)} if called else {}),
        },
        error=(402, _told("Insufficient Balance", "unknown_error", "invalid_request_error")),
    ),
    # Recorded: fantasy f6d4d1e, TestOpenAICompatibleThinking/zai-glm-4-7-flash (2026-03). The
    # error's shape: docs.z.ai/api-reference/api-code; github.com/lidge-jun/opencodex issue 41.
    "Z.AI": Server(
        source="recorded answers of glm-4.7-flash",
        says=lambda text: {"role": "assistant", "content": text},
        thinks=_each(lambda text: {"role": "assistant", "reasoning_content": text}),
        calls=lambda called: [{"tool_calls": [call]} for call in _whole(called)],
        end={"role": "assistant", "content": ""},
        usage=[],
        in_end={"usage": {**USAGE, "completion_tokens_details": {"reasoning_tokens": 3}}},
        message=_thoughtfully("reasoning_content"),
        error=(400, {"error": {"code": "1214", "message": "messages: no."}}),
    ),
    # Recorded: fantasy f6d4d1e, TestOpenAICompatibleCommon/groq-kimi-k2 (2026-03): the usage
    # comes twice. Reasoning: message.reasoning, github.com/BerriAI/litellm issue 19849; the same
    # field of a delta: github.com/groq/groq-python 2f14acf, types/chat/chat_completion_chunk.py.
    # The error: console.groq.com/docs/errors.
    "Groq": Server(
        source="recorded answers of kimi-k2",
        head={"system_fingerprint": "fp_1"},
        begin=[{"role": "assistant", "content": ""}],
        thinks=_each(lambda text: {"reasoning": text}),
        calls=lambda called: [{"tool_calls": [call]} for call in _whole(called)],
        choice={"logprobs": None},
        in_end={"x_groq": {"id": "req_1"}, "usage": {**USAGE, "queue_time": 0.2}},
        usage=[{"choices": [], "usage": {**USAGE, "queue_time": 0.2}, "service_tier": "on_demand"}],
        message=_thoughtfully("reasoning"),
        error=(400, _told("No.", "invalid_request_error")),
    ),
}
