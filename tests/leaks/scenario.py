"""What a model does in one turn, and what the person must get of it: drawn at random.

All that must stay inside bears a mark that nothing else bears.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from memgpt_proxy.agent.functions import FUNCTIONS
from tests.leaks.dialect import Dialect, Step
from tests.support.notations import NOTATIONS, OWN_NOTATIONS

MARK = "zq"
"""Begins everything that no client may see."""

MOST_STEPS = 4

KEEPING = ("working_context_append", "archival_storage_insert")
FINDING = ("archival_storage_search", "recall_storage_search")


def json_forms() -> list[Callable[[str, str], str]]:
    """The forms in which a call is written as text, from its name and its arguments."""
    plain = ['{"name": %s, "arguments": %s}', '{"name":%s,\n "parameters": %s}']
    plain += ['{"function": %s, "arguments": %s}']
    plain += ['{"function": {"name": %s, "arguments": %s}}']
    plain += ['{"type": "function", "name": %s, "parameters": %s}']
    plain += ['{"type": "function", "function": {"name": %s, "arguments": %s}}']
    forms = [*plain, *(f"[{form}]" for form in plain)]
    forms += [f'{{"tool_calls": [{form}]}}' for form in plain]
    forms += ['[{"id": "zq", "type": "function", "function": {"name": %s, "arguments": %s}}]']
    written = [lambda name, args, form=form: form % (json.dumps(name), args) for form in forms]
    quoted = '{"name": %s, "arguments": %s}'
    return [
        *written,
        lambda name, args: quoted % (json.dumps(name), json.dumps(args)),
        lambda name, args: f"{name}({args})",
    ]


WRAPPERS = [
    "%s",
    "```json\n%s\n```",
    "```\n%s\n```",
    "```tool_call\n%s\n```",
    "<tool_call>\n%s\n</tool_call>",
    "<function_call>%s</function_call>",
    "<tool_call>```json\n%s\n```</tool_call>",
]
BLOCKS = ["<think>%s</think>", "<think>\n%s\n</think>\n\n", "[THINK]%s[/THINK]"]
BLOCKS += ["<thinking>%s</thinking>\n", "<thought>%s</thought>", "◁think▷%s◁/think▷"]

ODD = ["{", "}", '"', "\\", "\n", "`", "<", "[", "]", " ", "é", "😀", "\u2028", ":", ",", "a", "</"]
ODD_TEXT = st.lists(st.sampled_from(ODD), max_size=8).map("".join)


@dataclass(slots=True)
class Scenario:
    """One turn: the model's steps, how they are written, and what the person gets.

    Attributes:
        before: A turn before it, by which the gateway learns of the model; None for none.
        before_asked: Further fields of the request of that turn.
        name: How the model's name begins.
        asked: Further fields of the request.
        said: The text.
        called: Calls of the client's own tools, as names and arguments.
    """

    steps: list[Step]
    dialect: Dialect
    before: Step | None = None
    before_asked: dict[str, Any] = field(default_factory=dict)
    name: str = "model"
    asked: dict[str, Any] = field(default_factory=dict)
    said: str = ""
    called: list[tuple[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class _Drawing:
    """A scenario while it is drawn."""

    draw: DrawFn
    by_content: bool
    dialect: Dialect
    streams_content: bool
    opened: bool
    clean: bool
    inside: bool
    in_text: bool
    number: int = 0
    messages: list[str] = field(default_factory=list)

    def secret(self) -> str:
        """Text that must stay inside."""
        self.number += 1
        return f"{MARK}{self.number}{self.draw(ODD_TEXT)}{MARK}"

    def open_text(self) -> str:
        """Text for the person, like no other."""
        self.number += 1
        return f"Say{self.number} {self.draw(ODD_TEXT)}o{self.number}"

    def memory_call(self, *, goes_on: bool) -> tuple[str, str]:
        if goes_on and self.draw(st.booleans()):
            arguments: dict[str, Any] = {"query": self.secret()}
            name = self.draw(st.sampled_from(FINDING))
        else:
            arguments = {"content": self.secret()}
            name = self.draw(st.sampled_from(KEEPING))
        if goes_on:
            arguments["request_heartbeat"] = True
        return name, json.dumps(arguments, ensure_ascii=self.draw(st.booleans()))

    def message_call(self, *, goes_on: bool) -> tuple[str, str]:
        said = self.open_text()
        # A message that is written as text by a model that begins inside could not be told apart.
        thinks = "" if self.inside else self.draw(st.sampled_from(["", "<think>%s</think>\n"]))
        front = thinks % self.secret().replace("</", "") if thinks else ""
        self.messages.append(said)
        arguments = {"message": front + said, "request_heartbeat": goes_on}
        return "send_message", json.dumps(arguments, ensure_ascii=self.draw(st.booleans()))

    def reasoning(self) -> str:
        """Reasoning apart; a server that is seen to keep it apart is taken to do so always."""
        return self.secret() if not self.opened and self.draw(st.booleans()) else ""

    def thinking(self) -> str:
        """Thinking in front of the content."""
        blocks = self.draw(st.lists(st.sampled_from(BLOCKS), max_size=2))
        if self.opened:
            blocks.insert(0, self.draw(st.sampled_from(["%s</think>", "\n%s\n</think>\n\n"])))
        return "".join(block % self.secret().replace("</", "") for block in blocks)

    def written(self, calls: list[tuple[str, str]]) -> tuple[str, tuple[tuple[str, str], ...]]:
        """Return calls as text, and those that stay calls: all of them one way or the other."""
        if self.in_text:
            return self.listed(calls) if self.draw(st.booleans()) else self.lines(calls), ()
        if self.dialect.objects or not self.draw(st.booleans()):
            return "", tuple(calls)
        return self.lines(calls), ()

    def listed(self, calls: list[tuple[str, str]]) -> str:
        """Return calls as a schema forces a model to write them."""
        space = self.draw(st.sampled_from(["", " ", "\n  "]))
        items = [f'{{"name": {json.dumps(name)}, "arguments":{space}{a}}}' for name, a in calls]
        return f'{space}{{{space}"tool_calls": [{space}{f",{space}".join(items)}]{space}}}{space}'

    def lines(self, calls: list[tuple[str, str]]) -> str:
        """Return calls as models write them by themselves."""
        lines = []
        for name, arguments in calls:
            notations = OWN_NOTATIONS if name in FUNCTIONS else NOTATIONS
            if self.draw(st.booleans()):
                notation = notations[self.draw(st.sampled_from([*notations]))]
                lines.append(notation(name, json.loads(arguments)))
                continue
            form = self.draw(st.sampled_from(json_forms()))
            lines.append(self.draw(st.sampled_from(WRAPPERS)) % form(name, arguments))
        return "\n".join(lines)

    def hidden(self) -> Step:
        """A step of memory calls, and maybe a word in between."""
        calls = [self.memory_call(goes_on=True) for _ in range(self.draw(st.integers(1, 2)))]
        single = self.by_content or self.clean or self.dialect.legacy
        if not single and self.draw(st.booleans()):
            calls.append(self.message_call(goes_on=True))
        return self.step(calls, thought=True)

    def step(self, calls: list[tuple[str, str]], *, thought: bool) -> Step:
        if self.dialect.legacy:
            calls = calls[:1]
        text, kept = self.written(calls)
        aside = ""
        if thought and not self.streams_content and self.draw(st.booleans()):
            aside = f"Thought {self.secret()}\n"
        reasoning = self.reasoning()
        front = self.thinking() if aside or text or self.draw(st.booleans()) else ""
        return Step(reasoning, f"{front}{aside}{text}", kept)


DIALECTS = st.builds(
    Dialect,
    index=st.sampled_from(["own", "none", "zero"]),
    reasoning=st.sampled_from(["reasoning_content", "reasoning", "reasoning_details"]),
    parts=st.booleans(),
    objects=st.booleans(),
    legacy=st.sampled_from([False, False, True]),
    nulls=st.booleans(),
    roles=st.booleans(),
    names_again=st.booleans(),
    without_ids=st.booleans(),
    reason=st.sampled_from(["true", "true", "stop", "tool_calls", ""]),
    usage=st.sampled_from(["end", "each", "none"]),
    crlf=st.booleans(),
    comments=st.booleans(),
    last_blank_line=st.booleans(),
    whole=st.sampled_from([False, False, False, True]),
    mixed=st.booleans(),
)
SWITCHES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"enable_thinking": False}, {"enable_thinking": True}),
    ({"chat_template_kwargs": {"thinking": False}}, {"chat_template_kwargs": {"thinking": True}}),
    ({}, {"reasoning_effort": "high"}),
    ({"reasoning_effort": "none"}, {}),
]
CLEAN: list[dict[str, Any]] = [{"logprobs": True}, {"n": 2}]
CLEAN.append({"response_format": {"type": "json_object"}})
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}


@st.composite
def scenarios(draw: DrawFn, *, by_content: bool, in_text: bool = False) -> Scenario:
    """Draw a turn that ends with an answer; ``in_text``: the backend knows no other calls."""
    dialect = draw(DIALECTS)
    clean = draw(st.sampled_from([None, None, *CLEAN]))
    opened = draw(st.sampled_from([False, False, True]))
    before = draw(st.sampled_from([None, "plain", "opened"]))
    streams = by_content or before is not None
    inside = opened or before == "opened"
    drawing = _Drawing(
        draw, by_content, dialect, streams, opened, clean is not None, inside, in_text
    )
    told = {"opened": Step(content="zqzq\n</think>\nWell."), "plain": Step(content="Well.")}
    scenario = Scenario([], dialect, told[before] if before else None, asked=dict(clean or {}))
    if opened and before == "plain":  # its thinking was switched off
        off, on = draw(st.sampled_from(SWITCHES))
        scenario.before_asked, scenario.asked = off, {**scenario.asked, **on}
    if clean and before and draw(st.booleans()):  # what it does in such turns is known, too
        scenario.before_asked = {**scenario.before_asked, **clean}
    if opened:
        scenario.name = draw(st.sampled_from(["model", "deepseek-r1"]))
    scenario.steps = [drawing.hidden() for _ in range(draw(st.integers(0, 2)))]
    _end(drawing, scenario)
    scenario.said = "\n\n".join(drawing.messages)
    return scenario


@st.composite
def silences(draw: DrawFn, *, by_content: bool, in_text: bool = False) -> Scenario:
    """Draw a turn that never comes to an answer."""
    dialect = draw(DIALECTS)
    drawing = _Drawing(
        draw, by_content, dialect, by_content, False, clean=True, inside=False, in_text=in_text
    )
    asked: dict[str, Any] = draw(st.sampled_from([{}, *CLEAN]))
    steps = [drawing.hidden() for _ in range(MOST_STEPS - 1)]
    drawing.streams_content = True  # what is said where nothing but a reply is asked for is one
    return Scenario([*steps, drawing.hidden()], dialect, asked=dict(asked))


@st.composite
def cut_off(draw: DrawFn) -> Scenario:
    """Draw a first answer, amid whose thoughts a limit ends it; the model's name is known."""
    dialect = replace(draw(DIALECTS), reason="length", parts=False)
    asked: dict[str, Any] = draw(st.sampled_from([{}, *CLEAN[:2]]))
    thought = f"{MARK} I think{draw(ODD_TEXT)}"
    step = Step(content=thought, choices=asked.get("n", 1))
    return Scenario([step], dialect, name="qwq", asked={"max_tokens": 9, **asked})


def _end(drawing: _Drawing, scenario: Scenario) -> None:
    draw, by_function = drawing.draw, not drawing.by_content and not drawing.clean
    kinds = ["message"] if drawing.messages else ["content", "tool"]
    kinds += ["message", "message"] if by_function else []
    if drawing.messages:
        kinds.append("tool")
    kind = draw(st.sampled_from(kinds))
    match kind:
        case "message":
            calls = [drawing.message_call(goes_on=False)]
            if draw(st.booleans()) and not drawing.dialect.legacy:
                calls.append(drawing.memory_call(goes_on=False))
            scenario.steps.append(drawing.step(calls, thought=True))
        case "content":
            front = drawing.thinking()
            said = drawing.open_text()
            drawing.messages.append(said)
            reasoning = drawing.reasoning()
            choices = scenario.asked.get("n", 1)
            scenario.steps.append(Step(reasoning, front + said, choices=choices))
        case _:
            scenario.asked["tools"] = [TOOL]
            arguments = {"city": drawing.open_text()}
            scenario.called.append(("get_weather", arguments))
            call = ("get_weather", json.dumps(arguments))
            text, kept = drawing.written([call]) if drawing.in_text else ("", (call,))
            front = drawing.thinking() if text or draw(st.booleans()) else ""
            choices = scenario.asked.get("n", 1)
            step = Step(drawing.reasoning(), front + text, kept, choices)
            scenario.steps.append(step)
