"""The clients that are tested, and what each of them can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.clients.environments import (
    Environment,
    GoEnvironment,
    NodeEnvironment,
    PythonEnvironment,
)

RESPONSES_SERVED = True
"""Whether the gateway serves ``/v1/responses``: then the clients that speak it are tested, too."""

BEHAVIOURS = {
    "answer": "a plain answer",
    "stream": "an answer in pieces, as they come",
    "memory": "what one conversation tells is known in another",
    "history": "a conversation goes on by the client's own history",
    "tools": "the client's tools, beside memory functions",
    "parallel": "several of its tools at once",
    "streamed tools": "the same, streamed",
    "structure": "an answer by a schema",
    "usage": "tokens, summed over the steps",
    "streamed usage": "the same, streamed",
    "retry": "the client's own retry after 429",
    "error": "the backend's words on a mistake",
    "picture": "a picture beside the text",
    "leaving": "leaving amid a stream",
}
"""What is tested of each client: the table's columns, and what they mean."""


@dataclass(frozen=True, slots=True)
class Client:
    """A client, in one of the ways it speaks to a gateway.

    Attributes:
        name: as the documentation calls it.
        environment: its packages, and the folder of its program.
        package: the package whose version counts.
        program: the source of its program.
        way: which of several ways; told to the program.
        cannot: behaviours it has no feature for, with what it lacks.
    """

    name: str
    environment: Environment
    package: str
    program: str = "program.py"
    way: str = "chat"
    cannot: Mapping[str, str] = field(default_factory=dict)

    @property
    def source(self) -> Path:
        return self.environment.source / self.program

    def can(self, behaviour: str) -> bool:
        return behaviour not in self.cannot


_OPENAI_PYTHON = PythonEnvironment("openai-python")
_OPENAI_NODE = NodeEnvironment("openai-node")
_AI_SDK = NodeEnvironment("ai-sdk")
_LANGCHAIN = PythonEnvironment("langchain")
_PYDANTIC_AI = PythonEnvironment("pydantic-ai")
_AGENTS = PythonEnvironment("openai-agents")

_ALL = (
    Client("openai for Python", _OPENAI_PYTHON, "openai"),
    Client("openai for Node", _OPENAI_NODE, "openai", "program.mjs"),
    Client("openai-go", GoEnvironment("openai-go"), "github.com/openai/openai-go/v3", "program.go"),
    Client("LangChain", _LANGCHAIN, "langchain-openai"),
    Client("LiteLLM", PythonEnvironment("litellm"), "litellm"),
    Client("AI SDK, openai.chat", _AI_SDK, "@ai-sdk/openai", "program.mjs"),
    Client(
        "AI SDK, openai-compatible",
        _AI_SDK,
        "@ai-sdk/openai-compatible",
        "program.mjs",
        way="compatible",
    ),
    Client("llm", PythonEnvironment("llm"), "llm"),
    Client("Pydantic AI", _PYDANTIC_AI, "pydantic-ai-slim"),
    Client("OpenAI Agents", _AGENTS, "openai-agents"),
    Client(
        "Instructor",
        PythonEnvironment("instructor"),
        "instructor",
        cannot=dict.fromkeys(
            ("tools", "parallel", "streamed tools"), "Its schemas are its tools; it runs none."
        ),
    ),
    Client("LlamaIndex", PythonEnvironment("llama-index"), "llama-index-llms-openai-like"),
    Client("openai for Python, responses", _OPENAI_PYTHON, "openai", "responses.py", "responses"),
    Client("openai for Node, responses", _OPENAI_NODE, "openai", "responses.mjs", "responses"),
    Client("LangChain, responses", _LANGCHAIN, "langchain-openai", way="responses"),
    Client("AI SDK, openai", _AI_SDK, "@ai-sdk/openai", "program.mjs", way="responses"),
    Client("Pydantic AI, responses", _PYDANTIC_AI, "pydantic-ai-slim", way="responses"),
    Client("OpenAI Agents, responses", _AGENTS, "openai-agents", way="responses"),
)

CLIENTS = tuple(client for client in _ALL if RESPONSES_SERVED or client.way != "responses")
ENVIRONMENTS = tuple(dict.fromkeys(client.environment for client in _ALL))
