"""Told a fact and asked for it in another conversation: run with the base URL as its argument."""

import sys

from openai import OpenAI

with OpenAI(base_url=sys.argv[1], api_key="demo", max_retries=0) as client:
    for said in ("My name is Sam.", "What is my name?"):
        chunks = client.chat.completions.create(
            model="demo", messages=[{"role": "user", "content": said}], stream=True
        )
        reply = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
sys.stdout.write(f"{reply}\n")
