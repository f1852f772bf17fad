"""The demo model: from a prompt and the functions on offer to an answer, by rules.

Each rule reads the prompt and says what it would reply now, and which function would let it
say more. The model calls that function and asks for a heartbeat, or replies.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from memgpt_proxy.demo import (
    client_tools,
    edits,
    keys,
    questions,
    searches,
    talk,
    tasks,
    working_context,
)
from memgpt_proxy.demo.move import Move, Rule, possible
from memgpt_proxy.demo.prompt import Call, Prompt, Step, read

MOST_CALLS = 10
"""Function calls in one turn, the reply included."""

_MOST_EDITS = 5


def _small_talk(prompt: Prompt) -> Move | None:
    """Greetings, thanks and questions about the model itself, unless there is more to say."""
    said = talk.known(prompt.user, _name(prompt), prompt.today)
    if said is None or _saved(prompt) or not prompt.user:
        return None
    if talk.is_greeting(prompt.user) and questions.is_birthday(prompt.lines, prompt.today):
        return Move(f"Happy birthday! {said}")
    return Move(said)


_RULES: tuple[Rule, ...] = (
    keys.look_up,
    searches.note,
    searches.more,
    searches.documents,
    searches.recollect,
    questions.from_working_context,
    client_tools.use_tool,
    questions.from_storage,
    _small_talk,
    searches.in_documents,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says: inner thoughts with function calls, or plain content."""

    thoughts: str = ""
    calls: Sequence[Call] = ()
    content: str = ""


def answer(
    messages: Sequence[Mapping[str, Any]], tools: Sequence[object], forced: str = ""
) -> Answer:
    """Answer the messages with the tools on offer, both as a request has them.

    `forced` names the client's tool that has to be called, if any.
    """
    prompt = _prompt(messages, tools)
    if not prompt.tools and (done := tasks.task(messages)):
        return Answer(content=done)
    if forced and (call := client_tools.filled(forced, prompt)):
        return Answer(calls=[call])
    if prompt.user.startswith("### Task:") and (done := tasks.task(messages)):
        return _reply(prompt, done)
    if must_reply(prompt):
        return _reply(prompt, _said(prompt, _move(prompt)))
    return _edit(prompt) or _act(prompt)


def _prompt(messages: Sequence[Mapping[str, Any]], tools: Sequence[object]) -> Prompt:
    prompt = read(messages, tools)
    lines = working_context.current(prompt.instructions, prompt.events)
    return prompt.knowing(lines)


def must_reply(prompt: Prompt) -> bool:
    """Whether the turn has to end now: the user waits, or the steps are used up."""
    waiting = any(alert.startswith("The user is still waiting") for alert in prompt.alerts)
    last_step = bool(prompt.alerts) and bool(re.match(r"[^\n:]*\bsteps?\b", prompt.alerts[-1]))
    return waiting or last_step or len(prompt.steps) >= MOST_CALLS - 1


def _edit(prompt: Prompt) -> Answer | None:
    """Save what the user has told, as far as that is new."""
    room = min(_MOST_EDITS, MOST_CALLS - 2) - len(prompt.steps)
    if searches.note(prompt) is not None:
        return None
    calls = [call for call in edits.wanted(prompt) if possible(prompt, call)][: max(room, 0)]
    calls = calls or _overflow(prompt)
    if not calls:
        return None
    return _call(prompt, "This is worth remembering.", calls)


def _overflow(prompt: Prompt) -> list[Call]:
    """Archival storage takes what found no room in the working context."""
    lost = [s for s in prompt.steps if s.failed and s.call.name == "working_context_append"]
    contents = (str(step.call.arguments.get("content", "")) for step in lost)
    calls = [Call("archival_storage_insert", {"content": content}) for content in contents]
    return [call for call in calls if possible(prompt, call)][:1]


def _act(prompt: Prompt) -> Answer:
    move = _move(prompt)
    if move is None or move.call is None or not possible(prompt, move.call):
        return _reply(prompt, _said(prompt, move))
    return _call(prompt, move.thought, [move.call])


def _call(prompt: Prompt, thought: str, calls: Sequence[Call]) -> Answer:
    """Call functions; without `send_message` content is the reply, so that no thought may show."""
    thought = thought if "send_message" in prompt.tools else ""
    return Answer(thought, [_with_heartbeat(call) for call in calls])


def _move(prompt: Prompt) -> Move | None:
    """The move of the first rule that can say something."""
    for rule in _RULES:
        if move := rule(prompt):
            return move
    return None


def _with_heartbeat(call: Call) -> Call:
    """The call, asking to run on after it; the client's tools know no heartbeat."""
    if call.name not in client_tools.MEMORY_FUNCTIONS:
        return call
    return Call(call.name, {**call.arguments, "request_heartbeat": True})


def _said(prompt: Prompt, move: Move | None) -> str:
    """The reply: what was saved in this turn, then what a rule says, or else small talk."""
    saved = _saved(prompt)
    if move is not None:
        return " ".join(filter(None, [saved, move.reply]))
    return saved or _about_alert(prompt) or talk.fallback(prompt.user, _name(prompt))


def _saved(prompt: Prompt) -> str:
    changes = [s for s in prompt.steps if s.call.name.startswith("working_context_")]
    done = [_change(s) for s in changes if s.result is not None and not s.failed]
    archived = any(s.call.name == "archival_storage_insert" and not s.failed for s in prompt.steps)
    failures = [] if archived else [str(s.result) for s in changes if s.failed]
    return talk.acknowledgement(done, failures)


def _change(step: Step) -> str:
    arguments = step.call.arguments
    new = str(arguments.get("content") or arguments.get("new_content") or "")
    return questions.second_person(new).rstrip(".") if new else ""


def _about_alert(prompt: Prompt) -> str:
    """What is said when no user but the system has something new."""
    uploaded = [alert for alert in prompt.alerts if "Upload Complete" in alert]
    if not uploaded or (prompt.user and not prompt.replied):
        return ""
    return "Your documents have arrived. Ask me “search my documents for …”."


def _name(prompt: Prompt) -> str:
    """The user's name, empty while it is not known."""
    names = (line.removeprefix("Name is ") for line in prompt.lines if line.startswith("Name is "))
    return next(names, "")


def _reply(prompt: Prompt, text: str) -> Answer:
    if "send_message" not in prompt.tools:
        return Answer(content=text)
    call = Call("send_message", {"message": text, "request_heartbeat": False})
    return Answer("I can answer now.", [call])
