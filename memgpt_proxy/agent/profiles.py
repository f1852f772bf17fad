"""What each model's backend needs of a request, learned from what it refuses.

A refusal that a trait explains adds the trait, and the step is sent again at once, written with
it (``wire.dialect``). What came through so is remembered; the client sees nothing of it.
"""

from __future__ import annotations

import logging

import orjson

from memgpt_proxy.agent.learned import Learned
from memgpt_proxy.backend.client import Route
from memgpt_proxy.backend.refused import refused_traits
from memgpt_proxy.errors import BackendRefused, ErrorInStream, GatewayError
from memgpt_proxy.traits import ORDINARY, Profile, Trait
from memgpt_proxy.wire.dialect import written

log = logging.getLogger(__name__)

_OPPOSITE = {
    Trait.MAX_TOKENS: Trait.MAX_COMPLETION_TOKENS,
    Trait.MAX_COMPLETION_TOKENS: Trait.MAX_TOKENS,
    Trait.FUNCTIONS: Trait.NO_TOOLS,
}
"""Traits that make no sense beside another."""


class Profiles:
    """What is known of each model, for the life of the process.

    Args:
        told: The profile of all models whose backend has none of its own; None to find it out.
    """

    def __init__(self, told: Profile | None = None) -> None:
        self._told = told
        self._learned: Learned[Profile] = Learned()

    def of(self, route: Route) -> Profile:
        """Return a model's profile: as the operator has set it, else as learned."""
        told = self._set_for(route)
        return self._learned.get(route.key, ORDINARY) if told is None else told

    def learns(self, route: Route) -> bool:
        """Return whether a model's profile is found out."""
        return self._set_for(route) is None

    def learn(self, route: Route, profile: Profile) -> None:
        """Take it that a model takes requests of this profile, and none that lack it."""
        known = self._learned.get(route.key, ORDINARY)
        log.warning("%r takes requests only so: %s", route.key, ", ".join(sorted(profile - known)))
        self._learned[route.key] = known | profile

    def write(self, route: Route, body: bytes) -> bytes:
        """Return a request as the model's backend takes it, as far as that is known."""
        return rewritten(body, self.of(route))

    def _set_for(self, route: Route) -> Profile | None:
        return self._told if route.profile is None else route.profile


class Adapting:
    """The refusals of one turn's steps, and the profile that they lead to."""

    def __init__(self, profiles: Profiles, route: Route) -> None:
        self._profiles = profiles
        self._route = route
        self._known = self._profile = profiles.of(route)
        self._first: GatewayError | None = None

    def write(self, body: bytes) -> bytes:
        """Return a step's request as it is to be sent."""
        return rewritten(body, self._profile)

    def learn(self, error: GatewayError, body: bytes) -> bool:
        """Take a failure of ``body``, as it was before it was written; whether to try again.

        A trait that would change nothing of the request explains nothing.
        """
        if not self._profiles.learns(self._route):
            return False
        if (trait := self._explanation(error, body)) is None:
            self._profile = self._known
            return False
        self._first = self._first or error
        self._profile |= {trait}
        return True

    def cause(self, error: GatewayError) -> GatewayError:
        """Return what the client is to be told: of refusals, the first."""
        first, self._first = self._first, None
        if first is None or not isinstance(error, BackendRefused | ErrorInStream):
            return error
        return first

    def succeeded(self) -> None:
        """A step came through."""
        self._first = None
        if self._profile != self._known:
            self._profiles.learn(self._route, self._profile)
            self._known = self._profile

    def _explanation(self, error: GatewayError, body: bytes) -> Trait | None:
        if not (traits := refused_traits(error)):
            return None
        fields = orjson.loads(body)
        sent = written(fields, self._profile)
        for trait in traits:
            if trait in self._profile or _OPPOSITE.get(trait) in self._profile:
                continue
            if written(fields, self._profile | {trait}) != sent:
                return trait
        return None


def rewritten(body: bytes, profile: Profile) -> bytes:
    """Return a request's JSON as a backend of this profile takes it."""
    return orjson.dumps(written(orjson.loads(body), profile)) if profile else body
