"""How servers write chat completions, each from its public documentation or source.

The words are ours; which fields there are, in which chunk, in which order, is the server's.
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


def _piecewise(called: Sequence[Called], *, empty: bool = True, nulls: bool = False) -> list[Delta]:
    """Calls with their arguments in pieces, as most servers write them."""
    deltas: list[Delta] = []
    for index, (id, name, arguments) in enumerate(called):
        text = json.dumps(arguments)
        function = {"name": name, "arguments": ""} if empty else {"name": name}
        head = {"index": index, "id": id, "type": "function", "function": function}
        pieces = [text[at : at + 6] for at in range(0, len(text), 6)]
        more = [{"index": index, "function": {"arguments": piece}} for piece in pieces]
        deltas += [{"tool_calls": [each]} for each in (head, *more)]
    if nulls and deltas:
        deltas[0] = {"role": "assistant", "content": None, **deltas[0]}
    return deltas


def _whole(called: Sequence[Called], **more: Any) -> list[dict[str, Any]]:
    return [
        {
            "index": index,
            "id": id,
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments)},
            **more,
        }
        for index, (id, name, arguments) in enumerate(called)
    ]


@dataclass(frozen=True, slots=True)
class Server:
    """A server's way to write.

    Attributes:
        source: Where that is said.
        head: Fields of every chunk.
        begin: The deltas before all others.
        says, thinks, calls: The deltas of a piece of text, of reasoning, of calls.
        end: The delta of the chunk with the finish reason.
        choice: Fields of every choice beside delta, index and finish_reason.
        usage: The last chunks, or, as ``in_end``, fields of the chunk with the finish reason.
        comment: Between events.
        reason: The finish reason of calls.
        error: Status and body, or 200 and the data of an event.
    """

    source: str
    error: tuple[int, Any]
    head: dict[str, Any] = field(default_factory=dict)
    begin: Sequence[Delta] = ()
    says: Callable[[str], Delta] = lambda text: {"content": text}
    thinks: Callable[[str], list[Delta]] | None = None
    calls: Callable[[Sequence[Called]], list[Delta]] = _piecewise
    end: Delta = field(default_factory=dict)
    choice: dict[str, Any] = field(default_factory=dict)
    usage: Sequence[dict[str, Any]] = ({"choices": [], "usage": USAGE},)
    in_end: dict[str, Any] = field(default_factory=dict)
    comment: str = ""
    reason: str = "tool_calls"

    def stream(
        self, text: Sequence[str] = (), thoughts: Sequence[str] = (), called: Sequence[Called] = ()
    ) -> bytes:
        """Return the body of an answer that says, thinks and calls all this."""
        deltas = [*self.begin]
        if self.thinks is not None:
            deltas += [delta for thought in thoughts for delta in self.thinks(thought)]
        deltas += [self.says(piece) for piece in text]
        deltas += self.calls(called) if called else []
        chunks = [self._chunk(delta) for delta in deltas]
        reason = self.reason if called else "stop"
        chunks.append(self._chunk(self.end, reason) | self.in_end)
        chunks += [self._head() | last for last in self.usage]
        return self.events([*map(json.dumps, chunks), "[DONE]"])

    def events(self, payloads: Sequence[str]) -> bytes:
        """Return these as events."""
        comment = f": {self.comment}\n\n" if self.comment else ""
        return "".join(f"{comment}data: {payload}\n\n" for payload in payloads).encode()

    def _head(self) -> dict[str, Any]:
        head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1763000000}
        return {**head, "model": "m", **self.head}

    def _chunk(self, delta: Delta, reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, **self.choice, "finish_reason": reason}
        return {**self._head(), "choices": [choice]}


def _told(message: str, type: str, code: Any = None, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": type, "param": None, "code": code, **more}}


SERVERS: dict[str, Server] = {
    "OpenAI": Server(
        source="https://platform.openai.com/docs/api-reference/chat-streaming",
        head={"service_tier": "default", "system_fingerprint": "fp_1", "usage": None},
        begin=[{"role": "assistant", "content": "", "refusal": None}],
        calls=lambda called: _piecewise(called, nulls=True),
        choice={"logprobs": None},
        usage=[{"choices": [], "usage": {**USAGE, "prompt_tokens_details": {"cached_tokens": 0}}}],
        error=(200, _told("The server had an error while processing.", "server_error")),
    ),
    "vLLM": Server(
        source="github.com/vllm-project/vllm: vllm/entrypoints/openai/chat_completion/serving.py",
        begin=[{"role": "assistant", "content": ""}],
        thinks=lambda text: [{"reasoning": text, "reasoning_content": text}],
        calls=lambda called: _piecewise(called, empty=False),
        end={"content": ""},
        choice={"logprobs": None, "stop_reason": None, "token_ids": None},
        error=(200, _told("EngineCore died.", "InternalServerError", 500)),
    ),
    "Ollama": Server(
        source="github.com/ollama/ollama: openai/openai.go, middleware/openai.go",
        head={"system_fingerprint": "fp_ollama"},
        says=lambda text: {"role": "assistant", "content": text},
        thinks=lambda text: [{"role": "assistant", "content": "", "reasoning": text}],
        calls=lambda called: [{"role": "assistant", "content": "", "tool_calls": _whole(called)}],
        end={"role": "assistant", "content": ""},
        error=(404, _told("model 'm' not found", "not_found_error")),
    ),
    "llama.cpp": Server(
        source="github.com/ggml-org/llama.cpp: tools/server/server-task.cpp, server-common.cpp",
        head={"system_fingerprint": "b6500-1"},
        begin=[{"role": "assistant", "content": None}],
        thinks=lambda text: [{"reasoning_content": text}],
        usage=[{"choices": [], "usage": USAGE, "timings": {"prompt_n": 21, "predicted_n": 5}}],
        error=(200, {"error": {"code": 500, "message": "Compute error.", "type": "server_error"}}),
    ),
    "Anthropic": Server(
        source="https://docs.claude.com/en/api/openai-sdk",
        head={"id": "msg_1", "system_fingerprint": None, "service_tier": None},
        begin=[{"role": "assistant", "content": ""}],
        choice={"logprobs": None},
        error=(401, _told("invalid x-api-key", "invalid_request_error")),
    ),
    "Gemini": Server(
        source="https://ai.google.dev/gemini-api/docs/openai",
        says=lambda text: {"role": "assistant", "content": text},
        thinks=lambda text: [
            {
                "role": "assistant",
                "content": piece,
                "extra_content": {"google": {"thought": True}},
            }
            for piece in ("<thought>", text, "</thought>")
        ],
        calls=lambda called: [
            {
                "role": "assistant",
                "tool_calls": [
                    {**call, "index": 0, "extra_content": {"google": {"thought_signature": "Cs="}}}
                ],
            }
            for call in _whole(called)
        ],
        end={"role": "assistant", "content": ""},
        usage=[],
        in_end={"usage": USAGE},
        reason="stop",
        error=(400, [{"error": {"code": 400, "message": "No.", "status": "INVALID_ARGUMENT"}}]),
    ),
    "OpenRouter": Server(
        source="https://openrouter.ai/docs/api-reference/streaming, …/errors, …/reasoning-tokens",
        head={"provider": "P"},
        says=lambda text: {"role": "assistant", "content": text},
        thinks=lambda text: [
            {
                "role": "assistant",
                "content": "",
                "reasoning": text,
                "reasoning_details": [{"type": "reasoning.text", "text": text, "index": 0}],
            }
        ],
        calls=lambda called: _piecewise(called, nulls=True),
        end={"role": "assistant", "content": ""},
        choice={"native_finish_reason": None, "logprobs": None},
        usage=[
            {
                "choices": [
                    {
                        "index": 0,
                        "delta": {"role": "assistant", "content": ""},
                        "finish_reason": None,
                    }
                ],
                "usage": {**USAGE, "cost": 0.1},
            }
        ],
        comment="OPENROUTER PROCESSING",
        error=(
            200,
            {
                "id": "gen-1",
                "object": "chat.completion.chunk",
                "error": {"code": "server_error", "message": "Provider disconnected."},
                "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
            },
        ),
    ),
    "Mistral": Server(
        source="https://docs.mistral.ai/api/#tag/chat, …/capabilities/reasoning",
        begin=[{"role": "assistant", "content": ""}],
        thinks=lambda text: [
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]}
        ],
        calls=lambda called: [{"content": "", "tool_calls": _whole(called)}],
        end={"content": ""},
        usage=[],
        in_end={"usage": USAGE},
        error=(422, {"object": "error", "message": "No.", "type": "invalid_request_error"}),
    ),
    "DeepSeek": Server(
        source="https://api-docs.deepseek.com/api/create-chat-completion, …/guides/thinking_mode",
        head={"system_fingerprint": "fp_1"},
        begin=[{"role": "assistant", "content": None, "reasoning_content": ""}],
        says=lambda text: {"content": text, "reasoning_content": None},
        thinks=lambda text: [{"content": None, "reasoning_content": text}],
        end={"content": "", "reasoning_content": None},
        choice={"logprobs": None},
        usage=[],
        in_end={"usage": {**USAGE, "prompt_cache_hit_tokens": 0, "prompt_cache_miss_tokens": 21}},
        comment="keep-alive",
        error=(402, _told("Insufficient Balance", "unknown_error", "invalid_request_error")),
    ),
}
