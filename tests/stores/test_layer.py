"""A layer hands on all that a store can do, as it was asked."""

from __future__ import annotations

import inspect
from typing import Any, cast

import pytest

from memgpt_proxy.stores.layer import Layer
from memgpt_proxy.stores.protocols import Store

METHODS = sorted(
    name
    for name, member in inspect.getmembers(Store, inspect.isfunction)
    if not name.startswith("_")
)


class Recording:
    """Takes every call and returns what it was."""

    degraded = True

    def __getattr__(self, name: str) -> Any:
        def call(*args: object, **options: object) -> object:
            return (name, args, options)

        async def call_async(*args: object, **options: object) -> object:
            return call(*args, **options)

        return call_async if inspect.iscoroutinefunction(getattr(Store, name)) else call


@pytest.mark.parametrize("name", METHODS)
async def test_each_method_is_handed_on(name: str) -> None:
    layer = Layer(cast("Store", Recording()))
    parameters = [*inspect.signature(getattr(layer, name)).parameters.values()]
    args = tuple(
        f"value of {each.name}" for each in parameters if each.kind is not each.KEYWORD_ONLY
    )
    options = {
        each.name: f"value of {each.name}" for each in parameters if each.kind is each.KEYWORD_ONLY
    }
    answer = getattr(layer, name)(*args, **options)
    told = await answer if inspect.isawaitable(answer) else answer
    silent = inspect.signature(getattr(Store, name)).return_annotation == "None"
    assert told == (None if silent else (name, args, options))


def test_it_is_degraded_when_the_store_behind_is() -> None:
    assert Layer(cast("Store", Recording())).degraded
    assert "read_turn" in METHODS
