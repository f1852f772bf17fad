"""What headers say of a request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.agent.request import NamedConversation
from memgpt_proxy.api.request_headers import Memory, RequestHeaders, ToldByHeaders
from memgpt_proxy.config import Settings
from memgpt_proxy.errors import InvalidRequest

ORDINARY = [
    (b"host", b"gateway"),
    (b"authorization", b"Bearer sk-1"),
    (b"user-agent", b"OpenAI/Python 3.54"),
    (b"x-stainless-lang", b"python"),
]


def told(*headers: tuple[bytes, bytes]) -> ToldByHeaders:
    settings = Settings()
    known = RequestHeaders(settings.conversation_headers, settings.task_headers)
    return known.read([*ORDINARY, *headers])


def test_ordinary_headers_say_nothing() -> None:
    assert told() == ToldByHeaders(None, Memory.ON, is_task=False, is_retry=False)


@pytest.mark.parametrize(
    ("header", "resends"),
    [
        (b"x-memgpt-conversation", False),
        (b"x-openwebui-chat-id", True),
        (b"x-librechat-conversation-id", True),
        (b"x-conversation-id", True),
    ],
)
def test_a_conversation_is_named(header: bytes, resends: bool) -> None:
    said = told((header, b" chat 7 "))
    assert said.conversation == NamedConversation("chat 7", resends)
    assert said.newest_only is not resends


def test_the_gateways_own_header_comes_before_a_user_interfaces() -> None:
    named = told((b"x-openwebui-chat-id", b"theirs"), (b"x-memgpt-conversation", b"ours"))
    assert named.conversation == NamedConversation("ours", resends=False)


def test_headers_count_in_the_order_of_the_setting() -> None:
    known = RequestHeaders(["X-First", "X-Second"], [])
    said = known.read([(b"x-second", b"2"), (b"x-first", b"1")])
    assert said.conversation == NamedConversation("1", resends=True)
    said = known.read([(b"x-second", b"2"), (b"x-first", b"")])
    assert said.conversation == NamedConversation("2", resends=True)


@pytest.mark.parametrize(
    "value", [b"", b"  ", b"{{CHAT_ID}}", b"{{LIBRECHAT_BODY_CONVERSATIONID}}"]
)
def test_a_placeholder_that_was_not_filled_names_nothing(value: bytes) -> None:
    assert told((b"x-openwebui-chat-id", value)).conversation is None
    assert told((b"x-memgpt-conversation", value)).conversation is None


@pytest.mark.parametrize("value", [b"local:Xk3", b"temporary:0c", b"channel:11"])
def test_an_id_that_many_conversations_share_names_none_of_them(value: bytes) -> None:
    assert told((b"x-openwebui-chat-id", value)).conversation is None
    assert told((b"x-memgpt-conversation", value)).conversation is not None


@pytest.mark.parametrize("header", ["X-MemGPT-Conversation", "X-OpenWebUI-Chat-Id"])
def test_a_name_has_512_bytes_at_the_most(header: str) -> None:
    raw = header.lower().encode()
    named = told((raw, b"n" * 512)).conversation
    assert named is not None
    assert named.name == "n" * 512
    with pytest.raises(InvalidRequest, match=header) as refused:
        told((raw, b"n" * 513))
    assert (refused.value.status, refused.value.param) == (400, header)


@given(st.binary(min_size=1, max_size=512).filter(lambda name: name.strip() and b"{{" not in name))
def test_any_name_can_be_stored_and_sent(name: bytes) -> None:
    named = told((b"x-memgpt-conversation", name)).conversation
    assert named is not None
    assert named.name.encode("utf-8")


def test_a_misspelt_header_is_no_reason_to_remember() -> None:
    with pytest.raises(InvalidRequest) as refused:
        told((b"x-memgpt-memroy", b"off"))
    assert refused.value.param == "x-memgpt-memroy"
    assert "X-MemGPT-Memory" in str(refused.value)
    assert told((b"x-memgpt-degraded", b"true")).memory is Memory.ON


def test_a_name_in_utf8_is_read_as_such() -> None:
    named = told((b"x-memgpt-conversation", "Zürich".encode())).conversation
    assert named == NamedConversation("Zürich", resends=False)


@pytest.mark.parametrize(
    ("value", "memory"),
    [(b"read", Memory.READ), (b"Read ", Memory.READ), (b"off", Memory.OFF), (b"OFF", Memory.OFF)],
)
def test_memory_reads_only_or_is_off(value: bytes, memory: Memory) -> None:
    assert told((b"x-memgpt-memory", value)).memory is memory


@pytest.mark.parametrize("value", [b"", b"on", b"write", b"off, off", b"\xff"])
def test_another_word_for_memory_is_a_mistake(value: bytes) -> None:
    with pytest.raises(InvalidRequest, match="X-MemGPT-Memory") as refused:
        told((b"x-memgpt-memory", value))
    assert (refused.value.status, refused.value.param) == (400, "X-MemGPT-Memory")


@pytest.mark.parametrize(
    ("value", "is_task"),
    [
        (b"title_generation", True),
        (b"function_calling", True),
        (b"", False),
        (b"{{TASK}}", False),
    ],
)
def test_a_task_is_told_by_its_header(value: bytes, is_task: bool) -> None:
    assert told((b"x-openwebui-task", value)).is_task is is_task


@pytest.mark.parametrize(
    ("count", "is_retry"),
    [(b"0", False), (b"00", False), (b"1", True), (b"10", True), (b"-1", False), (b"x", False)],
)
def test_a_retry_is_counted_by_openais_sdks(count: bytes, is_retry: bool) -> None:
    assert told((b"x-stainless-retry-count", count)).is_retry is is_retry


def test_a_count_of_any_length_is_read() -> None:
    assert told((b"x-stainless-retry-count", b"9" * 10_000)).is_retry
