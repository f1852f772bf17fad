"""What must hold after each turn. Each check raises AssertionError with what is wrong."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.simulation.backend import Prompt
from tests.simulation.client import Entry, user_texts
from tests.simulation.ledger import Utterance, Write
from tests.simulation.model import is_event, words
from tests.simulation.world import TOPIC

_SURELY_FITS = 600
"""Characters of a message that is never too large for the queue."""
_HEAD = 150
"""Characters of a message that are shown even when the rest is archived."""


def check_prompt(prompt: Prompt, history: Sequence[Entry], window: int) -> None:
    """Check one prompt of a turn that answers the last message of ``history``."""
    messages = prompt.body["messages"]
    assert prompt.tokens <= window, f"a prompt of {prompt.tokens} tokens; the window has {window}"
    assert [i for i, m in enumerate(messages) if m["role"] == "system"] == [0], "system messages"
    if prompt.is_summary:
        return
    _check_pairing(messages)
    _check_tail(messages, history)


def _check_pairing(messages: Sequence[dict[str, Any]]) -> None:
    """Each result answers a call of the assistant message before it, and each call is answered."""
    waiting: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            assert message["tool_call_id"] in waiting, "the result of a call that is not there"
            waiting.remove(message["tool_call_id"])
        else:
            assert not waiting, f"calls without a result: {waiting}"
            calls = message.get("tool_calls") or ()
            waiting = {call["id"] for call in calls}
            assert len(waiting) == len(calls), "two calls of one id"
    assert not waiting, f"calls without a result: {waiting}"


def _check_tail(messages: Sequence[dict[str, Any]], history: Sequence[Entry]) -> None:
    """What users say in the prompt is the end of this conversation, in order, nothing else."""
    seen = [words(message) for message in messages if is_event(message)]
    said = user_texts(history)
    assert seen, "the prompt has no word of the user"
    assert len(seen) <= len(said), "the prompt has more words of the user than were said"
    for shown, text in zip(reversed(seen), reversed(said), strict=False):
        if len(text) <= _SURELY_FITS:
            left_out = f"{text}\n(An image"  # where it does not fit, words say so
            assert shown == text or shown.startswith(left_out), (
                f"the prompt has {shown!r} where the user said {text!r}"
            )
        else:
            assert shown[:_HEAD] == text[:_HEAD], "the head of a long message"


class Database:
    """The gateway's own file, read from outside."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        self._seen = 0

    def close(self) -> None:
        self._connection.close()

    def newly_said(self) -> Counter[Said]:
        """Return what recall storage has got since this was last asked."""
        rows = self._connection.execute(
            "SELECT number, role, text, created FROM nodes WHERE number > ?", (self._seen,)
        ).fetchall()
        self._seen = max((row[0] for row in rows), default=self._seen)
        return Counter(Said(*row[1:]) for row in rows if row[2])

    def said(self) -> Counter[Said]:
        """Return everything in recall storage."""
        rows = self._connection.execute("SELECT role, text, created FROM nodes WHERE text <> ''")
        return Counter(Said(*row) for row in rows)

    def working_context(self) -> str:
        rows = self._connection.execute(
            "SELECT content FROM contexts ORDER BY version DESC LIMIT 1"
        ).fetchall()
        return rows[0][0] if rows else ""

    def notes(self) -> Counter[str]:
        """Return what the model has put into archival storage, as searches find it."""
        rows = self._connection.execute("SELECT text FROM passages WHERE turn <> '' AND NOT hidden")
        return Counter(text for (text,) in rows)


class Said(NamedTuple):
    """Who said what, and when."""

    role: str
    text: str
    at: float


def check_recall(found: Counter[Said], utterances: Iterable[Utterance]) -> None:
    """Recall storage has each of these exactly once, with its date, and nothing else."""
    expected = Counter(Said(u.role, u.text, u.at) for u in utterances)
    assert not (expected - found), f"missing in recall storage: {list(expected - found)[:5]}"
    assert not (found - expected), f"too much in recall storage: {list(found - expected)[:5]}"


def check_working_context(content: str, writes: Iterable[Write]) -> None:
    """The working context holds what turns wrote that stand, and nothing else."""
    expected = {w.text for w in writes if w.active and w.kind == "working context"}
    found = content.splitlines()
    assert len(found) == len(set(found)), "a line stands in the working context twice"
    gone = {w.text for w in writes if not w.active}
    assert not (set(found) & gone - expected), f"not taken back: {set(found) & gone - expected}"
    assert set(found) == expected, f"missing: {expected - set(found)}"


def check_notes(found: Counter[str], writes: Iterable[Write]) -> None:
    """Archival storage shows what turns wrote that stand, and nothing else."""
    expected = Counter(w.text for w in writes if w.active and w.kind == "archival storage")
    assert not (found - expected), f"not taken back: {list(found - expected)[:5]}"
    assert not (expected - found), f"missing: {list(expected - found)[:5]}"


def check_no_leak(text: str) -> None:
    """No inner thought, alert or call reaches the client."""
    for secret in ("SECRET", "System Alert", "working_context_", "archival_storage", "heartbeat"):
        assert secret not in text, f"{secret!r} reached the client"


def check_ranking(hits: Sequence[str], utterances: Iterable[Utterance]) -> None:
    """What stands in the conversation comes before what was left behind."""
    live = {utterance.text: utterance.live for utterance in utterances}
    order = [live[hit] for hit in hits if hit in live]
    assert any(order) or not any(live.values()), "what stands in the conversation is not found"
    assert order == sorted(order, reverse=True), f"left behind, but ranked first: {hits}"


def topic_of(text: str) -> str | None:
    found = TOPIC.search(text)
    return found[0] if found else None


def written(prompts: Sequence[Prompt]) -> list[Write]:
    """Return what a turn's calls have written, as their results in its later prompts tell."""
    results = {
        message["tool_call_id"]: message["content"]
        for prompt in prompts
        for message in prompt.body["messages"]
        if message["role"] == "tool"
    }
    kinds = {
        "working_context_append": "working context",
        "archival_storage_insert": "archival storage",
    }
    return [
        Write(kinds[call.name], call.arguments["content"])  # type: ignore[arg-type]
        for prompt in prompts
        if prompt.finished
        for call in prompt.step.calls
        if call.name in kinds and not results.get(call.id, "").startswith("Error")
    ]
