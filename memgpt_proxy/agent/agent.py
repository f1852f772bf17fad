"""The agent: opens the turn that answers a request."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial

from memgpt_proxy.agent import instructions
from memgpt_proxy.agent.apart import TurnApart
from memgpt_proxy.agent.executor import CallPlace
from memgpt_proxy.agent.faculties import Faculties
from memgpt_proxy.agent.functions import SEND_MESSAGE
from memgpt_proxy.agent.healing import Prepared
from memgpt_proxy.agent.mending import Mending
from memgpt_proxy.agent.opening import Opener
from memgpt_proxy.agent.reply import Offer
from memgpt_proxy.agent.request import TurnRequest, asked_of
from memgpt_proxy.agent.running import RunningTurn
from memgpt_proxy.agent.steps import StepRequests, speaks_by_content
from memgpt_proxy.backend.client import Route, available
from memgpt_proxy.config import CleanTurns, ReplyMode
from memgpt_proxy.errors import MemoryAway, ModelNotFound
from memgpt_proxy.stores.protocols import StoreError
from memgpt_proxy.traits import Trait

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Agent:
    """Answers requests, each by one turn.

    Attributes:
        faculties: What its turns share.
        opener: Finds what is new in a request.
        mode: How the model is to speak to the user.
        context_limit: Size of the working context, in characters.
        clean_turns: Whether memory functions may be called before an answer of the backend's own.
        refuses: A request that cannot be answered with memory is refused.
    """

    faculties: Faculties
    opener: Opener
    mode: ReplyMode
    context_limit: int
    clean_turns: CleanTurns = CleanTurns.MEMORY
    refuses: bool = False

    async def open(self, request: TurnRequest) -> RunningTurn | TurnApart:
        """Return the turn that answers ``request``, ready to run.

        Raises:
            MemoryAway: It needs memory, and that is away.
            ModelNotFound: No backend takes its model.
            InvalidRequest: What was sent does not go on from what is known.
        """
        can = self.faculties
        routes = available(can.backend.routes(request.model))
        if not request.remembers:
            return TurnApart(routes, request, can.counter, can.profiles)
        prepared = await self._prepare(request, routes[0], refuses=self.refuses)
        anew = partial(self._prepare, request, refuses=False)  # what has begun is answered
        return RunningTurn(can, request, routes, prepared, anew)

    def lacks_tools(self, model: str) -> bool:
        """Return whether the backend of ``model`` is known to have no tools."""
        route = self._route(model)
        return route is not None and Trait.NO_TOOLS in self.faculties.profiles.of(route)

    def mending(self, route: Route) -> Mending:
        """Return what mends a request that goes to a route's backend as it came."""
        return Mending(self.faculties.profiles, route)

    def _route(self, model: str) -> Route | None:
        try:
            return available(self.faculties.backend.routes(model))[0]
        except ModelNotFound:
            return None

    async def _prepare(self, request: TurnRequest, route: Route, *, refuses: bool) -> Prepared:
        """Return what a turn begins with, for a model and its window as that is known by now.

        Where memory cannot be read it is a turn without: the conversation goes on.
        """
        by_content = speaks_by_content(self.mode, request.tools)
        erasures = self.faculties.eraser.times(request.namespace)
        window = await self.faculties.windows.of(route.name, request.headers)
        request = asked_of(request, route)
        now = self.faculties.clock()
        steps = StepRequests(request, by_content=by_content)
        if steps.offer.awaits_client and self._is_alone(request, route):
            steps = StepRequests(request, by_content=True, remembers=False)
        told = _instructions(request, steps.offer)
        counter = self.faculties.counter
        fixed = counter.remembered(f"{told}\n{request.application}")
        room = window.room(fixed + counter.remembered(steps.tools_text), self.context_limit)
        try:
            opening = await self.opener.open(request, told, now, room)
        except StoreError as error:
            if refuses or request.after is not None:  # nobody else knows what it goes on from
                raise MemoryAway from error
            log.warning("memory is away, answering without it: %s", error)
            opening = await self.opener.open_without_memory(request, now)
            steps = StepRequests(request, by_content=True, remembers=False)
        place = CallPlace(request.namespace, opening.author, now, room)
        degraded = self.faculties.store.degraded or not opening.remembers
        return Prepared(opening, steps, window, place, degraded, erasures)

    def _is_alone(self, request: TurnRequest, route: Route) -> bool:
        """Return whether memory functions stay out of a turn that awaits something of its own."""
        return (
            request.alone
            or self.clean_turns is CleanTurns.PLAIN
            or route.key in self.faculties.solitary
        )


def _instructions(request: TurnRequest, offer: Offer) -> str:
    if offer.awaits_client and not offer.ours:
        return instructions.without_functions()
    speaks = SEND_MESSAGE in offer.ours
    told = instructions.by_function() if speaks else instructions.by_content()
    return told if request.writes else instructions.read_only(told)
