"""What cannot be asked for here, each with the reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from memgpt_proxy.errors import InvalidRequest

_TURNS_ALIKE = "This gateway answers while the client waits; leave it out"


def _is_set(value: Any) -> bool:
    return value not in (None, False, [], {})


def _asks_for_more(reasoning: Any) -> bool:
    return isinstance(reasoning, dict) and reasoning.get("mode") not in (None, "standard")


def _compresses(image: Any) -> bool:
    return isinstance(image, dict) and image.get("context_compression") == "enabled"


def _is_several(count: Any) -> bool:
    return count not in (None, 1)


REFUSED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "background": (_is_set, f"{_TURNS_ALIKE}, or send false."),
    "background_options": (_is_set, f"{_TURNS_ALIKE}."),
    "prompt": (_is_set, "Prompt templates are kept at OpenAI; send 'instructions' and 'input'."),
    "context_management": (
        _is_set,
        "This gateway manages the context itself: what leaves the window stays in memory.",
    ),
    "access_programs": (_is_set, "Chat completions have no access programs."),
    "n": (_is_several, "A response is one answer; ask several times."),
    "image": (_compresses, "Images are handed on as they come."),
    "reasoning": (_asks_for_more, "Chat completions have no other mode than 'standard'."),
}
"""By field: when it is refused, and why."""


def refuse(fields: Mapping[str, Any]) -> None:
    """Refuse what neither the gateway nor a chat can do. Raises InvalidRequest."""
    for name, (is_refused, why) in REFUSED.items():
        if is_refused(fields.get(name)):
            raise InvalidRequest(
                f"Unsupported parameter: '{name}' is not supported here in this form. {why}",
                param=name,
                code="unsupported_parameter",
            )
