"""What the user asks to be found: earlier messages, days, documents, and the next page of them."""

import re
from collections.abc import Sequence

from memgpt_proxy.demo import wishes
from memgpt_proxy.demo.dates import span, spoken
from memgpt_proxy.demo.move import Move, archival, next_search, possible, recall, results
from memgpt_proxy.demo.prompt import Call, Prompt, Step
from memgpt_proxy.demo.questions import best
from memgpt_proxy.demo.results import Hit, Results, parse
from memgpt_proxy.demo.talk import is_own
from memgpt_proxy.demo.words import clipped, is_question, keywords, sentences, stems

_SHOWN = 10
_HIT_LENGTH = 300
_PAGES_TRIED = 3

_SEARCHES = frozenset(
    {"recall_storage_search", "recall_storage_search_date", "archival_storage_search"}
)


def note(prompt: Prompt) -> Move | None:
    """Keep a note in archival storage."""
    content = wishes.note(prompt.user)
    if content is None:
        return None
    call = Call("archival_storage_insert", {"content": content})
    result = prompt.result(call)
    if result is None:
        return Move("I cannot keep notes here.", call, "A note belongs in archival storage.")
    kept = "Got it, the note is in archival storage."
    return Move(f"I could not save that: {result}" if result.startswith("Error:") else kept)


def more(prompt: Prompt) -> Move | None:
    """The next page of the latest search of the turns before."""
    if not wishes.wants_more(prompt.user):
        return None
    earlier = [event for event in prompt.before if isinstance(event, Step)]
    last = next((step for step in reversed(earlier) if step.call.name in _SEARCHES), None)
    if last is None:
        return None
    seen = parse(last.result or "")
    query = _subject(last.call)
    if seen.page >= seen.pages:
        return Move(f"That was all I found about {query}.")
    call = Call(last.call.name, {**last.call.arguments, "page": seen.page + 1})
    found = results(prompt, call)
    if found is None:
        return Move(_nothing(query), call, f"There is a page {seen.page + 1}.")
    return Move(_found(query, found, found.hits))


def _subject(call: Call) -> str:
    """What a search was about: its query, or the day that it began with."""
    return str(call.arguments.get("query") or call.arguments.get("start_date") or "that")


def recollect(prompt: Prompt) -> Move | None:
    """Find what was said: by its day, if one is named, or by its words."""
    about = wishes.topic(prompt.user)
    if about is None:
        return None
    days = span(prompt.user, prompt.today)
    if days is not None and "recall_storage_search_date" in prompt.tools:
        call = Call(
            "recall_storage_search_date",
            {"start_date": days[0].isoformat(), "end_date": days[1].isoformat()},
        )
        when = spoken(days[0]) if days[0] == days[1] else f"{spoken(days[0])} to {spoken(days[1])}"
        return _of_days(prompt, call, about, when)
    return _by_words(prompt, about) if about else _no_day(prompt)


def _no_day(prompt: Prompt) -> Move | None:
    if wishes.names_time(prompt.user):
        return Move("I don't know which day that is, so I cannot look it up.")
    return None


def _of_days(prompt: Prompt, call: Call, about: str, when: str) -> Move:
    found = results(prompt, call)
    if found is None:
        return Move(_nothing(when), call, "I look at what was said then.")
    hits = _told(prompt, found.hits)
    if about:
        hits = [hit for hit in hits if stems(about) & stems(hit.text)]
    subject = f"{about}, {when}" if about else when
    return Move(_found(subject, found, hits) if hits else _nothing(subject))


def _by_words(prompt: Prompt, about: str) -> Move:
    searches = [recall(about), archival(about)]
    for search in searches:
        found = results(prompt, search)
        hits = _matching(prompt, found.hits, about) if found else []
        if found and hits:
            return Move(_found(about, found, hits))
    thought = f"I look for {about} in what was said."
    return Move(_nothing(about), next_search(prompt, searches), thought)


def _told(prompt: Prompt, hits: Sequence[Hit]) -> list[Hit]:
    """The hits without the question itself, questions like it and the answers to those."""
    return [
        hit
        for hit in hits
        if hit.text != prompt.user and not is_own(hit.text) and wishes.topic(hit.text) is None
    ]


def _matching(prompt: Prompt, hits: Sequence[Hit], about: str) -> list[Hit]:
    wanted = stems(about)
    return [hit for hit in _told(prompt, hits) if not wanted or wanted & stems(hit.text)]


def documents(prompt: Prompt) -> Move | None:
    """Search archival storage for what the user wants from their documents."""
    query = wishes.document_query(prompt.user)
    if query is None:
        return None
    call = archival(query)
    found = results(prompt, call)
    if found is None:
        unable = "I don't know, as I cannot search documents here."
        missing = call.name not in prompt.tools
        return Move(unable if missing else _nothing(query), call, "I search the documents.")
    return Move(_found(query, found, found.hits) if found.hits else _nothing(query))


def in_documents(prompt: Prompt) -> Move | None:
    """Look up any other question in archival storage, if that holds anything."""
    query = " ".join(keywords(prompt.user))
    if not query or not is_question(prompt.user) or not _holds_passages(prompt):
        return None
    hits: list[Hit] = []
    for page in range(1, _PAGES_TRIED + 1):
        call = archival(query, page)
        if possible(prompt, call):
            return _answer(prompt, query, hits, call)
        found = results(prompt, call) or Results()
        hits += found.hits
        if _answers(prompt, query, hits) or page >= found.pages:
            break
    return _answer(prompt, query, hits, None) if hits else None


def _answers(prompt: Prompt, query: str, hits: Sequence[Hit]) -> bool:
    """Whether one of the hits has all words of a question."""
    hit = best(hits, query, prompt.user)
    return hit is not None and stems(query) <= stems(hit.text)


def _answer(prompt: Prompt, query: str, hits: Sequence[Hit], call: Call | None) -> Move:
    hit = best(hits, query, prompt.user)
    reply = f"From your documents: “{_telling(hit.text, query)}”" if hit else _nothing(query)
    return Move(reply, call, "The documents may know.")


def _telling(text: str, query: str) -> str:
    """The sentence of a passage that shares most words with a question."""
    wanted = stems(query)
    parts = sentences(text)
    return max(parts, key=lambda part: len(wanted & stems(part))) if parts else text


def _holds_passages(prompt: Prompt) -> bool:
    count = re.search(r"Archival storage holds ([\d ]+) passage", prompt.instructions)
    if count and count[1].replace(" ", "").strip("0"):
        return True
    inserted = any(
        isinstance(event, Step) and event.call.name == "archival_storage_insert"
        for event in prompt.events
    )
    return inserted or any("Upload Complete" in text for text in prompt.all_alerts)


def _nothing(about: str) -> str:
    return f"I found nothing about {about}."


def _found(about: str, found: Results, hits: Sequence[Hit]) -> str:
    """The hits of one page in words: how many there are in all, and what they say."""
    total = found.total - (len(found.hits) - len(hits))
    things = "result" if total == 1 else "results"
    page = f" (page {found.page} of {found.pages})" if found.pages > 1 else ""
    quoted = "; ".join(_quoted(hit) for hit in hits[:_SHOWN])
    rest = " Say “more” for the next page." if found.page < found.pages else ""
    return f"I found {total} {things} about {about}{page}: {quoted}.{rest}"


def _quoted(hit: Hit) -> str:
    text = f"“{clipped(hit.text, _HIT_LENGTH)}”"
    return f"on {spoken(hit.day)} {text}" if hit.day else text
