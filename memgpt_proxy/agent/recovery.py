"""What a turn does about a step that failed: prepare it anew, write it otherwise, ask elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from memgpt_proxy.agent.healing import Healing, Prepare, Prepared
from memgpt_proxy.agent.profiles import Adapting, Profiles
from memgpt_proxy.agent.reply import Offer
from memgpt_proxy.agent.window import Windows
from memgpt_proxy.agent.withheld import fit_for_client
from memgpt_proxy.backend.client import Route
from memgpt_proxy.backend.refused import failed_call
from memgpt_proxy.backend.retrying import may_pass
from memgpt_proxy.errors import BackendRefused, ErrorInStream, GatewayError
from memgpt_proxy.telemetry import Telemetry
from memgpt_proxy.traits import Profile

log = logging.getLogger(__name__)

_MOST_FAILED_CALLS = 3
"""Calls that a model may write in a turn so that its server cannot read them; the last counts."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A step as it was tried.

    Attributes:
        body: Its request, before it was written for the backend.
        tokens: Of its prompt, by our count.
        answer: Tokens that it asked for the answer.
        offer: Its functions, where they can be others no more: the turn has begun with them.
        answered: Something of the answer was told to the client.
        by_call: It was to be answered by calls only.
        remembers: Memory functions were among those that the model could call.
    """

    body: bytes
    tokens: int
    answer: int | None
    offer: Offer | None
    answered: bool
    by_call: bool
    remembers: bool


@dataclass(frozen=True, slots=True)
class Again:
    """The step is to be sent again, with what is prepared, if it is for another prompt."""

    prepared: Prepared | None = None


class Recovery:
    """Where one turn's steps go, and what its failures taught.

    Attributes:
        route: Where the next step goes.
    """

    def __init__(
        self,
        windows: Windows,
        profiles: Profiles,
        telemetry: Telemetry,
        routes: Sequence[Route],
        prepare: Prepare,
    ) -> None:
        self._windows = windows
        self._profiles = profiles
        self._telemetry = telemetry
        self._prepare = prepare
        first, *self._fallbacks = routes
        self._failed_calls = 0
        self._go_to(first)

    def _go_to(self, route: Route) -> None:
        self.route = route
        self._healing = Healing(self._windows, route.name, self._telemetry)
        self._adapting = Adapting(self._profiles, route)

    @property
    def profile(self) -> Profile:
        """What the backend needs of the next step, as far as that is known."""
        return self._adapting.profile

    def write(self, body: bytes, *, by_call: bool) -> bytes:
        """Return a step's request as it is to be sent.

        Raises:
            BackendRefused, ErrorInStream: This very one was refused for its length.
        """
        self._healing.check(body)
        return self._adapting.write(body, by_call=by_call)

    def succeeded(self) -> None:
        """A step came through."""
        self._healing.succeeded()
        self._adapting.succeeded()

    def cause(self, error: GatewayError, own: Collection[str]) -> GatewayError:
        """Return what the client is to be told of a failure that nothing helps against.

        Args:
            own: Names of functions that it does not know.
        """
        self._healing.failed()
        return fit_for_client(self._adapting.cause(error), own)

    async def anew(self) -> Prepared:
        """Return what the turn begins with, for what is stored by now."""
        return await self._prepare(self.route)

    async def after(self, error: GatewayError, attempt: Attempt) -> Again | None:
        """Return how to send a failed step again; None where there is no use in it."""
        if attempt.answered:  # what was told cannot be told anew
            return None
        if isinstance(error, BackendRefused | ErrorInStream):
            if attempt.remembers and failed_call(error) is not None:
                self._failed_calls += 1
                if self._failed_calls < _MOST_FAILED_CALLS:
                    return Again()
            if self._healing.learn(error, attempt.body, attempt.tokens, attempt.answer):
                return Again(await self.anew())
            if self._adapting.learn(error, attempt.body, by_call=attempt.by_call):
                return Again()
        return await self._fall_back(error, attempt)

    async def _fall_back(self, error: GatewayError, attempt: Attempt) -> Again | None:
        """Go on with the next model that may answer."""
        if not self._fallbacks or not may_pass(error):
            return None
        route = self._fallbacks.pop(0)
        prepared = await self._prepare(route)
        if attempt.offer is not None and prepared.steps.offer != attempt.offer:
            return None  # memory has gone away since the turn began with it
        log.warning("%r cannot answer (%s), asking %r", self.route.key, error.code, route.key)
        self._telemetry.backends.fell_back(self.route.backend.name)
        self._go_to(route)
        return Again(prepared)
