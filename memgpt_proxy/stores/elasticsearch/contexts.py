"""The working context: a document of its own for each version, and a head that follows.

That a version can be created only once decides a race. The head tells the newest version; where a
process ended between the two writes it is behind, and whoever comes by moves it on.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

from memgpt_proxy.stores.elasticsearch import documents
from memgpt_proxy.stores.elasticsearch.access import Access, Search
from memgpt_proxy.stores.elasticsearch.bulk import Action
from memgpt_proxy.stores.elasticsearch.clock import Clock
from memgpt_proxy.stores.elasticsearch.documents import HEAD, VERSION
from memgpt_proxy.stores.elasticsearch.lookups import Found, Wanted
from memgpt_proxy.stores.elasticsearch.names import document_id, term
from memgpt_proxy.stores.portable import ContextVersion
from memgpt_proxy.stores.protocols import StaleVersion, StoreError
from memgpt_proxy.stores.records import ContextEdit, Owner, TurnId, WorkingContext

NO_CONTEXT = WorkingContext(0, "")


def head(access: Access) -> Wanted:
    """Return where the newest version is told."""
    return Wanted(access.names.contexts, HEAD, HEAD)


def _at(access: Access, version: int) -> Wanted:
    return Wanted(access.names.contexts, VERSION, str(version))


async def newest(
    access: Access, clock: Clock, owner: Owner, found: Found | None
) -> tuple[WorkingContext, Found | None]:
    """Return the working context, and its head as it is by now.

    Args:
        access: The store.
        clock: Of the store.
        owner: Whose it is.
        found: The head as it was just read.
    """
    told = head_told = found.source["version"] if found else 0
    while True:
        there, later = await access.get(owner, [_at(access, told), _at(access, told + 1)])
        if later is not None:
            told += 1
        elif there is None and told > 0:
            told -= 1
        else:
            break
    if told > head_told:
        move = head_action(access, owner, told, found, clock.now())
        (outcome,) = await access.write(owner, [move])
        if not outcome.conflicts:
            outcome.raise_failure()
        (found,) = await access.get(owner, [head(access)])
    return (documents.working_context(there.source) if there else NO_CONTEXT), found


def head_action(
    access: Access, owner: Owner, version: int, found: Found | None, stored: int
) -> Action:
    """Return the write that moves the head on to a version, if nobody else has moved it."""
    how, seen = ("index", found.seen) if found else ("create", None)
    name = document_id(owner, HEAD, HEAD)
    source = documents.of_head(owner, version, stored)
    return Action(how, access.names.contexts, name, source, seen)


async def context(access: Access, clock: Clock, owner: Owner) -> WorkingContext:
    """Return the working context as it is now."""
    (found,) = await access.get(owner, [head(access)])
    return (await newest(access, clock, owner, found))[0]


async def context_at(access: Access, owner: Owner, version: int) -> WorkingContext:
    """Return a version. Raises StoreError if it is unknown."""
    if version == 0:
        return NO_CONTEXT
    (found,) = await access.get(owner, [_at(access, version)])
    if found is None:
        raise StoreError(f"the working context has no version {version}")
    return documents.working_context(found.source)


async def write(
    access: Access, clock: Clock, owner: Owner, expected: int, made: ContextVersion
) -> WorkingContext:
    """Write the version that follows ``expected``. Raises StaleVersion if there is a later one."""
    (found,) = await access.get(owner, [head(access)])
    current, found = await newest(access, clock, owner, found)
    if current.version != expected:
        raise _stale(expected)
    by = uuid4().hex
    wanted = _at(access, made.version)
    source = documents.of_version(owner, made, by, clock.now())
    name = document_id(owner, VERSION, wanted.name)
    create = Action("create", wanted.index, name, source)
    move = head_action(access, owner, made.version, found, clock.now())
    created, moved = await access.write(owner, [create, move])
    if created.conflicts and not await _is_ours(access, owner, wanted, by):
        raise _stale(expected)
    if not created.conflicts:
        created.raise_failure()
    if not moved.conflicts:  # a head that is behind is moved on by the next who comes
        moved.raise_failure()
    return documents.working_context(source)


async def _is_ours(access: Access, owner: Owner, wanted: Wanted, by: str) -> bool:
    """Whether a version that is there already is from an attempt whose answer was lost."""
    (found,) = await access.get(owner, [wanted])
    return found is not None and found.source["context"]["by"] == by


def _stale(expected: int) -> StaleVersion:
    return StaleVersion(f"the working context is no longer at version {expected}")


async def edits(access: Access, owner: Owner, turns: Sequence[TurnId]) -> tuple[ContextEdit, ...]:
    """Return the edits that were made in these turns, oldest first."""
    terms = list({term(turn) for turn in turns if turn})
    if not terms:
        return ()
    made = await _made_in(access, owner, terms)
    wanted = [_at(access, version.version - 1) for version in made]
    found = await access.get(owner, wanted)
    return tuple(
        ContextEdit(
            version.version,
            version.turn,
            before.source["context"]["content"] if before else "",
            version.content,
        )
        for version, before in zip(made, found, strict=True)
    )


async def _made_in(access: Access, owner: Owner, terms: Sequence[str]) -> list[ContextVersion]:
    """Return the versions that turns have made, oldest first."""
    search = Search(
        filters=[{"terms": {"turn": terms}}, {"term": {"kind": VERSION}}],
        rest={"sort": [{"version": "asc"}]},
    )
    walk = access.walk(owner, access.names.contexts, search)
    return [documents.version(hit["_source"]) async for hits in walk for hit in hits]
