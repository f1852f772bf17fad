"""Told a fact and asked for it in another conversation: run with the base URL as its argument."""

import sys

from openai import OpenAI


def say(client: OpenAI, said: str) -> str:
    """Return the reply, as it was streamed."""
    chunks = client.chat.completions.create(
        model="demo", messages=[{"role": "user", "content": said}], stream=True
    )
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


with OpenAI(base_url=sys.argv[1], api_key="demo", max_retries=0) as opened:
    say(opened, "My name is Sam.")
    sys.stdout.write(say(opened, "What is my name?"))
