"""What of a request a backend refuses, recognised by what servers say then.

The first wording found counts; it names the traits that may explain it, the likeliest first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from memgpt_proxy.backend.overflow import error_in, told
from memgpt_proxy.errors import BackendBroken, BackendGaveUp, BackendRefused, ErrorInStream
from memgpt_proxy.traits import Trait

_ABOUT_REQUESTS = frozenset({400, 404, 405, 422, 500, 501})
_LONGEST = 20_000
_FAILED_CALLS = frozenset({"tool_use_failed", "output_parse_failed"})
_UNWRITTEN = "output_parse_failed"
"""Its text is thoughts as much as calls."""
_FAILED_WORDS = re.compile(
    # Groq, where it tells no code; Ollama, of gpt-oss; llama.cpp
    r"tool call validation failed|failed to call a function|output that could not be parsed"
    r"|error parsing tool call: raw="
    r"|failed to parse input at pos(?:ition)? \d+(?:: (?P<written>.*))?",
    re.IGNORECASE | re.DOTALL,
)

_FIELDS: Mapping[str, Sequence[Trait]] = {
    "tools": (Trait.FUNCTIONS, Trait.NO_TOOLS),
    "functions": (Trait.NO_TOOLS,),
    "stream_options": (Trait.NO_STREAM_OPTIONS,),
    "max_completion_tokens": (Trait.MAX_TOKENS,),
    "max_tokens": (Trait.MAX_COMPLETION_TOKENS,),
    "parallel_tool_calls": (Trait.NO_PARALLEL_TOOL_CALLS,),
    "tool_choice": (Trait.NO_TOOL_CHOICE,),
    "function_call": (Trait.NO_TOOL_CHOICE,),
}
"""Fields that a backend may not know, and what to do without each."""

_UNKNOWN_FIELD = r"""
# OpenAI, Azure, Cohere, Gemini, and servers written in Go
(?:unrecogni[sz]ed|unknown|unsupported|unexpected|additional|extra) [^.\n]{{0,30}}?\
(?:argument|parameter|propert|field|input|key|name)[^.\n]{{0,40}}?\b{field}\b
# OpenAI, Groq, DeepSeek
\b{field}\b\W{{0,3}}(?:\s*(?:parameter|field|argument))?\W{{0,3}}\
(?:is |are )?(?:currently )?(?:not (?:supported|permitted|recogni[sz]ed)|unsupported)
does(?: not|n't) (?:support|accept|recogni[sz]e) [^.\n]{{0,30}}?\b{field}\b
# Whoever checks with pydantic: Mistral, vLLM, Anthropic
\b{field}\b\W{{1,3}}(?:extra (?:inputs|fields) (?:are )?not (?:permitted|allowed))
"""

_WORDINGS: Sequence[tuple[str, Sequence[Trait]]] = (
    # DeepSeek since V4, since V3.2; Moonshot, and whoever else serves their models
    (r"reasoning.?content\W.{0,40}must be passed back", (Trait.REASONING,)),
    (r"(?:missing|requires) .?reasoning_content\b", (Trait.REASONING,)),
    (r"\breasoning_content is missing", (Trait.REASONING,)),
    # OpenAI, Groq, Cerebras, Mistral; thoughts of another model, at Anthropic and Gemini
    (
        (
            r"(?:unrecogni[sz]ed|unknown|unsupported|unexpected|additional)[^\n]{0,80}?"
            r"\breasoning(?:_content|_details)?\b"
        ),
        (Trait.NO_REASONING,),
    ),
    (
        (
            r"\breasoning(?:_content|_details)?\b\W{0,4}(?:is |are )?"
            r"(?:unsupported|not supported|extra inputs are not permitted)"
        ),
        (Trait.NO_REASONING,),
    ),
    (r"invalid .?signature.? in .?thinking.? block|corrupted thought sig", (Trait.NO_REASONING,)),
    # Alibaba's Qwen, ModelScope, OpenAI's Codex; whoever wants streams for long answers
    (
        (
            r"enable.?thinking must be set to false for non.?stream|only supports? stream(?:ing)?\b"
            r"|thinking can ?not be support(?:ed)? when .?stream ?= ?false"
            r"|\bstream\W{1,3}must be (?:set to )?true"
            r"|must have stream ?= ?true|streaming is required"
        ),
        (Trait.ONLY_STREAM,),
    ),
    # llama.cpp before it could; OpenAI's first thinking models
    (
        (
            r"cannot use tools with stream|\bstream\W{1,3}does not support true"
            r"|(?:streaming (?:completion )?is not support(?:ed)?(?: yet| (?:for|by) this model)"
            r"|model does(?: not|n't) support stream(?:ing|s)?)\W*(?:\n|\Z)"
        ),
        (Trait.NO_STREAM,),
    ),
    # Ollama; DeepSeek; OpenRouter; Gemini
    (r"does(?: not|n't) support (?:tool|function)s?\b(?!_)", (Trait.NO_TOOLS,)),
    (r"no endpoints found that support tool use", (Trait.NO_TOOLS,)),
    (
        r"(?:tool|function) call(?:ing|s) (?:is|are) not (?:supported|enabled|available)",
        (Trait.NO_TOOLS,),
    ),
    (r"tool use is not (?:supported|enabled|available)", (Trait.NO_TOOLS,)),
    # llama.cpp without --jinja; vLLM without a parser
    (r"tools param requires --jinja", (Trait.NO_TOOLS,)),
    (r"tool choice requires --enable-auto-tool-choice", (Trait.NO_TOOLS,)),
    # Chat templates, whoever renders them; Perplexity; Anthropic; Mistral
    (r"optional\)? system message.{1,60}alternate", (Trait.ALTERNATING, Trait.NO_TOOLS)),
    (
        r"roles? (?:must|should) alternate|should alternate with|unexpected role .{1,20} after",
        (Trait.ALTERNATING, Trait.NO_SYSTEM, Trait.NO_TOOLS),
    ),
    (
        (
            r"only (?:system, )?(?:'?user'?,?|user(?:,| and)) ?(?:and )?'?(?:assistant|model)'?"
            r"(?:,? and tool)? roles? (?:is|are) (?:supported|allowed)"
        ),
        (Trait.NO_DEVELOPER, Trait.NO_SYSTEM, Trait.NO_TOOLS),
    ),
    (
        (
            r"system (?:role|message|prompt|instruction)s? (?:is |are )?"
            r"not (?:supported|allowed|enabled)"
        ),
        (Trait.NO_SYSTEM,),
    ),
    (r"does(?: not|n't) support (?:the )?.?system\b", (Trait.NO_SYSTEM,)),
    # Gemma at Gemini's API, of any system message
    (r"developer instruction is not enabled", (Trait.NO_SYSTEM,)),
    (
        r"\bdeveloper\b.{0,60}\b(?:is not one of|role)|\b(?:role|variant)\b.{0,40}\bdeveloper\b",
        (Trait.NO_DEVELOPER,),
    ),
    (
        r"(?:tool|function)\W{0,2} role (?:is )?not supported|unknown (?:message )?role\W{1,4}tool",
        (Trait.NO_TOOLS,),
    ),
)

_OF_A_SCHEMA = re.compile(
    # DeepSeek, older llama.cpp, LM Studio; Groq; OpenAI; whoever compiles a grammar of it
    r"response.?format|json.?schema|structured.?output|\bgrammar\b|guided.?(?:json|decoding)",
    re.IGNORECASE,
)
"""Only that it is about a schema: what is wrong with ours, servers say in many ways."""


def _patterns() -> Iterator[tuple[re.Pattern[str], Sequence[Trait]]]:
    lines = [line for line in _UNKNOWN_FIELD.replace("\\\n", "").splitlines() if line]
    for pattern, traits in _WORDINGS:
        yield re.compile(pattern, re.IGNORECASE), traits
    for field, traits in _FIELDS.items():
        each = [line.format(field=field) for line in lines if not line.startswith("#")]
        yield re.compile("|".join(each), re.IGNORECASE), traits
    yield _OF_A_SCHEMA, (Trait.NO_JSON_SCHEMA,)


_PATTERNS = [*_patterns()]


def refused_traits(error: Exception) -> Sequence[Trait]:
    """Return the traits that may explain why a request failed; none for another matter."""
    if isinstance(error, BackendGaveUp):
        return (Trait.ONLY_STREAM,)
    if isinstance(error, BackendRefused):
        if error.status not in _ABOUT_REQUESTS:
            return ()
        words = _words(_object(error.body()))
    elif isinstance(error, ErrorInStream):
        words = _words(error.error)
    else:
        return ()
    found = (traits for pattern, traits in _PATTERNS if pattern.search(words))
    return next(found, ())


def failed_call(error: Exception) -> str | None:
    """Return what a model wrote that its server could not read as calls, as far as that is told.

    Groq (console.groq.com/docs/errors), Ollama and llama.cpp then refuse the request with an error
    that repeats it. It is empty where none of it can be relied on, None for any other error.
    """
    if isinstance(error, BackendRefused):
        answer = _object(error.body())
    elif isinstance(error, BackendBroken):
        answer = error.error if isinstance(error, ErrorInStream) else error.message
    else:
        return None
    fields = error_in(answer)
    found = _FAILED_WORDS.search(_words(answer))
    if found is None and fields.get("code") not in _FAILED_CALLS:
        return None
    written = fields.get("failed_generation") or (found and found["written"])
    is_call = isinstance(written, str) and fields.get("code") != _UNWRITTEN
    return str(written) if is_call else ""


def _object(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body[:_LONGEST].decode(errors="replace")


def _words(answer: Any) -> str:
    return "\n".join([*told(answer), *_located(answer)])[:_LONGEST]


def _located(answer: Any) -> Iterator[str]:
    """Give pydantic's errors with the fields that they are about."""
    listed = answer.get("detail") if isinstance(answer, Mapping) else None
    for each in listed if isinstance(listed, list) else ():
        if isinstance(each, Mapping) and isinstance(each.get("loc"), list):
            yield f"{'.'.join(map(str, each['loc']))}: {each.get('msg')}"
