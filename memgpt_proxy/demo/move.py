"""A move: what the model would say now, and the call that would let it say more."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from memgpt_proxy.demo.prompt import Call, Prompt
from memgpt_proxy.demo.results import Results, parse


@dataclass(frozen=True, slots=True)
class Move:
    """The reply as far as it is known; a call to make first, if it can still be made."""

    reply: str
    call: Call | None = None
    thought: str = ""


Rule = Callable[[Prompt], Move | None]
"""A rule gives its move, or None when it has nothing to say about the prompt."""


def possible(prompt: Prompt, call: Call | None) -> bool:
    """Whether a call can be made: its function is on offer and it has not been made yet."""
    return call is not None and call.name in prompt.tools and not prompt.has_called(call)


def next_search(prompt: Prompt, calls: Iterable[Call]) -> Call | None:
    """The first of some searches that can still be made."""
    return next((call for call in calls if possible(prompt, call)), None)


def results(prompt: Prompt, call: Call) -> Results | None:
    """What a search of this turn has found, None if it has not been made."""
    text = prompt.result(call)
    return None if text is None else parse(text)


def recall(query: str, page: int = 1) -> Call:
    """A search of recall storage."""
    return _search("recall_storage_search", query, page)


def archival(query: str, page: int = 1) -> Call:
    """A search of archival storage."""
    return _search("archival_storage_search", query, page)


def _search(name: str, query: str, page: int) -> Call:
    return Call(name, {"query": query} if page == 1 else {"query": query, "page": page})
