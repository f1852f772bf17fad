"""The function executor: runs the model's memory functions against external context."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from memgpt_proxy.agent.functions import Function, Parameter, asks_heartbeat
from memgpt_proxy.agent.window import Room
from memgpt_proxy.memory.archival import Archive
from memgpt_proxy.memory.failure import CallFailed
from memgpt_proxy.memory.recall import Recall
from memgpt_proxy.memory.working_context import Author, WorkingContextEditor, grouped
from memgpt_proxy.stores.protocols import StoreError
from memgpt_proxy.stores.records import Namespace, WorkingContext
from memgpt_proxy.values import dataclass

_WRITE_SECONDS = 10.0
"""How long a turn that is cancelled waits for what it writes."""


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """One call of a function of ours; ``arguments`` is None where they cannot be read."""

    id: str
    function: Function
    arguments: Mapping[str, Any] | None

    @property
    def heartbeat(self) -> bool:
        """Whether the model asks to be run again after it."""
        return asks_heartbeat(self.arguments)


@dataclass(frozen=True, slots=True)
class CallResult:
    """What a call gave, as the model reads it.

    ``context`` is the working context after the call, where the call changed it.
    """

    text: str
    failed: bool = False
    context: WorkingContext | None = None


@dataclass(frozen=True, slots=True)
class CallPlace:
    """Where and when calls run: whose memory, in which turn, in how much room."""

    namespace: Namespace
    author: Author
    now: datetime
    room: Room


class FunctionExecutor:
    """Runs calls one by one; a call that fails gives a result that says why."""

    def __init__(self, editor: WorkingContextEditor, archive: Archive, recall: Recall) -> None:
        self._editor = editor
        self._archive = archive
        self._recall = recall

    async def run(self, place: CallPlace, call: FunctionCall) -> CallResult:
        """Run one call and return its result; never raises for what a model can mend.

        A write goes on where its turn is cancelled, and is waited for: then it can be taken back.
        """
        if call.function.retrieval:
            return await self._result(place, call)
        writing = asyncio.get_running_loop().create_task(self._result(place, call))
        try:
            return await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait({writing}, timeout=_WRITE_SECONDS)
            raise

    async def _result(self, place: CallPlace, call: FunctionCall) -> CallResult:
        try:
            return await self._run(place, call.function.name, _checked(call))
        except CallFailed as error:
            return CallResult(f"Error: {error}", failed=True)
        except StoreError:
            return CallResult(
                "Error: external storage cannot be reached now. Reply with what you know.",
                failed=True,
            )

    async def _run(self, place: CallPlace, name: str, given: Mapping[str, Any]) -> CallResult:
        where, room = place.namespace, place.room
        match name:
            case "working_context_append":
                context = await self._editor.append(
                    where, place.author, given["content"], limit=room.context
                )
                return _edited("Appended", context, room)
            case "working_context_replace":
                context = await self._editor.replace(
                    where,
                    place.author,
                    given["old_content"],
                    given["new_content"],
                    limit=room.context,
                )
                return _edited("Replaced", context, room)
            case "archival_storage_insert":
                count = await self._archive.insert(
                    where, place.author, given["content"], place.now.timestamp()
                )
                return CallResult("Inserted." if count == 1 else f"Inserted in {count} passages.")
            case "archival_storage_search":
                found = await self._archive.search(where, given["query"], given["page"], room.hit)
            case "recall_storage_search":
                found = await self._recall.search(where, given["query"], given["page"], room.hit)
            case "recall_storage_search_date":
                found = await self._recall.search_dates(
                    where, given["start_date"], given["end_date"], given["page"], room.hit
                )
            case _:
                raise CallFailed(f"{name} cannot be called here.")
        return CallResult(found)


def _edited(done: str, context: WorkingContext, room: Room) -> CallResult:
    size, limit = grouped(len(context.content)), grouped(room.context)
    return CallResult(f"{done}. Working context: {size} / {limit} characters.", context=context)


def _checked(call: FunctionCall) -> dict[str, Any]:
    """Return the arguments, complete and of the declared types."""
    if call.arguments is None:
        raise CallFailed("the arguments are not a JSON object; write them again.")
    return {p.name: _argument(p, call.arguments.get(p.name)) for p in call.function.parameters}


def _argument(parameter: Parameter, value: Any) -> Any:
    if value is None:
        if parameter.default is None:
            raise CallFailed(f"the argument {parameter.name} is missing.")
        return parameter.default
    return _page(value) if parameter.type == "integer" else _text(parameter, value)


def _page(value: Any) -> int:
    try:
        page = int(value)
    except (TypeError, ValueError, OverflowError):
        raise CallFailed("page is not a number; pages count from 1.") from None
    if not 1 <= page <= 10**9:
        raise CallFailed("pages count from 1.")
    return page


def _text(parameter: Parameter, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return str(value)
    raise CallFailed(f"the argument {parameter.name} is not a text.")
