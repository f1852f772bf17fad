"""The wire of OpenAI's chat completions: bytes to events, chunks to messages, partial JSON to text.

Everything here is pure: no I/O, no event loop. Parsers are fed with what arrived, cut anywhere, and
give back what it completed.
"""
