"""Mending a request that memory is kept out of, where no client can know what its backend wants.

It goes as it came, and so does what is refused of it, but for reasoning: no field of OpenAI's has
that, so that clients do not send it back to a backend that demands it.
"""

from __future__ import annotations

import orjson

from memgpt_proxy.agent.profiles import Profiles
from memgpt_proxy.backend.client import Route
from memgpt_proxy.backend.refused import refused_traits
from memgpt_proxy.errors import BackendRefused
from memgpt_proxy.traits import Profile, Trait
from memgpt_proxy.wire.reasoning import with_reasoning

_MENDED: Profile = frozenset({Trait.REASONING})


class Mending:
    """One request on its way."""

    def __init__(self, profiles: Profiles, route: Route) -> None:
        self._profiles = profiles
        self._route = route
        self._learned = False

    def before(self, body: bytes) -> bytes:
        """Return a request's body as its backend is known to want it."""
        return _with_reasoning(body) if self._profiles.of(self._route) >= _MENDED else body

    def after(self, refusal: BackendRefused, body: bytes) -> bytes | None:
        """Return what to send in place of a body that was refused; None where nothing helps."""
        learns = self._profiles.learns(self._route, refusal)
        if not learns or Trait.REASONING not in refused_traits(refusal):
            return None
        mended = _with_reasoning(body)
        self._learned = mended != body
        return mended if self._learned else None

    def succeeded(self) -> None:
        """The backend has taken it."""
        if self._learned:
            self._profiles.learn(self._route, _MENDED)


def _with_reasoning(body: bytes) -> bytes:
    """Return a body with reasoning in all messages of the model; the very same if it is there."""
    fields = orjson.loads(body)
    messages = fields.get("messages")
    if not isinstance(messages, list) or not all(isinstance(each, dict) for each in messages):
        return body  # for the backend to refuse
    told = [*map(with_reasoning, messages)]
    return body if told == messages else orjson.dumps({**fields, "messages": told})
