"""Models that take what a client asks for only without memory functions beside it."""

from __future__ import annotations

from memgpt_proxy.agent.learned import Learned
from memgpt_proxy.errors import BackendRefused, GatewayError

_NOT_SO = frozenset({400, 422, 501})
"""How backends refuse fields that they cannot combine."""


class Solitary:
    """What was learned of each model, for the life of the process.

    Some backends refuse functions beside a response format, a required tool or audio. They are
    asked again as the client has asked, and from then on at once.
    """

    def __init__(self) -> None:
        self._learned: Learned[None] = Learned()

    def __contains__(self, model: str) -> bool:
        return model in self._learned

    def learn(self, model: str) -> None:
        """Take it that ``model`` took a request that it had refused with functions."""
        self._learned[model] = None


def is_about_fields(error: GatewayError) -> bool:
    """Return whether a backend's refusal may be about fields that do not go together."""
    return isinstance(error, BackendRefused) and error.status in _NOT_SO
