"""OpenAI's Responses API, translated: a turn is asked for as by a chat completion."""
