"""A backend's refusal because the prompt is too long, recognised by what servers say then.

There is no one shape for it: OpenAI has a code, llama.cpp a type, most have only a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from memgpt_proxy.errors import ABOUT_THE_KEY

_OTHER_MATTERS = ABOUT_THE_KEY | {404, 429}
_TOLD_IN = ("error", "errors", "message", "msg", "detail", "metadata", "raw", "code", "type")
"""Fields that hold the server's own words; others may repeat the request."""
_DEEPEST = 6
_LONGEST = 20_000

_RATE = re.compile(r"rate.?limit|tokens per (?:second|min|hour|day)|\bTPM\b|throttl", re.IGNORECASE)
_ANSWER = re.compile(r"completion|max_tokens|max_new_tokens|output", re.IGNORECASE)

_WORDINGS = r"""
# OpenAI, and OpenRouter with its "about"
maximum context length is <window> tokens.{1,3}however,? your messages resulted in <prompt> tokens
maximum context length is <window> tokens.{1,3}however,? you requested (?:about )?<total> tokens \(\
(?:[^)]*?\b<completion> (?:in|for) the (?:completion|output))?
# vLLM
maximum context length is <window> tokens.{1,3}however, you requested <completion> output tokens\
(?: and your prompt contains <prompt> input tokens)?
maximum context length is <window> tokens.{1,3}(?:and|however,) your request has <prompt> input
prompt \(length <prompt>\) is longer than the maximum model length of <window>
tokens=<completion> cannot be greater than max_model_len(?:=max_total_tokens)?=<window>
# SGLang, and Together
maximum context length of <window> tokens.{1,3}you requested a total of [\d.]+ tokens: <prompt> \
tokens from the input messages and <completion> tokens for the completion
input \(<prompt> tokens\) is longer than the model's context length \(<window> tokens\)
# text-generation-inference, and Together
must be <= <window>\. given: <prompt> `inputs` tokens and <completion> `max_new_tokens`
# llama.cpp, and Ollama, which passes its words on
request \(<prompt> tokens\) exceeds the available context size \(<window> tokens\)
exceeds the available context size|exceed_context_size_error
# llama-cpp-python
requested tokens \(<prompt>\) exceed context window of <window>
# Anthropic
prompt is too long(?:: <prompt> tokens > <window> maximum)?
input length and `max_tokens` exceed context limit: <prompt> \+ <completion> > <window>
# Mistral
prompt contains <prompt> tokens.{0,40} too large for model with <window> maximum context length
# xAI
maximum prompt length is <window> but the request contains <prompt> tokens
# Gemini
input token count \(<prompt>\) exceeds the maximum number of tokens allowed \(<window>\)
# LM Studio
keep the first <prompt> tokens when .{0,30}overflows.{1,60} context length of only <window> tokens
n_keep \(<prompt>\) >= n_ctx \(<window>\)
tokens to keep from the initial prompt is greater than the context length
# Poolside, by way of OpenRouter
input length <prompt> exceeds the maximum allowed input length of <window> tokens
# Moonshot
exceeded model token limit: <window>
# Ollama
prompt too long; exceeded (?:max )?context length
# Groq
reduce the length of the messages
# Bedrock, by way of others
input is too long for requested model
# OpenAI's newer models, and what many have in common
exceeds the context window of this model
maximum context length (?:is|of) <window> tokens
context_length_exceeded
"""
"""One to a line, what tells most before what tells less; ``<name>`` is a number."""


def _compiled(wording: str) -> re.Pattern[str]:
    numbered = re.sub("<([a-z]+)>", r"(?P<\1>\\d[\\d,]*)", wording)
    return re.compile(numbered, re.IGNORECASE | re.DOTALL)


_PATTERNS = [
    _compiled(line)
    for line in _WORDINGS.replace("\\\n", "").splitlines()
    if line and not line.startswith("#")
]


@dataclass(frozen=True, slots=True)
class Overflow:
    """What a backend told of a prompt that it found too long, in its own tokens.

    Attributes:
        window: The model's context window; None where it is not told.
        prompt: Tokens of the prompt; None where they are not told, or only roughly.
        completion: Tokens asked for the answer; None where they are not told.
        by_answer: It is the answer asked for that is too much: the prompt may fit alone.
    """

    window: int | None
    prompt: int | None
    completion: int | None
    by_answer: bool


def refusal_overflow(status: int, body: bytes) -> Overflow | None:
    """Return what a refused request's status and body tell; None if it is about another matter."""
    if status in _OTHER_MATTERS:
        return None
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = body[:_LONGEST].decode(errors="replace")
    return error_overflow(answer)


def error_overflow(error: object) -> Overflow | None:
    """Return what an error object tells, such as one in the middle of a stream."""
    words = "\n".join(told(error))[:_LONGEST]
    if _RATE.search(words):
        return None
    return _counted_by_llama_cpp(error) or _worded(words)


def told(value: Any, depth: int = _DEEPEST) -> Iterator[str]:
    """Give a server's own words, wherever in its answer they stand."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) and depth:
        for each in value:
            yield from told(each, depth - 1)
    elif isinstance(value, dict) and depth:
        for name in _TOLD_IN:
            yield from told(value.get(name), depth - 1)


def error_in(answer: object) -> Mapping[str, Any]:
    """Return the object that tells an error: in a server's answer, or that itself, or nothing."""
    inner = answer.get("error", answer) if isinstance(answer, Mapping) else answer
    return inner if isinstance(inner, Mapping) else {}


def _counted_by_llama_cpp(error: object) -> Overflow | None:
    """Return what llama.cpp tells in fields of its own."""
    inner = error_in(error)
    window, prompt = inner.get("n_ctx"), inner.get("n_prompt_tokens")
    if not isinstance(window, int) or not isinstance(prompt, int):
        return None
    return Overflow(window, prompt, completion=None, by_answer=False)


def _worded(words: str) -> Overflow | None:
    found = (match for pattern in _PATTERNS if (match := pattern.search(words)))
    match = next(found, None)
    if match is None:
        return None
    counts = {name: int(n.replace(",", "")) for name, n in match.groupdict().items() if n}
    window, completion = counts.get("window"), counts.get("completion")
    prompt = counts.get("prompt")
    if "total" in counts:
        prompt = counts["total"] - (completion or 0)
    fits = prompt < window if window and prompt else _ANSWER.search(words) is not None
    return Overflow(window, prompt, completion, by_answer=fits)
