"""Facts and corrections into edits of the working context."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from memgpt_proxy.demo.facts import Fact, facts, statements
from memgpt_proxy.demo.people import PARTNERS, relation
from memgpt_proxy.demo.prompt import Alert, Call, Prompt, Said, Step
from memgpt_proxy.demo.words import WORD, capitalised, stems, words


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of the working context: `old` gives way to `new`; an empty `old` appends."""

    old: str
    new: str

    def call(self) -> Call:
        """The function call that makes the change."""
        if not self.old:
            return Call("working_context_append", {"content": self.new})
        return Call("working_context_replace", {"old_content": self.old, "new_content": self.new})


_ABOUT_US = re.compile(r"\b(?:i|me|we|my|us|i'm)\b", re.I)
_PARTNER = rf"(?:{'|'.join(sorted(PARTNERS, reverse=True))})"
_BROKE_UP = re.compile(
    r"\b(?:broke|broken|split|splitting|breaking) up\b|\bdumped\b|\b(?:got|are) divorced\b", re.I
)
_TOGETHER_AGAIN = re.compile(r"\bback together\b|\bmade up again\b", re.I)
_MARRIED = re.compile(r"\b(?:got|are|just) married\b", re.I)
_SPOUSES = {"boyfriend": "Husband", "girlfriend": "Wife", "partner": "Spouse"}
_NO_MORE = re.compile(r"\bno longer\b|(?:n't|\bnot)\b.*\b(?:any ?more|any longer)\b", re.I)
_FORGET = re.compile(
    r"(?<!don't )(?<!never )\bforget (?:that |about |what i said about )?(?P<what>.+)", re.I
)
_MY_NAME = re.compile(r"\bmy name\b", re.I)
_NAME = stems("name")
_WITH_ME = (
    re.compile(rf"(?P<name>{WORD}) and (?:i|me)\b", re.I),
    re.compile(rf"\b(?:i|me) and (?P<name>{WORD})", re.I),
    re.compile(rf"\b(?:up with|dumped) (?P<name>{WORD})", re.I),
)


def told(text: str, today: date | None, lines: Sequence[str]) -> list[Edit]:
    """The edits that a text of the user calls for, given the working context's lines."""
    edits: list[Edit] = []
    now = list(lines)
    for statement in statements(text):
        for edit in _edits(statement, today, now):
            now = _applied(now, edit)
            edits.append(edit)
    return edits


def _applied(lines: list[str], edit: Edit) -> list[str]:
    changed = [edit.new if line == edit.old else line for line in lines]
    return [line for line in (changed if edit.old else [*lines, edit.new]) if line]


def _edits(statement: str, today: date | None, lines: list[str]) -> Iterator[Edit]:
    if match := _FORGET.search(statement):
        for line in _covering(match["what"], lines):
            yield Edit(line, "")
        return
    stated = [_as_it_stands(fact, statement) for fact in facts(statement, today)]
    for edit in [*_corrections(statement, lines), *_ended(statement, lines)]:
        lines = _applied(lines, edit)
        yield edit
    for fact in stated:
        if wording := _edit(fact, lines):
            lines = _applied(lines, wording)
            yield wording
    yield from _unknown_partner(statement, lines)


def _edit(fact: Fact, lines: Iterable[str]) -> Edit | None:
    """The edit that puts a fact in its place; None if it is known."""
    same = [line for line in lines if line.casefold() == fact.text.casefold()]
    subjects = tuple(subject.casefold() for subject in fact.subjects)
    other = [line for line in lines if subjects and line.casefold().startswith(subjects)]
    return None if same else Edit(other[0] if other else "", fact.text)


def _as_it_stands(fact: Fact, statement: str) -> Fact:
    """A fact about a partner as a correction in the same statement leaves it."""
    text = _turned(fact.text, statement) if _ABOUT_US.search(statement) else None
    return Fact(text, (fact.text,)) if text else fact


def _turned(line: str, statement: str) -> str | None:
    """What becomes of a line about a partner, or None: boyfriend to ex-boyfriend, to husband."""
    match = re.match(rf"(?P<ex>Ex-)?(?P<kind>{_PARTNER}) named (?P<name>.+)", line, re.I)
    if match is None:
        return None
    kind, name = match["kind"].lower(), match["name"]
    if _BROKE_UP.search(statement) and not match["ex"]:
        return f"Ex-{kind} named {name}"
    if _TOGETHER_AGAIN.search(statement) and match["ex"]:
        return f"{capitalised(kind)} named {name}"
    if _MARRIED.search(statement) and kind in _SPOUSES:
        return f"{_SPOUSES[kind]} named {name}"
    return None


def _corrections(statement: str, lines: Sequence[str]) -> Iterator[Edit]:
    if not _ABOUT_US.search(statement):
        return
    turned = [(line, new) for line in lines if (new := _turned(line, statement))]
    meant = [pair for pair in turned if _mentions(statement, pair[0])]
    named_other = any(pattern.search(statement) for pattern in _WITH_ME)
    if not meant and not named_other:
        meant = turned[:1]
    yield from (Edit(line, new) for line, new in meant)


def _mentions(statement: str, line: str) -> bool:
    """Whether a statement names the partner of a line, by name or by relation."""
    kind, _, name = line.lower().partition(" named ")
    said = [relation(word) for word in words(statement)]
    return kind.removeprefix("ex-") in said or any(word in said for word in words(name))


def _unknown_partner(statement: str, lines: Sequence[str]) -> Iterator[Edit]:
    """A partner heard of for the first time when it is over."""
    if not _BROKE_UP.search(statement) or not _ABOUT_US.search(statement):
        return
    names = [match["name"] for pattern in _WITH_ME if (match := pattern.search(statement))]
    known = {word for line in lines for word in words(line)}
    for name in names[:1]:
        person = name.lower() not in known and relation(name) not in (*PARTNERS, "my", "we")
        if person:
            yield Edit("", f"Ex-partner named {capitalised(name)}")


def _ended(statement: str, lines: Sequence[str]) -> Iterator[Edit]:
    """Lines that the user says are true no longer."""
    if _NO_MORE.search(statement):
        for line in lines:
            if not line.startswith("No longer") and stems(line) and stems(line) <= stems(statement):
                yield Edit(line, f"No longer {line[:1].lower()}{line[1:]}")


def _covering(what: str, lines: Sequence[str]) -> list[str]:
    """The lines that a description means: those that have all its words.

    The user's own name is a line that begins with it: a dog's line says `named`.
    """
    asked = stems(what)
    meant = [line for line in lines if asked and asked <= stems(line)]
    own_name = asked == _NAME or _MY_NAME.search(what)
    return [line for line in meant if words(line)[0] == "name"] if own_name else meant


def wanted(prompt: Prompt) -> list[Call]:
    """The edits that this turn calls for and that have not been tried, as function calls.

    Under memory pressure everything said in the queue that is not yet kept is wanted too.
    """
    edits = told(prompt.user, prompt.today, prompt.lines)
    if any(alert.startswith("Memory Pressure") for alert in prompt.alerts):
        edits += _unsaved(prompt, edits)
    return [call for edit in edits if not prompt.has_called(call := edit.call())]


def _unsaved(prompt: Prompt, edits: Sequence[Edit]) -> list[Edit]:
    """What older messages in the queue state about subjects that nothing is known of."""
    known = [*prompt.lines]
    for edit in edits:
        known = _applied(known, edit)
    earlier = [event for event in prompt.before if isinstance(event, Said) and event.role == "user"]
    removed = _removed(prompt)
    found: dict[tuple[str, ...], str] = {}
    for said in earlier:
        for statement in statements(said.text):
            for fact in facts(statement, said.day or prompt.today):
                now = _as_it_stands(fact, statement)
                found[fact.subjects or (fact.text,)] = now.text
    new = [Fact(text, subjects) for subjects, text in found.items() if text not in removed]
    appended = (_edit(fact, known) for fact in new)
    return [edit for edit in appended if edit and not edit.old]


def _removed(prompt: Prompt) -> set[str]:
    """Lines that were replaced or deleted within the queue."""
    gone: set[str] = set()
    for event in prompt.events:
        if isinstance(event, Step) and event.call.name == "working_context_replace":
            gone.add(str(event.call.arguments.get("old_content")))
        elif isinstance(event, Alert) and event.text.startswith("Working Context Changed"):
            gone |= {line[2:] for line in event.text.splitlines() if line.startswith("- ")}
    return gone
