"""The functions that a model runs its memory with (the paper, section 2.3)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from memgpt_proxy.wire.chat import Tool

SEND_MESSAGE = "send_message"
HEARTBEAT = "request_heartbeat"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a function; ``default`` None means that it must be given."""

    name: str
    type: str
    description: str
    default: Any = None


@dataclass(frozen=True, slots=True)
class Function:
    """A function that the gateway runs itself.

    ``retrieval`` continues the turn by itself: what was found has to be read.
    """

    name: str
    description: str
    parameters: tuple[Parameter, ...]
    retrieval: bool = False

    def tool(self) -> Tool:
        """Return its declaration in OpenAI's ``tools``."""
        properties: dict[str, Any] = {p.name: _schema(p) for p in self.parameters}
        properties[HEARTBEAT] = {
            "type": "boolean",
            "description": "true to run again at once after this call, to chain functions.",
        }
        required = [p.name for p in self.parameters if p.default is None]
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": {
                    "type": "object",
                    "properties": properties,
                    "required": required,
                },
            },
        }


_PAGE = Parameter("page", "integer", "Page of the results, from 1.", default=1)
_QUERY = Parameter(
    "query", "string", 'Words to find; "quoted phrases" and identifiers are found exactly.'
)

FUNCTIONS: Mapping[str, Function] = {
    function.name: function
    for function in (
        Function(
            SEND_MESSAGE,
            "Send a message to the user. The only way in which the user hears you.",
            (Parameter("message", "string", "The message, as the user will read it."),),
        ),
        Function(
            "working_context_append",
            "Add a short fact to working context, which is always in sight.",
            (Parameter("content", "string", "The fact, on a line of its own."),),
        ),
        Function(
            "working_context_replace",
            "Correct working context: replace a text in it by another.",
            (
                Parameter("old_content", "string", "The text to replace, exactly as it stands."),
                Parameter("new_content", "string", "The text in its place; empty deletes it."),
            ),
        ),
        Function(
            "archival_storage_insert",
            "Keep a note or a document of any length in archival storage.",
            (Parameter("content", "string", "The text to keep."),),
        ),
        Function(
            "archival_storage_search",
            "Search archival storage: notes, documents, uploads. Ten results a page.",
            (_QUERY, _PAGE),
            retrieval=True,
        ),
        Function(
            "recall_storage_search",
            "Search everything ever said, in all conversations, by words. Ten results a page.",
            (_QUERY, _PAGE),
            retrieval=True,
        ),
        Function(
            "recall_storage_search_date",
            "List what was said between two days, both included. Ten results a page.",
            (
                Parameter("start_date", "string", "First day, YYYY-MM-DD."),
                Parameter("end_date", "string", "Last day, YYYY-MM-DD."),
                _PAGE,
            ),
            retrieval=True,
        ),
    )
}


def offered(client_tools: Collection[str]) -> tuple[Function, ...]:
    """Return the functions offered beside the client's tools.

    A client's tool keeps its name: ours of the same name is not offered then.
    """
    return tuple(f for name, f in FUNCTIONS.items() if name not in client_tools)


def asks_heartbeat(arguments: Mapping[str, Any] | None) -> bool:
    """Return whether a call with these arguments asks to be followed by another step."""
    asked = (arguments or {}).get(HEARTBEAT)
    return asked is True or str(asked).lower() == "true"


def _schema(parameter: Parameter) -> dict[str, Any]:
    return {"type": parameter.type, "description": parameter.description}
