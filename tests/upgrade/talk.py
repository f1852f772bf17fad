"""What was said to a gateway before it was upgraded, and is asked afterwards.

The demo backend answers.
"""

from __future__ import annotations

from typing import Any

from openai import OpenAI

KEY = "sk-before-the-upgrade"
USER = "sam-at-work"
SECRET = "5a" * 32
"""The namespace secret, as a setting."""

FACTS = ("My name is Sam.", "My sister's name is Olivia.", "My birthday is February 7.")
RECALLED = "Did we ever talk about sailing?"
CONVERSATION = {"X-MemGPT-Conversation": "before"}


def say(base_url: str, said: str, key: str = KEY, **parameters: Any) -> str:
    """Say something in a conversation of its own; return the reply."""
    with OpenAI(base_url=base_url, api_key=key, max_retries=0) as client:
        answer = client.chat.completions.create(
            model="demo", messages=[{"role": "user", "content": said}], **parameters
        )
    return answer.choices[0].message.content or ""


def before(base_url: str) -> None:
    """Say what is kept as the state before the upgrade."""
    for fact in FACTS:
        say(base_url, fact)
    say(base_url, "I went sailing in Kiel last summer.", extra_headers=CONVERSATION)
    say(base_url, "It rained all day.", extra_headers=CONVERSATION)
    say(base_url, "My favourite colour is green.", user=USER)


def asked_afterwards(base_url: str) -> None:
    """Ask for what was said before: facts, what only recall storage has, and a user's own."""
    assert "Sam" in say(base_url, "What is my name?")
    assert "Olivia" in say(base_url, "What is my sister's name?")
    assert "February 7" in say(base_url, "When is my birthday?")
    assert "sailing in Kiel" in say(base_url, RECALLED)
    assert "green" in say(base_url, "What is my favourite colour?", user=USER)
    assert "green" not in say(base_url, "What is my favourite colour?")
    say(base_url, "And then the sun came out.", extra_headers=CONVERSATION)
