"""The pause after an error."""

from __future__ import annotations

import pytest

from memgpt_proxy.stores.redis.circuit import Circuit, RedisUnavailable


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def attempt(circuit: Circuit, *, fails: bool) -> bool:
    """Return whether the attempt was let through."""
    entered = False
    try:
        with circuit.attempt():
            entered = True
            if fails:
                raise RedisUnavailable("away")
    except RedisUnavailable:
        pass
    return entered


def test_after_an_error_nobody_asks_for_a_while_and_longer_each_time() -> None:
    clock = Clock()
    circuit = Circuit(clock)
    assert attempt(circuit, fails=False)
    assert attempt(circuit, fails=True)
    for pause in (1.0, 2.0, 4.0, 5.0, 5.0):
        clock.now += pause - 0.01
        assert not attempt(circuit, fails=False)
        clock.now += 0.01
        assert attempt(circuit, fails=True)
    clock.now += 5.0
    assert attempt(circuit, fails=False)
    assert circuit.closed
    assert attempt(circuit, fails=True)
    clock.now += 1.0
    assert attempt(circuit, fails=False)


def test_one_alone_tries_whether_it_is_back() -> None:
    clock = Clock()
    circuit = Circuit(clock)
    attempt(circuit, fails=True)
    clock.now += 1.0
    with circuit.attempt():
        assert not attempt(circuit, fails=False)
    assert attempt(circuit, fails=False)


def test_those_that_fail_together_make_one_pause() -> None:
    clock = Clock()
    circuit = Circuit(clock)
    with pytest.raises(RedisUnavailable), circuit.attempt(), circuit.attempt():
        raise RedisUnavailable("away")
    clock.now += 1.0
    assert attempt(circuit, fails=False)


def test_a_trial_that_is_cancelled_leaves_the_next_to_try() -> None:
    clock = Clock()
    circuit = Circuit(clock)
    attempt(circuit, fails=True)
    clock.now += 1.0
    with pytest.raises(KeyboardInterrupt), circuit.attempt():
        raise KeyboardInterrupt
    assert not circuit.closed
    assert attempt(circuit, fails=False)
