"""An OpenAI-compatible gateway that gives any chat-completions model an unbounded memory."""

__version__ = "0.1.0"
