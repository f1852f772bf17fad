"""System alerts: events that are nobody's words, in the queue where they happened."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from memgpt_proxy.memory.transcript import Message

PREFIX = "System Alert: "
ARCHIVED = f"{PREFIX}Message Archived."
BEGINNINGS = {
    f"{PREFIX}Today is ": "\n",
    f"{PREFIX}Memory Pressure.": "\n",
    f"{PREFIX}Conversation Summary.": "\n\n",
    f"{PREFIX}Working Context Changed in ": "\n\n",
    f"{PREFIX}The user is still waiting for ": "\n",
    f"{PREFIX}The limit of steps for ": "\n",
    f"{PREFIX}Message from the application:": "\n\n",
    ARCHIVED: "\n",
}
"""How alerts begin and what ends each: a model that repeats one means nobody."""


def alert(text: str) -> Message:
    """Return an alert as the model sees it.

    It has the user's role: many chat templates take one system message only, and
    that at the very beginning.
    """
    return {"role": "user", "content": PREFIX + text}


def today(day: date) -> Message:
    """Return the alert that tells the day, as ``Today is Saturday, February 7, 2026``."""
    return alert(f"Today is {day:%A}, {day:%B} {day.day}, {day.year}.")


def memory_pressure(used: float) -> Message:
    """Return the warning that the queue is about to be flushed (the paper, section 2.2).

    Args:
        used: Part of the window in use.
    """
    return alert(
        f"Memory Pressure. This conversation fills {used:.0%} of the context window and its "
        "oldest messages will be evicted soon. If they hold anything worth keeping that is "
        "not in working context or archival storage yet, save it now, then reply to the user."
    )


def conversation_summary(summary: str) -> Message:
    """Return the queue's first entry: the recursive summary of what was evicted."""
    return alert(
        "Conversation Summary. Earlier messages of this conversation were evicted; "
        f"recall storage still holds them word for word. Their summary:\n{summary}"
    )


def working_context_changed(changes: Sequence[str]) -> Message:
    """Return the alert that another conversation has edited the working context."""
    lines = "\n".join(changes)
    return alert(f"Working Context Changed in another conversation since:\n{lines}")


def user_waiting(function: str | None) -> Message:
    """Return the alert that a turn has ended without a word to the user."""
    how = f"Call {function} now." if function else "Write the reply now."
    return alert(f"The user is still waiting for a reply. {how}")


def last_step(function: str | None) -> Message:
    """Return the alert that no memory function may be called any more in this turn."""
    how = f"Call {function}" if function else "Write the reply"
    return alert(
        "The limit of steps for one turn is reached; no other function can be called now. "
        f"{how} with the best answer you have."
    )


def message_archived(characters: str, passages: int) -> Message:
    """Return the alert that a message was too large for the queue."""
    return {
        "role": "user",
        "content": f"{ARCHIVED} The message above is {characters} characters long, too long for "
        f"the context window. It stands here cut; all of it is in archival storage, in "
        f"{passages} passages. Find the rest with archival_storage_search.",
    }


def from_application(text: str) -> Message:
    """Return an instruction that the client has put amid the conversation."""
    return alert(f"Message from the application:\n{text}")
