"""The transcript tree: which of a client's messages are new, and where they hang.

A client resends its history with every request. Each message is a node named by a
hash over the namespace, its parent's name and what it says, like a commit; so the
longest known prefix of a transcript is what we have, and only the rest is new.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from hashlib import blake2b
from typing import Any
from unicodedata import normalize

import orjson

from memgpt_proxy.stores.records import ContentId, Namespace, NodeId

Message = dict[str, Any]
"""A message in OpenAI's shape, checked by the api layer."""

_ID_BYTES = 16
_PLAIN_FIELDS = 2
"""A message of words alone has a role and them."""
_SAID_OTHERWISE = ("function_call", "audio", "refusal")
"""Fields of messages that have neither content nor tool calls."""


def chain(namespace: Namespace, contents: Iterable[ContentId], root: NodeId) -> list[NodeId]:
    """Return the names of the nodes that say ``contents`` after ``root``, first to last."""
    ids = []
    parent = root
    for content in contents:
        parent = node_id(namespace, parent, content)
        ids.append(parent)
    return ids


def node_id(namespace: Namespace, parent: NodeId, content: ContentId) -> NodeId:
    """Return the name of the node that says ``content`` after ``parent``."""
    what = f"{content}{parent}\0{namespace}".encode()
    return NodeId(blake2b(what, digest_size=_ID_BYTES, person=b"memgpt node").hexdigest())


def root_of(name: str) -> NodeId:
    """Return what the messages of a conversation of this name hang on."""
    what = name.encode("utf-8", "surrogatepass")
    return NodeId(blake2b(what, digest_size=_ID_BYTES, person=b"memgpt named").hexdigest())


def content_id(message: Message) -> ContentId:
    """Return the name of what a message says, wherever it stands.

    It is the same whichever way a client writes it: text is the same as a list with one text
    part; white space at its ends, the kind of line ends and the composition of Unicode do not
    count; a call's arguments are compared as JSON.
    """
    content = message.get("content")
    if isinstance(content, str) and len(message) == _PLAIN_FIELDS:
        return _words_id(message["role"], _plain(content))
    return _general_id(message)


def _general_id(message: Message) -> ContentId:
    calls = message.get("tool_calls")
    content = message.get("content")
    content = _plain(content) if isinstance(content, str) else _canonical_parts(content)
    more = [
        message.get("name"),
        message.get("tool_call_id"),
        [_canonical_call(call) for call in calls] if calls else None,
        *(message[name] for name in _SAID_OTHERWISE if message.get(name)),
    ]
    if isinstance(content, str) and all(each is None for each in more):
        return _words_id(message["role"], content)
    what = orjson.dumps([message["role"], content, *more], option=orjson.OPT_SORT_KEYS)
    return ContentId(blake2b(what, digest_size=_ID_BYTES).hexdigest())


def _words_id(role: str, words: str) -> ContentId:
    what = f"{role}\0{words}".encode("utf-8", "surrogatepass")  # no list in JSON begins so
    return ContentId(blake2b(what, digest_size=_ID_BYTES).hexdigest())


def said(message: Message) -> str:
    """Return the words of a message, for recall; images and the like have none."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "\n".join(_texts(content)) if isinstance(content, list) else ""


def _texts(parts: list[Any]) -> list[str]:
    return [part["text"] for part in parts if isinstance(part.get("text"), str)]


def _canonical_parts(parts: Any) -> Any:
    if not parts:
        return ""
    if len(parts) == 1 and parts[0].get("type") == "text":
        return _plain(str(parts[0].get("text", "")))
    return parts


def _plain(text: str) -> str:
    if not text.isascii():
        text = normalize("NFC", text)
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    return text.strip()


def _canonical_call(call: dict[str, Any]) -> list[Any]:
    function = call.get("function") or {}
    arguments: Any = function.get("arguments")
    with suppress(orjson.JSONDecodeError, TypeError):  # they need not be JSON, and may be too deep
        plain = orjson.dumps(orjson.loads(arguments), option=orjson.OPT_SORT_KEYS)
        arguments = orjson.Fragment(plain)
    return [call.get("id"), function.get("name"), arguments, call.get("custom")]
