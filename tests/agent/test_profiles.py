"""A turn's refusals: a trait for each that explains it, the first refusal where none does."""

from __future__ import annotations

import logging
from typing import Any, cast

import orjson
import pytest

from memgpt_proxy.agent.profiles import Adapting, Profiles
from memgpt_proxy.backend.client import Backend, Route
from memgpt_proxy.errors import BackendRefused, BackendTimeout
from memgpt_proxy.traits import ORDINARY, Profile, Trait

BODY: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}],
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "stream_options": {"include_usage": True},
}
SENT = orjson.dumps(BODY)


def route(key: str = "b/m", profile: Profile | None = None) -> Route:
    return Route(cast("Backend", None), key, key, key, profile=profile)


def refusal(message: str, status: int = 400) -> BackendRefused:
    return BackendRefused(status, [], orjson.dumps({"error": {"message": message}}))


NO_TOOLS = refusal("this model does not support tools")
NO_SYSTEM = refusal("System role not supported")


def test_an_ordinary_request_goes_as_it_is() -> None:
    assert Adapting(Profiles(), route()).write(SENT) is SENT


def test_what_came_through_is_remembered_of_this_model_only() -> None:
    profiles = Profiles()
    turn = Adapting(profiles, route())
    assert turn.learn(NO_TOOLS, SENT)
    assert "tools" not in orjson.loads(turn.write(SENT))
    assert profiles.of(route()) == ORDINARY
    assert turn.learn(NO_SYSTEM, SENT)
    turn.succeeded()
    assert profiles.of(route()) == {Trait.NO_TOOLS, Trait.NO_SYSTEM}
    assert profiles.of(route("b/other")) == ORDINARY


def test_the_first_refusal_is_told_and_nothing_is_remembered() -> None:
    profiles = Profiles()
    turn = Adapting(profiles, route())
    assert turn.learn(NO_TOOLS, SENT)
    assert not turn.learn(NO_TOOLS, SENT), "a trait is tried once"
    assert turn.cause(NO_TOOLS) is NO_TOOLS
    turn.learn(NO_TOOLS, SENT)
    other = refusal("no credit")
    assert not turn.learn(other, SENT)
    assert turn.cause(other) is NO_TOOLS
    turn.succeeded()
    assert profiles.of(route()) == ORDINARY


def test_a_failure_of_the_server_is_told_itself() -> None:
    turn, silent = Adapting(Profiles(), route()), BackendTimeout("silent")
    turn.learn(NO_TOOLS, SENT)
    assert not turn.learn(silent, SENT)
    assert turn.cause(silent) is silent


def test_a_trait_that_would_change_nothing_explains_nothing() -> None:
    alternate = refusal("roles must alternate, after the optional system message")
    bare = orjson.dumps({"model": "m", "messages": BODY["messages"][1:]})
    assert not Adapting(Profiles(), route()).learn(alternate, bare)


def test_every_refusal_comes_to_an_end() -> None:
    turn = Adapting(Profiles(), route())
    words = "unknown field tools, unknown field stream_options: roles must alternate"
    assert sum(turn.learn(refusal(words), SENT) for _ in range(5)) < 5


@pytest.mark.parametrize("told", [Profiles(frozenset()), Profiles()])
def test_what_the_operator_says_is_kept(told: Profiles) -> None:
    where = route(profile=frozenset({Trait.NO_SYSTEM}))
    turn = Adapting(told, where)
    assert orjson.loads(turn.write(SENT))["messages"] == [{"role": "user", "content": "S\n\nU"}]
    assert not turn.learn(NO_TOOLS, SENT)


def test_what_is_learned_is_logged_without_texts(caplog: pytest.LogCaptureFixture) -> None:
    turn = Adapting(Profiles(), route())
    turn.learn(NO_TOOLS, SENT)
    with caplog.at_level(logging.WARNING):
        turn.succeeded()
    assert caplog.messages == ["'b/m' takes requests only so: no_tools"]
