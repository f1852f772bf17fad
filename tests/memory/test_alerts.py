"""Alerts, and how a model that repeats one is told from a person's words."""

from __future__ import annotations

from datetime import date

import pytest

from memgpt_proxy.memory import alerts
from memgpt_proxy.memory.transcript import Message

ALL = [
    alerts.today(date(2026, 2, 7)),
    alerts.memory_pressure(0.7),
    alerts.conversation_summary("Sam likes tea."),
    alerts.working_context_changed(["+ Likes tea"]),
    alerts.user_waiting("send_message"),
    alerts.user_waiting(None),
    alerts.last_step("send_message"),
    alerts.message_archived("9 000", 4),
    alerts.from_application("Be brief."),
]


@pytest.mark.parametrize("message", ALL)
def test_each_has_a_beginning_of_its_own(message: Message) -> None:
    begun = [each for each in alerts.BEGINNINGS if message["content"].startswith(each)]
    assert len(begun) == 1
    assert message["role"] == "user"


def test_no_beginning_is_of_none() -> None:
    texts = [message["content"] for message in ALL]
    assert all(any(text.startswith(each) for text in texts) for each in alerts.BEGINNINGS)
