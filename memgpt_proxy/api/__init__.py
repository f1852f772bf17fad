"""The HTTP side: OpenAI's API in, OpenAI's API out. Raw ASGI on the hot route."""
