"""What a backend needs of a request that OpenAI's own does not. A leaf."""

from __future__ import annotations

from enum import StrEnum


class Trait(StrEnum):
    """One way in which requests have to be written otherwise; each is independent."""

    NO_TOOLS = "no_tools"
    """Functions are described and called in plain text."""
    NO_JSON_SCHEMA = "no_json_schema"
    """Nothing forces the form of calls in text."""
    FUNCTIONS = "functions"
    """The deprecated ``functions`` in place of ``tools``."""
    NO_SYSTEM = "no_system"
    """System messages stand in the user's."""
    ALTERNATING = "alternating"
    """User and assistant in turn, the user first."""
    NO_DEVELOPER = "no_developer"
    """Developer messages are system messages."""
    ONLY_STREAM = "only_stream"
    """A stream, although a whole answer would do."""
    NO_STREAM = "no_stream"
    """A whole answer, although a stream is wanted."""
    NO_STREAM_OPTIONS = "no_stream_options"
    MAX_TOKENS = "max_tokens"
    """``max_tokens`` in place of ``max_completion_tokens``."""
    MAX_COMPLETION_TOKENS = "max_completion_tokens"
    """The reverse."""
    NO_PARALLEL_TOOL_CALLS = "no_parallel_tool_calls"
    NO_TOOL_CHOICE = "no_tool_choice"
    REASONING = "reasoning"
    """Each assistant message with its reasoning, those of earlier turns too."""
    NO_REASONING = "no_reasoning"
    """No message with its reasoning."""


Profile = frozenset[Trait]
"""What is known of a model at a backend."""

ORDINARY: Profile = frozenset()
