"""What each model's backend needs of a request, learned from what it refuses.

A refusal that a trait explains adds the trait, and the step is sent again at once, written with
it (``wire.dialect``). What came through so is remembered; the client sees nothing of it.
"""

from __future__ import annotations

import logging

import orjson

from memgpt_proxy.agent.learned import Learned
from memgpt_proxy.agent.solitary import is_about_fields
from memgpt_proxy.backend.client import Route
from memgpt_proxy.backend.refused import refused_traits
from memgpt_proxy.errors import BackendGaveUp, BackendRefused, ErrorInStream, GatewayError
from memgpt_proxy.traits import ORDINARY, Profile, Trait
from memgpt_proxy.wire.dialect import written

log = logging.getLogger(__name__)

_OPPOSITE = {
    Trait.MAX_TOKENS: Trait.MAX_COMPLETION_TOKENS,
    Trait.MAX_COMPLETION_TOKENS: Trait.MAX_TOKENS,
    Trait.FUNCTIONS: Trait.NO_TOOLS,
    Trait.ONLY_STREAM: Trait.NO_STREAM,
    Trait.NO_STREAM: Trait.ONLY_STREAM,
    Trait.REASONING: Trait.NO_REASONING,
    Trait.NO_REASONING: Trait.REASONING,
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
        """Return a model's profile: as the operator has set it, and as learned."""
        return (self._set_for(route) or ORDINARY) | self._learned.get(route.key, ORDINARY)

    def learns(self, route: Route, error: GatewayError) -> bool:
        """Return whether a failure may teach something of a model's profile.

        Where the operator has set it, nothing but what stands before the backend: no profile is
        about that.
        """
        return self._set_for(route) is None or isinstance(error, BackendGaveUp)

    def learn(self, route: Route, profile: Profile) -> None:
        """Take it that a model takes requests of this profile, and none that lack it."""
        known = self._learned.get(route.key, ORDINARY)
        log.warning("%r takes requests only so: %s", route.key, ", ".join(sorted(profile - known)))
        self._learned[route.key] = known | profile

    def _set_for(self, route: Route) -> Profile | None:
        return self._told if route.profile is None else route.profile


class Adapting:
    """The refusals of one turn's steps, and the profile that they lead to.

    Attributes:
        profile: How the next request is written.
    """

    def __init__(self, profiles: Profiles, route: Route) -> None:
        self._profiles = profiles
        self._route = route
        self._known = self.profile = profiles.of(route)
        self._first: GatewayError | None = None

    def write(self, body: bytes, *, by_call: bool = False) -> bytes:
        """Return a step's request as it is to be sent; ``by_call`` as in ``wire.dialect``."""
        if not self.profile:
            return body
        return orjson.dumps(written(orjson.loads(body), self.profile, by_call=by_call))

    def learn(self, error: GatewayError, body: bytes, *, by_call: bool = False) -> bool:
        """Take a failure of ``body``, as it was before it was written; whether to try again.

        A trait that would change nothing of the request explains nothing.
        """
        if not self._profiles.learns(self._route, error):
            return False
        if (trait := self._explanation(error, body, by_call=by_call)) is None:
            self.profile = self._known
            return False
        self._first = self._first or error
        self.profile |= {trait}
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
        if self.profile != self._known:
            self._profiles.learn(self._route, self.profile)
            self._known = self.profile

    def _explanation(self, error: GatewayError, body: bytes, *, by_call: bool) -> Trait | None:
        traits = [*refused_traits(error)]
        if is_about_fields(error):
            traits.append(Trait.NO_JSON_SCHEMA)  # the schema is ours: it may be at fault unsaid
        if not traits:
            return None
        fields = orjson.loads(body)
        sent = written(fields, self.profile, by_call=by_call)
        for trait in traits:
            if trait in self.profile or _OPPOSITE.get(trait) in self.profile:
                continue
            if written(fields, self.profile | {trait}, by_call=by_call) != sent:
                return trait
        return None
