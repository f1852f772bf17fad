"""Stores: where memory is kept. They never see an OpenAI type."""
