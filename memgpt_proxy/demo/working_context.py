"""The working context as it stands now.

The section in the system message may be older than the calls and alerts in the queue, and may
contain some of them already, so each change is applied only where it is not yet visible.
"""

import re
from collections.abc import Iterable, Sequence

from memgpt_proxy.demo.prompt import Alert, Event, Step

_HEADER = re.compile(r"^# Working context \(.*$", re.MULTILINE)
_NEXT_HEADER = re.compile(r"^# ", re.MULTILINE)


def current(instructions: str, events: Iterable[Event]) -> tuple[str, ...]:
    """The lines of the working context: the section, changed by the queue's events."""
    lines = _lines(section(instructions) or "")
    for event in events:
        if isinstance(event, Step):
            lines = _after_call(lines, event)
        elif isinstance(event, Alert) and event.text.startswith("Working Context Changed"):
            lines = _after_alert(lines, event.text)
    return tuple(lines)


def section(instructions: str) -> str | None:
    """The text under the last working-context header of the instructions; None without one."""
    headers = list(_HEADER.finditer(instructions))
    if not headers:
        return None
    rest = instructions[headers[-1].end() :]
    text, found, _ = rest.rpartition("\n# External context")
    return text.strip() if found else _NEXT_HEADER.split(rest, maxsplit=1)[0].strip()


def _lines(text: str) -> list[str]:
    kept = (line.strip() for line in text.splitlines())
    return list(dict.fromkeys(line for line in kept if line))


def _after_call(lines: list[str], step: Step) -> list[str]:
    given = step.call.arguments
    done = (step.result or "").startswith(("Appended.", "Replaced."))
    match step.call.name:
        case "working_context_append" if done:
            return _lines("\n".join([*lines, str(given.get("content", ""))]))
        case "working_context_replace" if done:
            old, new = str(given.get("old_content", "")), str(given.get("new_content", ""))
            return _replaced(lines, old, new)
    return lines


def _replaced(lines: list[str], old: str, new: str) -> list[str]:
    text = "\n".join(lines)
    seen_already = old in new and new in text
    return lines if not old or seen_already else _lines(text.replace(old, new, 1))


def _after_alert(lines: list[str], alert: str) -> list[str]:
    changes = alert.splitlines()[1:]
    for removed in _marked(changes, "- "):
        lines = [line for line in lines if line != removed]
    return _lines("\n".join([*lines, *_marked(changes, "+ ")]))


def _marked(changes: Sequence[str], mark: str) -> list[str]:
    return [line.removeprefix(mark).strip() for line in changes if line.startswith(mark)]
