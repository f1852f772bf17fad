"""A client with a conversation that grows, in three ways of sending it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

import httpx
import orjson

MODEL = "mock"
LAST_MESSAGES = 20
USER_WORDS, REPLY_WORDS = 40, 80
WORDS = (
    "the a of and to in is that it was for on with as are they this from have or one had but not "
    "what all were when we there can which their if will each about how up out them then many some "
    "these would other into has more two like time see number way could people water been call who "
    "oil now find long down day did get come made may part over new sound take only little work"
).split()
SYSTEM = "You are a helpful assistant. Answer in the language of the user, as briefly as you can."


class ClientError(Exception):
    """The gateway has not answered as it should."""


class Sends(StrEnum):
    """How much of a conversation a client sends."""

    ALL = "all of it"
    NEWEST = "the newest message, and the conversation's name"
    LAST = f"the last {LAST_MESSAGES} messages"


def words(seed: str, count: int) -> str:
    """The same text for the same seed, and no other text twice."""
    return f"{seed}: {' '.join(Random(seed).choices(WORDS, k=count))}."


@dataclass(slots=True)
class Conversation:
    """One conversation of one person.

    Attributes:
        name: Also the API key: each conversation has a memory of its own.
        messages: As JSON, so that a long body costs no more than putting them together.
    """

    name: str
    messages: list[bytes] = field(default_factory=list)

    def next_request(self, sends: Sends) -> bytes:
        """Say something, and return the body that tells it."""
        self._add("user", words(f"{self.name}, message {len(self.messages)}", USER_WORDS))
        messages = self.messages
        if sends is Sends.NEWEST:
            messages = messages[-1:]
        elif sends is Sends.LAST:
            messages = messages[-LAST_MESSAGES:]
        told = b",".join([_message("system", SYSTEM), *messages])
        return b'{"model":"%s","messages":[%s]}' % (MODEL.encode(), told)

    def headers(self, sends: Sends) -> Mapping[str, str]:
        given = {"authorization": f"Bearer {self.name}", "content-type": "application/json"}
        return given | ({"x-memgpt-conversation": self.name} if sends is Sends.NEWEST else {})

    async def ask(self, gateway: httpx.AsyncClient, body: bytes, sends: Sends) -> None:
        """Send the body and take the reply into the conversation."""
        answer = await gateway.post(
            "/v1/chat/completions", content=body, headers=self.headers(sends)
        )
        if answer.status_code != 200 or "x-memgpt-degraded" in answer.headers:
            raise ClientError(f"{answer.status_code} {answer.text}")
        self._add("assistant", answer.json()["choices"][0]["message"]["content"])

    async def grow(self, gateway: httpx.AsyncClient, length: int, sends: Sends) -> None:
        """Take turns until there are ``length`` messages."""
        while len(self.messages) < length:
            await self.ask(gateway, self.next_request(sends), sends)

    def _add(self, role: str, content: str) -> None:
        self.messages.append(_message(role, content))


def _message(role: str, content: str) -> bytes:
    return orjson.dumps({"role": role, "content": content})
